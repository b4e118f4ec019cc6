//! A session with a vendor under one login: its provider, its limiter, the inventory of its accounts and its last failure, shared by all
//! objects of a credential. It runs no reconcile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::inventory::Inventory;
use crate::api::status::Identity;
use crate::api::{ObjectKey, Vendor};
use crate::controller::backoff::Backoff;
use crate::controller::queue::Queue;
use crate::plan::{
    Account, AccountKind, CredentialAccount, Desired, Field, can_have_made, carrying, folds, was_there_before,
};
use crate::providers::{ErrorKind, Limiter, Provider, ProviderError};

/// A session with a vendor.
pub struct Session {
    /// The credential.
    pub key: ObjectKey,
    /// Its vendor.
    pub vendor: Vendor,
    /// Calls the vendor.
    pub provider: Arc<dyn Provider>,
    /// Bounds all calls.
    pub limiter: Limiter,
    /// Vendor, place there, and the login, if the vendor names it.
    pub account: String,
    /// The same in parts, with the names of usher's own login, which is never changed through itself.
    pub credential_account: CredentialAccount,
    /// Versions of the spec and Secret that the session fits.
    pub stamp: Mutex<String>,
    /// Digest of the spec and the Secret's data that the session was made from.
    pub content: String,
    /// Whether the credential has to be checked, because the vendor refused it in a call.
    pub needs_check: AtomicBool,
    /// The accounts that the vendor has.
    pub inventory: Arc<Mutex<Inventory>>,
    /// The last failure, and who may try again.
    pub health: Mutex<Health>,
    /// The objects, and generations of them, whose drift was found and is not repaired yet.
    pub drifting: Mutex<HashMap<ObjectKey, i64>>,
    /// Enqueues objects.
    pub queue: Queue,
    /// How long failing objects wait.
    pub backoff: Backoff,
    /// Longest time for a listing within the reconcile of one object.
    pub listing_timeout: Duration,
}

/// How the session works.
#[derive(Default)]
pub struct Health {
    /// The last sweep that failed, or the last create that showed that the credential is not accepted, where nothing else checks it.
    pub last_failure: Option<Failure>,
    /// Whether one object may make a create in spite of that failure, to find out whether the credential is accepted again.
    pub probe_allowed: bool,
}

/// A failed sweep, or a create that was not accepted.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The error.
    pub error: ProviderError,
    /// The next attempt is made no sooner.
    pub until: Timestamp,
}

