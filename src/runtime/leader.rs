//! One writer at a time: a lease taken and renewed under its resourceVersion; what the leader does is for others.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How long a lease holds after its last renewal, in seconds.
const DURATION: i32 = 15;
/// A holder that could not renew for this long stops writing; shorter than `DURATION`, so that two never write.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pause between renewals and between tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time for one call.
const CALL: Duration = Duration::from_secs(4);

/// Why the lease could not be asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// We may not, which does not mend itself.
    #[error("no permission for the lease {0}: kubectl apply -k deploy")]
    Forbidden(String),
}

/// A lease by name, and who we are.
pub struct Lease {
    api: Api<LeaseObject>,
    name: String,
    me: String,
}

/// The lease while we hold it.
pub struct Held {
    lease: Lease,
    object: LeaseObject,
    renewed: Instant,
}

/// What another holder's lease looked like, and since when on our own clock: clocks of machines may differ.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Lease {
    /// The lease `name` in `namespace`; `me` is our name in it. The client should not retry by itself.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), me: me.to_owned() }
    }

    /// Waits until the lease is ours; `None` on `stop`.
    ///
    /// Errors: no permission.
    pub async fn acquire(self, stop: &CancellationToken) -> Result<Option<Held>, Error> {
        let mut seen: Option<Seen> = None;
        while !stop.is_cancelled() {
            match self.attempt(&mut seen).await {
                Ok(Some(object)) => {
                    info!(lease = self.name, holder = self.me, "leading");
                    return Ok(Some(Held { lease: self, object, renewed: Instant::now() }));
                }
                Ok(None) => {}
                Err(kube::Error::Api(status)) if status.code == 403 => return Err(Error::Forbidden(self.name)),
                Err(error) => warn!(lease = self.name, "the lease cannot be asked for: {error}"),
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(None)
    }

    /// Takes the lease if it is free or its holder has not renewed it for its duration.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<Option<LeaseObject>, kube::Error> {
        let Some(found) = bounded(self.api.get_opt(&self.name)).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let fresh = LeaseObject { metadata, spec: Some(self.spec(0)) };
            return bounded(self.api.create(&PostParams::default(), &fresh)).await.map(Some);
        };
        let version = found.resource_version();
        if seen.as_ref().is_none_or(|seen| seen.version != version) {
            if seen.is_none() {
                let holder = found.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
                info!(lease = self.name, holder, "waiting for the lease");
            }
            *seen = Some(Seen { version, since: Instant::now() });
        }
        let unchanged = seen.as_ref().map_or(Duration::ZERO, |seen| seen.since.elapsed());
        if !may_take(found.spec.as_ref(), &self.me, unchanged) {
            return Ok(None);
        }
        self.write(found).await.map(Some)
    }

    /// Writes us into `object`, if nobody wrote it since.
    async fn write(&self, mut object: LeaseObject) -> Result<LeaseObject, kube::Error> {
        let before = object.spec.take().unwrap_or_default();
        let again = before.holder_identity.as_deref() == Some(&self.me);
        let transitions = before.lease_transitions.unwrap_or_default() + i32::from(!again);
        let acquired = before.acquire_time.filter(|_| again);
        let mut spec = self.spec(transitions);
        spec.acquire_time = acquired.or(spec.acquire_time);
        object.spec = Some(spec);
        bounded(self.api.replace(&self.name, &PostParams::default(), &object)).await
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(DURATION),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// Whether the lease is free for `me`: nobody's, ours, or not renewed for its duration on our own clock.
fn may_take(lease: Option<&LeaseSpec>, me: &str, unchanged: Duration) -> bool {
    let Some(lease) = lease else { return true };
    let duration = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    match lease.holder_identity.as_deref() {
        None | Some("") => true,
        Some(holder) => holder == me || unchanged >= Duration::from_secs(duration),
    }
}

impl Held {
    /// Renews the lease; ends when it could not be renewed until the deadline, or is someone else's.
    pub async fn lost(&mut self) {
        loop {
            sleep(PAUSE).await;
            match self.lease.write(self.object.clone()).await {
                Ok(object) => {
                    self.object = object;
                    self.renewed = Instant::now();
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    warn!(lease = self.lease.name, "someone else took the lease");
                    return;
                }
                Err(error) => debug!(lease = self.lease.name, "not renewed: {error}"),
            }
            if self.renewed.elapsed() > DEADLINE {
                warn!(lease = self.lease.name, "not renewed for {DEADLINE:?}");
                return;
            }
        }
    }

    /// Gives the lease up, so that the next holder need not wait.
    pub async fn release(self) {
        let mut object = self.object;
        if let Some(spec) = &mut object.spec {
            spec.holder_identity = None;
        }
        let written = bounded(self.lease.api.replace(&self.lease.name, &PostParams::default(), &object)).await;
        if let Err(error) = written {
            debug!(lease = self.lease.name, "not released: {error}");
        }
    }
}

/// A call within its time.
async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    timeout(CALL, call).await.unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: Option<&str>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[rstest::rstest]
    #[case::nobody_ever(None, 0, true)]
    #[case::released(Some(held_by(None)), 0, true)]
    #[case::ours(Some(held_by(Some("me"))), 0, true)]
    #[case::fresh(Some(held_by(Some("other"))), 14, false)]
    #[case::stale(Some(held_by(Some("other"))), 15, true)]
    fn a_lease_is_taken_only_when_it_is_free(
        #[case] lease: Option<LeaseSpec>,
        #[case] unchanged: u64,
        #[case] free: bool,
    ) {
        assert_eq!(may_take(lease.as_ref(), "me", Duration::from_secs(unchanged)), free);
    }
}
