//! A task or workflow with its arguments, not yet started.