impl Session {
    /// The inventory. The guard must not be held across an await.
    pub fn inventory(&self) -> MutexGuard<'_, Inventory> {
        self.inventory.lock()
    }

    /// Whether the session was made from, or fits, these versions of spec and Secret.
    pub fn fits(&self, stamp: &str) -> bool {
        *self.stamp.lock() == stamp
    }

    /// Notes that the session fits these versions as well, because they differ in nothing that concerns the log-in.
    pub fn refit(&self, stamp: String) {
        *self.stamp.lock() = stamp;
    }

    /// The last failure, if it lasts.
    pub fn last_failure(&self) -> Option<Failure> {
        self.health.lock().last_failure.clone()
    }

    /// Notes a failure unless one lasts already.
    pub fn set_failure_once(&self, failure: impl FnOnce() -> Failure) {
        self.health.lock().last_failure.get_or_insert_with(failure);
    }

    /// Replaces the last failure (`None`: it is over) and returns the one before.
    pub fn set_failure(&self, failure: Option<Failure>) -> Option<Failure> {
        std::mem::replace(&mut self.health.lock().last_failure, failure)
    }

    /// Whether a drift of this object was found and is not repaired yet.
    pub fn is_drifting(&self, object: &ObjectKey, generation: i64) -> bool {
        self.drifting.lock().get(object) == Some(&generation)
    }

    /// Notes a drift of this object.
    pub fn note_drift(&self, object: ObjectKey, generation: i64) {
        self.drifting.lock().insert(object, generation);
    }

    /// Notes that the object was changed.
    pub fn forget_drift(&self, object: &ObjectKey) {
        self.drifting.lock().remove(object);
    }

    /// The vendor's writable fields.
    pub fn table(&self, kind: AccountKind) -> &'static [Field] {
        self.provider.capabilities().fields(kind)
    }

    /// Notes an account after an own write; `None`: it was removed.
    pub fn wrote(&self, kind: AccountKind, id: &str, account: Option<Account>) {
        self.inventory().wrote(kind, self.table(kind), id, account);
    }

    /// Notes an account as a read that began at `begun` showed it.
    pub fn saw(&self, kind: AccountKind, begun: Timestamp, account: &Account) {
        self.inventory().saw(kind, self.table(kind), begun, account);
    }

    /// The accounts with a natural key of `desired`, where their absence has to be a proof. A vendor's search may be sensitive to
    /// case where usher is not, so an empty answer is followed by a complete listing.
    ///
    /// Errors: those of the provider; `Unavailable` when that takes too long.
    pub async fn search_exhaustively(
        &self,
        kind: AccountKind,
        desired: &Desired,
    ) -> Result<Vec<Account>, ProviderError> {
        let found = tokio::time::timeout(self.listing_timeout, self.search_or_list(kind, desired));
        found.await.unwrap_or_else(|_| Err(takes_too_long("whether a pending create made the account")))
    }

    async fn search_or_list(&self, kind: AccountKind, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        let table = self.table(kind);
        let found = self.provider.find(kind, desired).await?;
        let may_miss_case = self.provider.capabilities().filter && desired.keys.iter().any(|key| folds(table, key));
        if !found.is_empty() || !may_miss_case {
            return Ok(found);
        }
        Ok(carrying(table, self.provider.list(kind).await?, &desired.keys))
    }

    /// Whether a complete listing has the account with this id: a recent one, or one made now, which then answers for other accounts
    /// as well. When that takes too long, the next sweep answers, and it is asked for.
    ///
    /// Errors: those of the provider; `Unavailable` until that sweep is done.
    pub async fn is_listed(&self, kind: AccountKind, id: &str) -> Result<bool, ProviderError> {
        if let Some(known) = self.known_to_be_listed(kind, id)? {
            return Ok(known);
        }
        let begun = Timestamp::now();
        let Ok(listed) = tokio::time::timeout(self.listing_timeout, self.provider.list(kind)).await else {
            return Err(self.leave_to_sweep(kind, id, begun));
        };
        let listed = listed?;
        self.inventory().proves(kind, begun, listed.iter().map(|account| account.id.clone()));
        Ok(listed.iter().any(|account| account.id == id))
    }

    fn known_to_be_listed(&self, kind: AccountKind, id: &str) -> Result<Option<bool>, ProviderError> {
        let now = Timestamp::now();
        let (known, is_slow) = {
            let mut inventory = self.inventory();
            (inventory.tells(kind, id, now), inventory.is_slow(kind))
        };
        match known {
            None if is_slow => Err(self.leave_to_sweep(kind, id, now)),
            known => Ok(known),
        }
    }

    fn leave_to_sweep(&self, kind: AccountKind, id: &str, since: Timestamp) -> ProviderError {
        self.inventory().doubt(kind, id, since);
        self.queue.add(self.key.clone());
        takes_too_long(&format!("the next sweep finds out whether {id} is gone, because that"))
    }

    /// Whether the account in a status is the one that this session leads to.
    pub fn leads_to(&self, account: &str) -> bool {
        self.credential_account.is(account)
    }

    /// Whether the pending create of the object with this identity can have made `account`.
    pub fn can_have_made(&self, identity: &Identity, account: &Account) -> bool {
        let creating = identity.creating.as_ref();
        let made = creating.is_some_and(|creating| {
            let vendor_time = self.limiter.clock().there(creating.first_sent());
            can_have_made(creating, account, self.credential_account.login(), vendor_time)
        });
        made && !was_there_before(identity, account)
    }
}

/// A question that only a complete listing answers, which takes too long.
fn takes_too_long(question: &str) -> ProviderError {
    let message = format!(
        "{question} takes a complete listing, which takes too long to wait for: raise spec.requests.perMinute of the credential if the vendor allows more"
    );
    ProviderError::refused(ErrorKind::Unavailable, message)
}
