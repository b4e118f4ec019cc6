//! The live side of a credential: its provider, gate and index, shared by all objects that use it; no reconcile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;

use super::in_flight as pending_create;
use super::inventory::Index;
use crate::api::conditions::Verdict;
use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::api::{ObjectKey, ProviderCredential, ProviderCredentialSpec, Vendor};
use crate::controller::context::Context;
use crate::plan::{Account, AccountKind, Desired, Field, carrying, folds};
use crate::providers::{ErrorKind, Limiter, Provider, ProviderError};

/// A credential that works.
pub struct Connection {
    /// The credential.
    pub key: ObjectKey,
    /// Its vendor.
    pub vendor: Vendor,
    /// The way to it.
    pub provider: Arc<dyn Provider>,
    /// Bounds all calls.
    pub limiter: Limiter,
    /// Vendor, place there and who the vendor says we are.
    pub account: String,
    /// Our own login's name, which is never changed through itself.
    pub login: String,
    /// What the credential says about its objects.
    pub spec: ProviderCredentialSpec,
    /// Versions of the spec and Secret it fits.
    pub stamp: Mutex<String>,
    /// Generation of the credential that `spec` is of.
    pub generation: i64,
    /// Digest of the spec and the Secret's data that it was made from.
    pub content: String,
    /// Whether a call was refused since it was last checked.
    pub needs_check: AtomicBool,
    /// Whether it is being deleted: it serves what is bound and starts nothing new.
    pub is_deleting: bool,
    /// What the vendor has.
    pub index: Arc<Mutex<Index>>,
    /// Why the last sweep failed, if it did, or a create where nothing else tells whether the credential is accepted.
    pub last_failure: Mutex<Option<Failure>>,
    /// Whether, in that trouble, one object may create.
    pub probe_allowed: AtomicBool,
}

/// A sweep that failed, or a create that was not accepted.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub error: ProviderError,
    /// It is not tried again before.
    pub until: Timestamp,
}

impl Connection {
    /// The index; never held across an await.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It under what its credential says now, which changes nothing about how it logs in.
    pub fn under(self: &Arc<Self>, credential: &ProviderCredential) -> Arc<Self> {
        let generation = credential.metadata.generation.unwrap_or_default();
        if self.generation == generation {
            return self.clone();
        }
        Arc::new(Self {
            key: self.key.clone(),
            vendor: self.vendor,
            provider: self.provider.clone(),
            limiter: self.limiter.clone(),
            account: self.account.clone(),
            login: self.login.clone(),
            spec: credential.spec.clone(),
            generation,
            stamp: Mutex::new(self.stamp.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            content: self.content.clone(),
            needs_check: AtomicBool::new(self.needs_check.load(Ordering::Relaxed)),
            is_deleting: credential.metadata.deletion_timestamp.is_some(),
            index: self.index.clone(),
            last_failure: Mutex::new(self.last_failure()),
            probe_allowed: AtomicBool::new(self.probe_allowed.load(Ordering::Relaxed)),
        })
    }

    /// Whether it was made from, or fits, these versions of spec and Secret.
    pub fn fits(&self, stamp: &str) -> bool {
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) == stamp
    }

    /// Notes that it fits these versions as well: what matters in them is the same.
    pub fn refit(&self, stamp: String) {
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
    }

    /// What the trouble is, if there is any.
    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes trouble, unless there is some already.
    pub fn set_failure_once(&self, last_failure: impl FnOnce() -> Failure) {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(last_failure);
    }

