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
