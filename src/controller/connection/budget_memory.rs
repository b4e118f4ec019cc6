//! The removals of a credential as far as this process knows more of them than the credential's status. It admits no removal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::api::ObjectKey;
use crate::api::credential::RecentRemovals;
use crate::plan::{Batches, is_counted};

/// Removals that are held are counted again after this time, because each of thousands of objects would count all of them.
const RECOUNT: Duration = Duration::from_secs(1);

/// The memories of all credentials.
#[derive(Default)]
pub struct BudgetMemories(parking_lot::Mutex<HashMap<ObjectKey, Arc<Mutex<BudgetMemory>>>>);

/// The memory of one credential.
#[derive(Default)]
pub struct BudgetMemory {
    /// Uids of counted objects that no longer exist. The next write of status drops them.
    pub gone: HashSet<String>,
    /// The removals that were held, and when they were counted.
    held: Option<(Instant, Batches)>,
    /// The release that took effect last.
    released: Option<String>,
}

impl BudgetMemories {
    /// The memory of a credential.
    pub fn of(&self, credential: &ObjectKey) -> Arc<Mutex<BudgetMemory>> {
        self.0.lock().entry(credential.clone()).or_default().clone()
    }

    /// Notes that the object `uid` of a credential is gone. It is remembered only if its removal is `counted`, until its count is written
    /// anew.
    pub async fn note_gone(&self, credential: &ObjectKey, counted: &[RecentRemovals], uid: String) {
        if is_counted(counted, &uid) {
            self.of(credential).lock().await.gone.insert(uid);
        }
    }

    /// Forgets a credential that is gone.
    pub fn forget(&self, credential: &ObjectKey) {
        self.0.lock().remove(credential);
    }
}

impl BudgetMemory {
    /// The removals that are held, if they were counted so recently that they need not be counted again.
    pub fn held(&self) -> Option<&Batches> {
        self.held.as_ref().filter(|(at, _)| at.elapsed() < RECOUNT).map(|(_, held)| held)
    }

    /// Records the removals that are held now.
    pub fn set_held(&mut self, held: Batches) {
        self.held = Some((Instant::now(), held)).filter(|(_, held)| !held.is_empty());
    }

    /// Whether `released`, the credential's annotation, is a release that has not taken effect yet. It counts as in effect afterwards.
    pub fn is_freshly_released(&mut self, released: Option<String>) -> bool {
        let is_fresh = released.is_some() && self.released != released;
        self.released = released;
        is_fresh
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::Kind;
    use crate::plan::Batch;

    fn credential() -> ObjectKey {
        ObjectKey::new(Kind::Credential, "identity", "main")
    }

    /// A status that counts the removal of one object.
    fn counted(uid: &str) -> Vec<RecentRemovals> {
        let namespaces = [("identity".to_owned(), 1)].into();
        vec![RecentRemovals { since: Timestamp::UNIX_EPOCH, count: 1, namespaces, under_way: vec![uid.to_owned()] }]
    }

    #[tokio::test]
    async fn an_object_whose_removal_was_not_counted_leaves_no_memory() {
        let memories = BudgetMemories::default();
        for number in 0..1000 {
            memories.note_gone(&credential(), &counted("ada"), format!("orphan-{number}")).await;
        }
        assert!(memories.0.lock().is_empty());
        memories.note_gone(&credential(), &counted("ada"), "ada".to_owned()).await;
        assert_eq!(memories.of(&credential()).lock().await.gone, HashSet::from(["ada".to_owned()]));
    }

    #[tokio::test]
    async fn the_memory_of_a_credential_ends_with_the_credential() {
        let memories = BudgetMemories::default();
        memories.note_gone(&credential(), &counted("ada"), "ada".to_owned()).await;
        memories.of(&credential()).lock().await.set_held([("identity".to_owned(), Batch::EMPTY)].into());
        memories.forget(&credential());
        assert!(memories.0.lock().is_empty());
        let memory = memories.of(&credential());
        assert!(memory.lock().await.gone.is_empty() && memory.lock().await.held().is_none());
    }
}
