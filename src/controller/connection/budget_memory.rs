//! The removals of a credential as far as this process knows more of them than the credential's status. It admits no removal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::api::ObjectKey;
use crate::plan::Batch;

/// A batch that exceeded the budget is counted again after this time, because each of thousands of objects would count all of them.
const RECOUNT: Duration = Duration::from_secs(1);

/// The memories of all credentials.
#[derive(Default)]
pub struct BudgetMemories(parking_lot::Mutex<HashMap<ObjectKey, Arc<Mutex<BudgetMemory>>>>);

/// The memory of one credential.
#[derive(Default)]
pub struct BudgetMemory {
    /// Uids of counted objects that no longer exist. The next write of status drops them.
    pub gone: HashSet<String>,
    /// The batch that exceeded the budget, and when it was counted.
    exceeding: Option<(Instant, Batch)>,
    /// The release that took effect last.
    released: Option<String>,
}

impl BudgetMemories {
    /// The memory of a credential.
    pub fn of(&self, credential: &ObjectKey) -> Arc<Mutex<BudgetMemory>> {
        self.0.lock().entry(credential.clone()).or_default().clone()
    }

    /// Forgets a credential that was deleted.
    pub fn forget(&self, credential: &ObjectKey) {
        self.0.lock().remove(credential);
    }
}

impl BudgetMemory {
    /// The batch that exceeded the budget, if it was counted so recently that it need not be counted again.
    pub fn exceeding(&self) -> Option<Batch> {
        self.exceeding.filter(|(at, _)| at.elapsed() < RECOUNT).map(|(_, batch)| batch)
    }

    /// Records the batch that exceeds the budget now, if any.
    pub fn set_exceeding(&mut self, batch: Option<Batch>) {
        self.exceeding = batch.map(|batch| (Instant::now(), batch));
    }

    /// Whether `released`, the credential's annotation, is a release that has not taken effect yet. It counts as in effect afterwards.
    pub fn is_freshly_released(&mut self, released: Option<String>) -> bool {
        let is_fresh = released.is_some() && self.released != released;
        self.released = released;
        is_fresh
    }
}
