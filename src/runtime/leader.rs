//! Leader election: a lease that one process at a time takes and renews under its resourceVersion.
//!
//! It does not know what a leader does. The code is usher's own because kube-lease-manager renews without the resourceVersion, so
//! that two processes could hold the lease at once.

mod held;
mod rules;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::{Api, Client, ResourceExt, api::PostParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use rules::{claimed, holder, may_take};

/// A holder that could not renew for this long stops writing. It is shorter than `rules::DURATION`, so that two never write.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time from one renewal to the next: five may be lost before the deadline.
const RENEWAL: Duration = Duration::from_secs(2);
/// Pause between tries to take the lease, and from one failed renewal to the next try.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time for one call: when the answer to a renewal is lost, another try fits before the deadline.
const CALL: Duration = Duration::from_secs(3);

/// Why the lease cannot be taken. `acquire` retries all errors that may pass without help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// RBAC denies access to the lease.
    #[error("no permission to get, create and update the lease {0}")]
    Forbidden(String, #[source] kube::Error),
}

/// A lease by name, and the identity of this process.
#[derive(Clone)]
pub struct Lease {
    api: Api<LeaseObject>,
    name: String,
    me: String,
}

/// The lease while this process holds it. [`Held::lost`] renews it and ends when it is lost.
pub struct Held {
    lease: Lease,
    object: LeaseObject,
    /// When the last renewal was sent, not answered, because other processes count from a moment in between.
    renewed: Instant,
}

/// The lease as last read, and since when by the local clock, because the clocks of two machines may differ.
struct Seen {
    holder: Option<String>,
    version: Option<String>,
    since: Instant,
}

impl Lease {
    /// The lease `name` in `namespace`; `identity` is the unique name of this process in it. `client` must not retry.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), me: identity.to_owned() }
    }

    /// Waits until this process holds the lease; `None` on `stop`.
    ///
    /// Errors: RBAC denies access. An API server that does not answer is asked again.
    pub async fn acquire(&self, stop: &CancellationToken) -> Result<Option<Held>, Error> {
        let mut seen = Seen { holder: None, version: None, since: Instant::now() };
        while !stop.is_cancelled() {
            match self.attempt(&mut seen).await {
                Ok(None) => {}
                Ok(held) => return Ok(held),
                Err(error) if code(&error) == Some(403) => return Err(Error::Forbidden(self.name.clone(), error)),
                Err(error) => warn!(lease = self.name, "failed to take the lease, trying again: {error}"),
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(None)
    }

    /// Takes the lease if it is free and no other process takes it first.
    async fn attempt(&self, seen: &mut Seen) -> Result<Option<Held>, kube::Error> {
        let mut found = bounded(self.api.get_opt(&self.name)).await?.unwrap_or_default();
        if !may_take(found.spec.as_ref(), &self.me, self.unchanged(&found, seen)) {
            return Ok(None);
        }
        found.metadata.name = Some(self.name.clone());
        let renewed = Instant::now();
        match self.claim(found).await {
            Ok(object) => {
                info!(lease = self.name, holder = self.me, "took the lease");
                Ok(Some(Held { lease: self.clone(), object, renewed }))
            }
            Err(error) if code(&error) == Some(409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How long `found` has been unchanged; logs a new holder.
    fn unchanged(&self, found: &LeaseObject, seen: &mut Seen) -> Duration {
        let version = found.resource_version();
        if seen.version != version {
            let holder = holder(found.spec.as_ref()).map(str::to_owned);
            if holder.is_some() && holder != seen.holder && holder.as_ref() != Some(&self.me) {
                info!(lease = self.name, holder, "waiting for the lease");
            }
            *seen = Seen { holder, version, since: Instant::now() };
        }
        seen.since.elapsed()
    }

    /// Writes this process and the time into `object`. A write by another process since then makes it a conflict.
    async fn claim(&self, mut object: LeaseObject) -> Result<LeaseObject, kube::Error> {
        object.spec = Some(claimed(object.spec.take().unwrap_or_default(), &self.me, Timestamp::now()));
        let how = PostParams::default();
        if object.metadata.resource_version.is_none() {
            bounded(self.api.create(&how, &object)).await
        } else {
            bounded(self.api.replace(&self.name, &how, &object)).await
        }
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

/// The call with the timeout [`CALL`].
async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    timeout(CALL, call).await.unwrap_or_else(|late| Err(kube::Error::Service(Box::new(late))))
}

#[cfg(test)]
mod tests;
