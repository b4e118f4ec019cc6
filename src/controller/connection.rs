//! The live side of a credential: its provider, gate and index, shared by all objects that use it; no reconcile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;

use crate::api::conditions::Verdict;
use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::api::{ObjectKey, ProviderCredential, ProviderCredentialSpec, Vendor};
use crate::plan::{Account, Desired, Field, Subject, folds, matches_key};
use crate::providers::{ErrorKind, Gate, Provider, ProviderError};

use super::context::Context;
use super::doubt;
use super::index::Index;

/// A credential that works.
pub struct Connection {
    /// The credential.
    pub key: ObjectKey,
    /// Its vendor.
    pub vendor: Vendor,
    /// The way to it.
    pub provider: Arc<dyn Provider>,
    /// Bounds all calls.
    pub gate: Gate,
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
    pub suspect: AtomicBool,
    /// Whether it is being deleted: it serves what is bound and starts nothing new.
    pub closing: bool,
    /// What the vendor has.
    pub index: Arc<Mutex<Index>>,
    /// Why the last sweep failed, if it did, or a create where nothing else tells whether the credential is accepted.
    pub trouble: Mutex<Option<Trouble>>,
    /// Whether, in that trouble, one object may create.
    pub turn: AtomicBool,
}

/// A sweep that failed, or a create that was not accepted.
#[derive(Clone, Debug)]
pub struct Trouble {
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
            gate: self.gate.clone(),
            account: self.account.clone(),
            login: self.login.clone(),
            spec: credential.spec.clone(),
            generation,
            stamp: Mutex::new(self.stamp.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            content: self.content.clone(),
            suspect: AtomicBool::new(self.suspect.load(Ordering::Relaxed)),
            closing: credential.metadata.deletion_timestamp.is_some(),
            index: self.index.clone(),
            trouble: Mutex::new(self.trouble()),
            turn: AtomicBool::new(self.turn.load(Ordering::Relaxed)),
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
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes trouble, unless there is some already.
    pub fn trouble_once(&self, trouble: impl FnOnce() -> Trouble) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(trouble);
    }

    /// Notes how a sweep went, and returns how the one before did.
    pub fn swept(&self, trouble: Option<Trouble>) -> Option<Trouble> {
        std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), trouble)
    }

    /// The vendor's writable fields.
    pub fn table(&self, subject: Subject) -> &'static [Field] {
        self.provider.capabilities().fields(subject)
    }

    /// Notes what we wrote; `None`: removed.
    pub fn wrote(&self, subject: Subject, id: &str, account: Option<Account>) {
        self.index().wrote(subject, self.table(subject), id, account);
    }

    /// Notes what a read that began at `begun` showed.
    pub fn saw(&self, subject: Subject, begun: Timestamp, account: &Account) {
        self.index().saw(subject, self.table(subject), begun, account);
    }

    /// The accounts with a natural key of `desired`, where their absence shall be a proof: a vendor's search may mind case
    /// where we do not, and only a complete listing shows what it missed.
    ///
    /// Errors: those of the provider; `Unavailable` where that takes too long.
    pub async fn find_for_sure(
        &self,
        context: &Context,
        subject: Subject,
        desired: &Desired,
    ) -> Result<Vec<Account>, ProviderError> {
        let found = tokio::time::timeout(context.settings.longest_listing(), self.find_wherever(subject, desired));
        found.await.unwrap_or_else(|_| Err(late("whether a create with unknown end made it")))
    }

    async fn find_wherever(&self, subject: Subject, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        let table = self.table(subject);
        let found = self.provider.find(subject, desired).await?;
        let minds_case = self.provider.capabilities().filter && desired.keys.iter().any(|key| folds(table, key));
        if !found.is_empty() || !minds_case {
            return Ok(found);
        }
        let mut all = self.provider.list(subject).await?;
        all.retain(|account| desired.keys.iter().any(|key| matches_key(table, account, key)));
        Ok(all)
    }

    /// Whether a complete listing shows the account with this id: one that tells already, or one asked for now, which for a while
    /// tells others too. Where that takes too long, a sweep tells, which is asked for.
    ///
    /// Errors: those of the provider; `Unavailable` until that sweep is done.
    pub async fn is_listed(&self, context: &Context, subject: Subject, id: &str) -> Result<bool, ProviderError> {
        {
            let (mut index, now) = (self.index(), Timestamp::now());
            if let Some(is_there) = index.tells(subject, id, now) {
                return Ok(is_there);
            }
            if index.is_slow(subject) {
                index.doubt(subject, id, now);
                context.wake(self.key.clone());
                return Err(late(&format!("the next sweep tells whether {id} is gone; that")));
            }
        }
        let begun = Timestamp::now();
        let limit = context.settings.longest_listing();
        let Ok(listed) = tokio::time::timeout(limit, self.provider.list(subject)).await else {
            self.index().doubt(subject, id, begun);
            context.wake(self.key.clone());
            return Err(late(&format!("the next sweep tells whether {id} is gone; that")));
        };
        let listed = listed?;
        self.index().proves(subject, begun, listed.iter().map(|account| account.id.clone()));
        Ok(listed.iter().any(|account| account.id == id))
    }

    /// Whether the create with unknown end of the object with this identity can have made `account`.
    pub fn can_have_made(&self, identity: &Identity, account: &Account) -> bool {
        let clock = self.gate.clock();
        let creating = identity.creating.as_ref();
        creating.is_some_and(|creating| doubt::can_have_made(creating, account, &self.login, clock))
            && !doubt::was_there_before(identity, account)
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
    gates: RwLock<HashMap<ObjectKey, Gate>>,
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
    pub fn gate(&self, credential: &ObjectKey, make: impl FnOnce() -> Gate) -> Gate {
        let mut gates = self.gates.write().unwrap_or_else(PoisonError::into_inner);
        gates.entry(credential.clone()).or_insert_with(make).clone()
    }

    /// The time to come before which nothing shall be sent to a credential's vendor, if any.
    pub fn rate_limited_until(&self, credential: &ObjectKey) -> Option<Timestamp> {
        self.gates.read().unwrap_or_else(PoisonError::into_inner).get(credential)?.kept()
    }

    /// `object` waits no longer at the gate of a credential.
    pub fn leave(&self, credential: &ObjectKey, object: &ObjectKey) {
        if let Some(gate) = self.gates.read().unwrap_or_else(PoisonError::into_inner).get(credential) {
            gate.leave(object);
        }
    }

    /// Forgets a credential.
    pub fn forget(&self, credential: &ObjectKey) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).remove(credential);
        self.gates.write().unwrap_or_else(PoisonError::into_inner).remove(credential);
    }
}
