//! What this process knows of a credential's removals beside the credential's status. It admits nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::api::ObjectKey;
use crate::plan::Batch;

/// How long a held batch is not counted again, because each of thousands of objects would count all of them.
const HELD: Duration = Duration::from_secs(1);

/// The memory of each credential.
#[derive(Default)]
pub struct BudgetMemories(parking_lot::Mutex<HashMap<ObjectKey, Arc<Mutex<BudgetMemory>>>>);

/// The memory of one credential.
#[derive(Default)]
pub struct BudgetMemory {
    /// Uids of counted objects that are gone, which status need not remember.
    pub gone: HashSet<String>,
    /// The batch that was held a moment ago.
    held: Option<(Instant, Batch)>,
    /// The release that was acted on last.
    released: Option<String>,
}

impl BudgetMemories {
    /// The memory of a credential.
    pub fn of(&self, credential: &ObjectKey) -> Arc<Mutex<BudgetMemory>> {
        self.0.lock().entry(credential.clone()).or_default().clone()
    }

    /// Forgets a credential that is gone.
    pub fn forget(&self, credential: &ObjectKey) {
        self.0.lock().remove(credential);
    }
}

impl BudgetMemory {
    /// The batch that was held a moment ago, if it need not be counted again.
    pub fn held(&self) -> Option<Batch> {
        self.held.filter(|(at, _)| at.elapsed() < HELD).map(|(_, batch)| batch)
    }

    /// Notes the batch that the budget holds now, if any.
    pub fn set_held(&mut self, batch: Option<Batch>) {
        self.held = batch.map(|batch| (Instant::now(), batch));
    }

    /// Whether `released`, the credential's annotation, is another release than the one acted on last; from now on it is that one.
    pub fn is_freshly_released(&mut self, released: Option<String>) -> bool {
        let is_fresh = released.is_some() && self.released != released;
        self.released = released;
        is_fresh
    }
}
