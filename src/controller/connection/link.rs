//! The link of a credential to its vendor: up, with a session that all its objects share, or down, with the reason.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;

use super::session::Session;
use crate::api::conditions::Verdict;
use crate::api::user::Mode;
use crate::api::{ObjectKey, ProviderCredential, ProviderCredentialSpec};
use crate::controller::cluster::object::Object;
use crate::providers::Limiter;

/// A session with a vendor, under what its credential says of its objects now.
pub struct Connection {
    /// The session, which outlives edits of the credential that do not concern the log-in.
    pub session: Arc<Session>,
    /// The credential's spec.
    pub spec: ProviderCredentialSpec,
    /// The generation of `spec`.
    pub generation: i64,
    /// Whether the credential is being deleted: it serves bound objects and starts no new account.
    pub is_deleting: bool,
}

impl Deref for Connection {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Connection {
    /// `session` under what `credential` says now.
    pub fn new(session: Arc<Session>, credential: &ProviderCredential) -> Self {
        Self {
            session,
            spec: credential.spec.clone(),
            generation: credential.generation(),
            is_deleting: credential.is_deleting(),
        }
    }

    /// The same session under what `credential` says now.
    pub fn under(self: &Arc<Self>, credential: &ProviderCredential) -> Arc<Self> {
        if self.generation == credential.generation() {
            return self.clone();
        }
        Arc::new(Self::new(self.session.clone(), credential))
    }

    /// The credential's mode.
    pub fn mode(&self) -> Mode {
        self.spec.mode.unwrap_or_default()
    }
}

/// Whether a credential works.
#[derive(Clone)]
pub enum Link {
    /// It does.
    Up(Arc<Connection>),
    /// It does not.
    Down(Down),
}

/// Why a credential does not work, and with which spec and Secret.
#[derive(Clone, Debug)]
pub struct Down {
    /// Reason and message for its status.
    pub verdict: Verdict,
    /// Versions of the spec and Secret that did not work.
    pub stamp: String,
    /// Digest of the spec and the Secret's data that did not work.
    pub content: String,
    /// The next attempt is made no sooner, unless spec or Secret change.
    pub not_before: Option<Timestamp>,
}

impl Down {
    /// No attempt until spec or Secret change.
    pub fn until_changed(verdict: Verdict) -> Self {
        Self { verdict, stamp: String::new(), content: String::new(), not_before: None }
    }

    /// Whether it is too soon for the next attempt with the same spec and Secret.
    pub fn is_fresh(&self) -> bool {
        self.not_before.is_some_and(|at| at > Timestamp::now())
    }
}

/// The links of all credentials, and their limiters, which outlive every link because a vendor goes on counting calls.
#[derive(Default)]
pub struct Connections {
    links: RwLock<HashMap<ObjectKey, Link>>,
    limiters: RwLock<HashMap<ObjectKey, Limiter>>,
}

impl Connections {
    /// The link of a credential, if it was checked.
    pub fn get(&self, credential: &ObjectKey) -> Option<Link> {
        self.links.read().get(credential).cloned()
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
        self.links.write().insert(credential.clone(), link)
    }

    /// The limiter of a credential, made on the first call.
    pub fn limiter(&self, credential: &ObjectKey, make: impl FnOnce() -> Limiter) -> Limiter {
        self.limiters.write().entry(credential.clone()).or_insert_with(make).clone()
    }

    /// The time to come before which nothing may be sent to a credential's vendor, if any.
    pub fn rate_limited_until(&self, credential: &ObjectKey) -> Option<Timestamp> {
        self.limiters.read().get(credential)?.kept()
    }

    /// Takes `object` out of the queue of a credential's limiter.
    pub fn leave(&self, credential: &ObjectKey, object: &ObjectKey) {
        if let Some(limiter) = self.limiters.read().get(credential) {
            limiter.leave(object);
        }
    }

    /// Forgets a credential.
    pub fn forget(&self, credential: &ObjectKey) {
        self.links.write().remove(credential);
        self.limiters.write().remove(credential);
    }
}
