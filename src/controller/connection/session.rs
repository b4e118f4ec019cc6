//! A session with a vendor under one login: provider, limiter, inventory of accounts and last failure, shared by all objects of a
//! credential. It runs no reconcile.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::inventory::Inventory;
use super::known::digest;
use super::object_memory::ObjectMemory;
use crate::api::status::Identity;
use crate::api::{ObjectKey, Vendor};
use crate::controller::backoff::Backoff;
use crate::controller::queue::Queue;
use crate::plan::{Account, AccountKind, CredentialAccount, Desired, Field, can_have_made, folds, was_there_before};
use crate::providers::{ErrorKind, Limiter, Provider, ProviderError, list_carrying};

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
    /// The credential's account as text for status: the vendor, its address, and the login if the vendor names it.
    pub account: String,
    /// The credential's account in parts, with all names of its login. Usher never changes the account of that login.
    pub credential_account: CredentialAccount,
    /// Versions of the spec and Secret that the session fits.
    pub stamp: Mutex<String>,
    /// Digest of the spec and the Secret's data that the session was made from.
    pub content: String,
    /// Whether the credential has to be checked, because the vendor refused it in a call.
    pub needs_check: AtomicBool,
    /// The vendor's accounts as far as usher knows them.
    pub inventory: Arc<Mutex<Inventory>>,
    /// The last failure, and whether a probe is allowed.
    pub health: Mutex<Health>,
    /// What is remembered of single objects.
    pub object_memory: Arc<ObjectMemory>,
    /// Enqueues objects.
    pub queue: Queue,
    /// The waits of failing objects.
    pub backoff: Backoff,
    /// Longest time for a listing within the reconcile of one object.
    pub listing_timeout: Duration,
}

/// Whether the session is accepted by the vendor.
#[derive(Default)]
pub struct Health {
    /// The failure of the last sweep or, where only a create can check the credential, of the last create.
    pub last_failure: Option<Failure>,
    /// Whether one object may send a create in spite of that failure, which probes whether the vendor accepts the credential again.
    pub probe_allowed: bool,
}

/// A failed sweep, or a create in which the vendor did not accept the credential.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The error.
    pub error: ProviderError,
    /// The earliest time of the next attempt.
    pub until: Timestamp,
}

impl Session {
    /// The inventory. The guard must not be held across an await.
    pub fn inventory(&self) -> MutexGuard<'_, Inventory> {
        self.inventory.lock()
    }

    /// Whether these versions of spec and Secret lead to this session.
    pub fn fits(&self, stamp: &str) -> bool {
        *self.stamp.lock() == stamp
    }

    /// Records that these versions of spec and Secret lead to this session, because nothing that concerns the log-in changed.
    pub fn refit(&self, stamp: String) {
        *self.stamp.lock() = stamp;
    }

    /// The last failure, unless an attempt succeeded since.
    pub fn last_failure(&self) -> Option<Failure> {
        self.health.lock().last_failure.clone()
    }

    /// Records a failure unless one is recorded already.
    pub fn set_failure_once(&self, failure: impl FnOnce() -> Failure) {
        self.health.lock().last_failure.get_or_insert_with(failure);
    }

    /// Replaces the last failure and returns it. `None`: an attempt succeeded.
    pub fn set_failure(&self, failure: Option<Failure>) -> Option<Failure> {
        std::mem::replace(&mut self.health.lock().last_failure, failure)
    }

    /// The vendor's writable fields.
    pub fn table(&self, kind: AccountKind) -> &'static [Field] {
        self.provider.capabilities().fields(kind)
    }

    /// Records an own write in the inventory. `None`: the account was removed.
    pub fn record_write(&self, kind: AccountKind, id: &str, account: Option<Account>) {
        self.inventory().record_write(kind, self.table(kind), id, account);
    }

    /// Records in the inventory an account as a read that began at `begun` showed it.
    pub fn record_read(&self, kind: AccountKind, begun: Timestamp, account: &Account) {
        self.inventory().record_read(kind, self.table(kind), begun, account);
    }

    /// The accounts with a natural key of `desired`; an empty result proves that there is none. An empty search is followed by a
    /// complete listing, because a vendor's search may distinguish upper and lower case where usher does not.
    ///
    /// Errors: those of the provider; `Unavailable` when it takes longer than `listing_timeout`.
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
        list_carrying(&*self.provider, kind, &desired.keys).await
    }

    /// Whether a complete listing shows the account with this id. Without a recent listing one is made now, and it answers for other
    /// accounts as well. If that takes longer than `listing_timeout`, the question is left to the next sweep.
    ///
    /// Errors: those of the provider; `Unavailable` until that sweep has ended.
    pub async fn is_listed(&self, kind: AccountKind, id: &str) -> Result<bool, ProviderError> {
        if let Some(known) = self.known_to_be_listed(kind, id)? {
            return Ok(known);
        }
        let (begun, mut ids) = (Timestamp::now(), HashSet::new());
        let mut take = |account: Account| {
            ids.insert(digest(&account.id));
            Ok(())
        };
        let Ok(listed) = tokio::time::timeout(self.listing_timeout, self.provider.list(kind, &mut take)).await else {
            return Err(self.leave_to_sweep(kind, id, begun));
        };
        listed?;
        let is_listed = ids.contains(&digest(id));
        self.inventory().record_listed_ids(kind, begun, ids);
        Ok(is_listed)
    }

    fn known_to_be_listed(&self, kind: AccountKind, id: &str) -> Result<Option<bool>, ProviderError> {
        let now = Timestamp::now();
        let (known, is_left_to_sweep) = {
            let mut inventory = self.inventory();
            (inventory.existence(kind, id, now), inventory.has_open_question(kind))
        };
        match known {
            // The listing took too long for another object a moment ago.
            None if is_left_to_sweep => Err(self.leave_to_sweep(kind, id, now)),
            known => Ok(known),
        }
    }

    fn leave_to_sweep(&self, kind: AccountKind, id: &str, since: Timestamp) -> ProviderError {
        self.inventory().leave_to_sweep(kind, id, since);
        self.queue.add(self.key.clone());
        takes_too_long(&format!("the next sweep finds out whether {id} exists, because that"))
    }

    /// Whether the credential's account in the status of an object is that of this session.
    pub fn leads_to(&self, account: &str) -> bool {
        self.credential_account.is(account)
    }

    /// Whether an object bound in `account` through `credential` is bound in the account of this session. Credentials of one namespace
    /// trust each other. Between namespaces the login has to be proved by the vendor, because a Secret may claim any.
    pub fn shares(&self, credential: &ObjectKey, account: &str) -> bool {
        let trusts = credential.namespace == self.key.namespace || self.credential_account.is_proved(account);
        *credential == self.key || (trusts && self.leads_to(account))
    }

    /// Whether the pending create in `identity` can have made `account`.
    pub fn can_have_made(&self, identity: &Identity, account: &Account) -> bool {
        let creating = identity.creating.as_ref();
        let made = creating.is_some_and(|creating| {
            let vendor_time = self.limiter.clock().there(creating.first_sent());
            can_have_made(creating, account, self.credential_account.login(), vendor_time)
        });
        made && !was_there_before(identity, account)
    }
}

/// The error when `question` needs a complete listing, and the listing takes too long.
fn takes_too_long(question: &str) -> ProviderError {
    let message = format!(
        "{question} takes a complete listing, which takes too long to wait for: raise spec.requests.perMinute of the credential if the vendor allows more"
    );
    ProviderError::refused(ErrorKind::Unavailable, message)
}
