//! A circuit breaker for vendors that offer no way to check a credential: after the vendor did not accept the credential in a create,
//! single creates probe at growing intervals whether it accepts the credential again. It does nothing for other vendors.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use super::retry;
use super::session::{Failure, Session};
use crate::api::{ProviderCredentialSpec, Reason};
use crate::controller::outcome::Stop;
use crate::providers::{ErrorKind, ProviderError};

/// The right to one create. It is returned on drop unless it was used.
pub struct Probe(Option<Arc<Session>>);

impl Probe {
    /// Uses the right up, because the create is sent now.
    pub fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.health.lock().probe_allowed = true;
        }
    }
}

/// The right to one create.
///
/// Errors: the vendor does not accept the credential, and another object probes it or the next probe is not due.
pub fn probe(session: &Arc<Session>) -> Result<Probe, Stop> {
    let Some(failure) = not_accepted(session) else { return Ok(Probe(None)) };
    if std::mem::take(&mut session.health.lock().probe_allowed) {
        return Ok(Probe(Some(session.clone())));
    }
    Err(waiting(session, &failure.error))
}

/// Allows the next probe if it is due or `forced`. Returns whether it does.
pub fn allow_probe(session: &Session, spec: &ProviderCredentialSpec, forced: bool) -> bool {
    let is_due = |failure: &Failure| forced || failure.until <= Timestamp::now();
    let Some(failure) = not_accepted(session).filter(is_due) else { return false };
    let until = retry::retry_at(&session.backoff, &session.key, spec, &failure.error);
    session.set_failure(Some(Failure { until, ..failure }));
    session.health.lock().probe_allowed = true;
    true
}

/// Records that the vendor accepted the credential in a create, and enqueues the credential, whose reconcile enqueues the waiting objects.
pub fn accepted(session: &Session) {
    if not_accepted(session).is_some() {
        session.set_failure(None);
        session.backoff.reset(&session.key);
        session.queue.add(session.key.clone());
    }
}

/// Records the answer to a create that failed.
///
/// Errors: the vendor does not accept the credential, so the object waits until the credential's reconcile enqueues it.
pub fn failed(session: &Session, spec: &ProviderCredentialSpec, error: &ProviderError) -> Result<(), Stop> {
    match error.kind {
        _ if session.provider.capabilities().checkable => {}
        ErrorKind::Unauthenticated => {
            warn!(credential = %session.key, "not accepted: {error}");
            session.set_failure_once(|| Failure {
                error: error.clone(),
                until: retry::retry_at(&session.backoff, &session.key, spec, error),
            });
            session.queue.add(session.key.clone());
            return Err(waiting(session, error));
        }
        // The vendor refused the request, so it accepted the credential.
        ErrorKind::PermissionDenied | ErrorKind::Conflict | ErrorKind::Invalid => accepted(session),
        ErrorKind::NotFound | ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Unsupported => {}
    }
    Ok(())
}

/// The last failure, where only a create can check the credential.
fn not_accepted(session: &Session) -> Option<Failure> {
    session.last_failure().filter(|_| !session.provider.capabilities().checkable)
}

fn waiting(session: &Session, error: &ProviderError) -> Stop {
    Stop::waiting(Reason::WaitingForCredential, &session.key, &error.message)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::api::{ProviderCredential, Vendor};
    use crate::controller::backoff::Backoff;
    use crate::controller::cluster::object::Object as _;
    use crate::controller::connection::link::Connection;
    use crate::controller::queue::Queue;
    use crate::plan::CredentialAccount;
    use crate::providers::{self, Access, AddressRules, Limiter, NoMetrics, SecretData};

    /// A credential of a vendor that offers no way to check it.
    fn credential(generation: i64) -> ProviderCredential {
        let provider = json!({"industrility": {"url": "https://vendor.example.com"}});
        let spec = serde_json::from_value(json!({"provider": provider, "secretRef": {"name": "main"}})).unwrap();
        let mut credential = ProviderCredential::new("main", spec);
        credential.metadata.namespace = Some("identity".into());
        credential.metadata.generation = Some(generation);
        credential
    }

    fn session(credential: &ProviderCredential) -> Arc<Session> {
        let (key, vendor, (queue, _)) = (credential.key(), Vendor::Industrility, Queue::new());
        let limits = providers::capabilities(vendor).default_limits;
        let limiter = Limiter::new(key.clone(), vendor, limits, queue.admitted(), Arc::new(NoMetrics));
        let access = Access {
            provider: &credential.spec.provider,
            secret: &SecretData::new("main", [("token".to_owned(), b"fake-token".to_vec())]),
            limiter: limiter.clone(),
            observer: Arc::new(NoMetrics),
            timeout: Duration::from_secs(1),
            addresses: AddressRules::default(),
            ca_bundle: None,
        };
        Arc::new(Session {
            key,
            vendor,
            provider: providers::connect(&access).unwrap(),
            limiter,
            account: "here".into(),
            credential_account: CredentialAccount::new("here".into(), None, None),
            stamp: Mutex::default(),
            content: String::new(),
            needs_check: AtomicBool::new(false),
            inventory: Arc::default(),
            health: Mutex::default(),
            object_memory: Arc::default(),
            queue,
            backoff: Backoff::default(),
            listing_timeout: Duration::from_secs(1),
        })
    }

    #[tokio::test]
    async fn a_create_that_was_under_way_during_an_edit_opens_the_breaker_for_all_objects() {
        let before = Arc::new(Connection::new(session(&credential(1)), &credential(1)));
        let after = before.under(&credential(2));
        assert!(probe(&after.session).is_ok(), "no create was refused yet");
        let refusal = ProviderError::refused(ErrorKind::Unauthenticated, "401");
        assert!(failed(&before, &before.spec, &refusal).is_err());
        assert!(probe(&after.session).is_err(), "the refusal is known under the edited credential");

        assert!(allow_probe(&after, &after.spec, true));
        let first = probe(&before.session);
        assert!(first.is_ok() && probe(&after.session).is_err(), "there is one probe");
        drop(first);
        let again = probe(&after.session).unwrap();
        again.used();
        assert!(probe(&before.session).is_err(), "a probe that was used is not given back");

        accepted(&before);
        assert!(probe(&after.session).is_ok() && probe(&before.session).is_ok());
    }
}
