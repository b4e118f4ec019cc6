//! Where a vendor offers no way to check a credential, creates tell whether it is accepted: after a refusal one of them in each
//! slow interval. Elsewhere this decides nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tracing::warn;

use super::link::{Connection, Failure};
use super::retry;
use crate::api::Reason;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::providers::{ErrorKind, ProviderError};

/// The right to one create, given back on drop unless it was used.
pub struct Probe(Option<Arc<Connection>>);

impl Probe {
    /// The call is made now.
    pub fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.probe_allowed.store(true, Ordering::Relaxed);
        }
    }
}

/// Leave to create.
///
/// Errors: the credential was refused, and it is not this object's turn.
pub fn probe(connection: &Arc<Connection>) -> Result<Probe, Stop> {
    match refused(connection) {
        None => Ok(Probe(None)),
        Some(_) if connection.probe_allowed.swap(false, Ordering::Relaxed) => Ok(Probe(Some(connection.clone()))),
        Some(last_failure) => Err(waiting(connection, &last_failure.error)),
    }
}

/// Gives the turn once its time has come, or when a person asks; whether it did.
pub fn reopen(context: &Context, connection: &Connection, forced: bool) -> bool {
    let is_due = |last_failure: &Failure| forced || last_failure.until <= Timestamp::now();
    let Some(last_failure) = refused(connection).filter(is_due) else { return false };
    let until = retry::retry_at(context, &connection.key, &connection.spec, &last_failure.error);
    connection.set_failure(Some(Failure { until, ..last_failure }));
    connection.probe_allowed.store(true, Ordering::Relaxed);
    true
}

/// A create came about: whoever waited for the credential goes on.
pub fn accepted(context: &Context, connection: &Connection) {
    if refused(connection).is_some() {
        connection.set_failure(None);
        context.backoff.reset(&connection.key);
        context.enqueue(connection.key.clone());
    }
}

/// Notes what a refused create tells of the credential.
///
/// Errors: it is not accepted; the object waits for it, and does not come back by itself.
pub fn heard(context: &Context, connection: &Connection, error: &ProviderError) -> Result<(), Stop> {
    match error.kind {
        _ if connection.provider.capabilities().checkable => {}
        ErrorKind::Unauthenticated => {
            warn!(credential = %connection.key, "not accepted: {error}");
            connection.set_failure_once(|| Failure {
                error: error.clone(),
                until: retry::retry_at(context, &connection.key, &connection.spec, error),
            });
            context.enqueue(connection.key.clone());
            return Err(waiting(connection, error));
        }
        // Found fault with what was asked, not with who asked.
        ErrorKind::PermissionDenied | ErrorKind::Conflict | ErrorKind::Invalid => accepted(context, connection),
        ErrorKind::NotFound | ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Unsupported => {}
    }
    Ok(())
}

/// Why the credential was refused, if it was and only a create can tell whether it still is.
fn refused(connection: &Connection) -> Option<Failure> {
    connection.last_failure().filter(|_| !connection.provider.capabilities().checkable)
}

fn waiting(connection: &Connection, error: &ProviderError) -> Stop {
    Stop::waiting(Reason::WaitingForCredential, &connection.key, &error.message)
}
