//! How far a reconciliation got. Values only.

use crate::controller::outcome::Change;

/// How far a reconciliation got.
#[derive(Debug)]
pub enum Progress {
    /// Nothing had to be done.
    None,
    /// This was done.
    Change(Change),
    /// A step is done and recorded; the object is enqueued for the next one.
    Again,
}

impl Progress {
    /// `change`, unless the object is reconciled again first.
    pub fn completes(self, change: Change) -> Self {
        match self {
            Self::Again => self,
            Self::None | Self::Change(_) => Self::Change(change),
        }
    }
}
