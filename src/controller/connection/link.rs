//! The link of a credential to its vendor: up, with a session that all objects of the credential share, or down, with the reason. It
//! makes no session.

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

/// A session with a vendor and the latest spec of its credential.
pub struct Connection {
    /// The session. It outlives edits of the spec that do not concern the log-in.
    pub session: Arc<Session>,
    /// The credential's spec.
    pub spec: ProviderCredentialSpec,
    /// The generation of `spec`.
    pub generation: i64,
    /// Whether the credential is being deleted: then it serves bound objects, and usher creates no account through it.
    pub is_deleting: bool,
}

impl Deref for Connection {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Connection {
    /// `session` with the spec of `credential`.
    pub fn new(session: Arc<Session>, credential: &ProviderCredential) -> Self {
        Self {
            session,
            spec: credential.spec.clone(),
            generation: credential.generation(),
            is_deleting: credential.is_deleting(),
        }
    }

    /// The same session with the spec of `credential`, which may have been edited.
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

/// Whether usher is connected under a credential.
#[derive(Clone)]
pub enum Link {
    /// It is connected.
    Up(Arc<Connection>),
    /// It is not, or not any more.
    Down(Down),
}

/// Why usher is not connected under a credential.
#[derive(Clone, Debug)]
pub struct Down {
    /// Reason and message for its status.
    pub verdict: Verdict,
    /// Versions of the spec and Secret of the failed attempt.
    pub stamp: String,
    /// Digest of the spec and the Secret's data of the failed attempt.
    pub content: String,
    /// The earliest time of the next attempt with the same spec and Secret.
    pub not_before: Option<Timestamp>,
}

impl Down {
    /// No attempt until spec or Secret change.
    pub fn until_changed(verdict: Verdict) -> Self {
        Self { verdict, stamp: String::new(), content: String::new(), not_before: None }
    }

    /// Whether it is too early for the next attempt with the same spec and Secret.
    pub fn is_too_early(&self) -> bool {
        self.not_before.is_some_and(|at| at > Timestamp::now())
    }
}

/// The links and limiters of all credentials. A limiter outlives every link, because the vendor counts calls across sessions.
#[derive(Default)]
pub struct Connections {
    links: RwLock<HashMap<ObjectKey, Link>>,
    limiters: RwLock<HashMap<ObjectKey, Limiter>>,
}

impl Connections {
    /// The link of a credential, if one was attempted.
    pub fn get(&self, credential: &ObjectKey) -> Option<Link> {
        self.links.read().get(credential).cloned()
    }

    /// The connection of a credential, if its link is up.
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

    /// The time before which usher sends no call to a credential's vendor, if it is in the future.
    pub fn rate_limited_until(&self, credential: &ObjectKey) -> Option<Timestamp> {
        self.limiters.read().get(credential)?.closed_until_second()
    }

    /// Removes `object` from the queue of a credential's limiter.
    pub fn leave_queue(&self, credential: &ObjectKey, object: &ObjectKey) {
        if let Some(limiter) = self.limiters.read().get(credential) {
            limiter.cancel(object);
        }
    }

    /// Forgets a credential.
    pub fn forget(&self, credential: &ObjectKey) {
        self.links.write().remove(credential);
        self.limiters.write().remove(credential);
    }
}
