//! What this process can execute.