    /// Notes how a sweep went, and returns how the one before did.
    pub fn set_failure(&self, last_failure: Option<Failure>) -> Option<Failure> {
        std::mem::replace(&mut *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner), last_failure)
    }

    /// The vendor's writable fields.
    pub fn table(&self, account_kind: AccountKind) -> &'static [Field] {
        self.provider.capabilities().fields(account_kind)
    }

    /// Notes what we wrote; `None`: removed.
    pub fn wrote(&self, account_kind: AccountKind, id: &str, account: Option<Account>) {
        self.index().wrote(account_kind, self.table(account_kind), id, account);
    }

    /// Notes what a read that began at `begun` showed.
    pub fn saw(&self, account_kind: AccountKind, begun: Timestamp, account: &Account) {
        self.index().saw(account_kind, self.table(account_kind), begun, account);
    }

    /// The accounts with a natural key of `desired`, where their absence shall be a proof: a vendor's search may mind case
    /// where we do not, and only a complete listing shows what it missed.
    ///
    /// Errors: those of the provider; `Unavailable` where that takes too long.
    pub async fn find_for_sure(
        &self,
        context: &Context,
        account_kind: AccountKind,
        desired: &Desired,
    ) -> Result<Vec<Account>, ProviderError> {
        let found = tokio::time::timeout(context.settings.longest_listing(), self.find_wherever(account_kind, desired));
        found.await.unwrap_or_else(|_| Err(late("whether a create with unknown end made it")))
    }

    async fn find_wherever(&self, account_kind: AccountKind, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        let table = self.table(account_kind);
        let found = self.provider.find(account_kind, desired).await?;
        let minds_case = self.provider.capabilities().filter && desired.keys.iter().any(|key| folds(table, key));
        if !found.is_empty() || !minds_case {
            return Ok(found);
        }
        Ok(carrying(table, self.provider.list(account_kind).await?, &desired.keys))
    }

    /// Whether a complete listing shows the account with this id: one that tells already, or one asked for now, which for a while
    /// tells others too. Where that takes too long, a sweep tells, which is asked for.
    ///
    /// Errors: those of the provider; `Unavailable` until that sweep is done.
    pub async fn is_listed(
        &self,
        context: &Context,
        account_kind: AccountKind,
        id: &str,
    ) -> Result<bool, ProviderError> {
        {
            let (mut index, now) = (self.index(), Timestamp::now());
            if let Some(is_there) = index.tells(account_kind, id, now) {
                return Ok(is_there);
            }
            if index.is_slow(account_kind) {
                index.doubt(account_kind, id, now);
                context.enqueue(self.key.clone());
                return Err(late(&format!("the next sweep tells whether {id} is gone; that")));
            }
        }
        let begun = Timestamp::now();
        let limit = context.settings.longest_listing();
        let Ok(listed) = tokio::time::timeout(limit, self.provider.list(account_kind)).await else {
            self.index().doubt(account_kind, id, begun);
            context.enqueue(self.key.clone());
            return Err(late(&format!("the next sweep tells whether {id} is gone; that")));
        };
        let listed = listed?;
        self.index().proves(account_kind, begun, listed.iter().map(|account| account.id.clone()));
        Ok(listed.iter().any(|account| account.id == id))
    }

    /// Whether the create with unknown end of the object with this identity can have made `account`.
    pub fn can_have_made(&self, identity: &Identity, account: &Account) -> bool {
        let clock = self.limiter.clock();
        let creating = identity.creating.as_ref();
        creating.is_some_and(|creating| pending_create::can_have_made(creating, account, &self.login, clock))
            && !pending_create::was_there_before(identity, account)
    }

    /// The credential's mode.
    pub fn mode(&self) -> Mode {
        self.spec.mode.unwrap_or_default()
    }
}

/// What only a listing answers that takes too long to wait for.
fn late(question: &str) -> ProviderError {
    let message = format!(
        "{question} takes a complete listing, which takes too long to wait for: raise spec.requests.perMinute of the credential if the vendor allows more"
    );
    ProviderError::refused(ErrorKind::Unavailable, message)
}

/// Whether a credential works.
#[derive(Clone)]
pub enum Link {
    /// It does.
    Up(Arc<Connection>),
    /// It does not.
    Down(Down),
}

/// Why a credential does not work, and since which spec and Secret.
#[derive(Clone, Debug)]
pub struct Down {
    /// Reason and message for its status.
    pub verdict: Verdict,
    /// Versions of the spec and Secret that did not work.
    pub stamp: String,
    /// Digest of what did not work.
    pub content: String,
    /// It is not tried again before, unless spec or Secret change.
    pub not_before: Option<Timestamp>,
}

impl Down {
    /// Not tried again until spec or Secret change.
    pub fn until_changed(verdict: Verdict) -> Self {
        Self { verdict, stamp: String::new(), content: String::new(), not_before: None }
    }

    /// Whether it is too soon to try the same again.
    pub fn is_fresh(&self) -> bool {
        self.not_before.is_some_and(|at| at > Timestamp::now())
    }
}

/// All credentials that were looked at, and their gates, which outlive every link: what a vendor counts, it goes on counting.
#[derive(Default)]
pub struct Connections {
    links: RwLock<HashMap<ObjectKey, Link>>,
    gates: RwLock<HashMap<ObjectKey, Limiter>>,
}

impl Connections {
    /// The link of a credential, if it was looked at.
    pub fn get(&self, credential: &ObjectKey) -> Option<Link> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(credential).cloned()
    }

    /// The connection of a credential, if it works.
    pub fn up(&self, credential: &ObjectKey) -> Option<Arc<Connection>> {
        match self.get(credential)? {
            Link::Up(connection) => Some(connection),
            Link::Down(_) => None,
        }
    }

    /// Replaces the link of a credential and returns the one before.
    pub fn set(&self, credential: &ObjectKey, link: Link) -> Option<Link> {
        self.links.write().unwrap_or_else(PoisonError::into_inner).insert(credential.clone(), link)
    }

    /// The gate of a credential, made when it is first asked for.
    pub fn limiter(&self, credential: &ObjectKey, make: impl FnOnce() -> Limiter) -> Limiter {
        let mut gates = self.gates.write().unwrap_or_else(PoisonError::into_inner);
        gates.entry(credential.clone()).or_insert_with(make).clone()
    }

    /// The time to come before which nothing shall be sent to a credential's vendor, if any.
    pub fn rate_limited_until(&self, credential: &ObjectKey) -> Option<Timestamp> {
        self.gates.read().unwrap_or_else(PoisonError::into_inner).get(credential)?.kept()
    }

    /// `object` waits no longer at the gate of a credential.
    pub fn leave(&self, credential: &ObjectKey, object: &ObjectKey) {
        if let Some(limiter) = self.gates.read().unwrap_or_else(PoisonError::into_inner).get(credential) {
            limiter.leave(object);
        }
    }

    /// Forgets a credential.
    pub fn forget(&self, credential: &ObjectKey) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).remove(credential);
        self.gates.write().unwrap_or_else(PoisonError::into_inner).remove(credential);
    }
}
