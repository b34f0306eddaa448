//! How many tasks the owner of a run has room for.
//!
//! Pure data: the shell says how much room there is, and each task that is placed here takes a place of it.

/// Says how many tasks may be placed in this worker before others get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room(Option<usize>);

impl Room {
    /// Is what a worker has that nobody could help.
    pub(crate) const UNBOUNDED: Self = Self(None);

    /// Is room for so many.
    pub(crate) const fn of(places: usize) -> Self {
        Self(Some(places))
    }

    /// Takes a place, if there is one.
    pub(crate) const fn take(&mut self) -> bool {
        match &mut self.0 {
            None => true,
            Some(0) => false,
            Some(places) => {
                *places -= 1;
                true
            }
        }
    }
}
