//! Where a vendor offers no way to check a credential, creates tell whether it is accepted: after a refusal one of them in each
//! slow interval. Elsewhere this decides nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tracing::warn;

use super::connection::{Connection, Trouble};
use super::context::Context;
use super::outcome::Stop;
use super::refusal;
use crate::api::Reason;
use crate::providers::{ErrorKind, ProviderError};

/// The right to one create, given back on drop unless it was used.
pub struct Turn(Option<Arc<Connection>>);

impl Turn {
    /// The call is made now.
    pub fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.turn.store(true, Ordering::Relaxed);
        }
    }
}

/// Leave to create.
///
/// Errors: the credential was refused, and it is not this object's turn.
pub fn turn(connection: &Arc<Connection>) -> Result<Turn, Stop> {
    match refused(connection) {
        None => Ok(Turn(None)),
        Some(_) if connection.turn.swap(false, Ordering::Relaxed) => Ok(Turn(Some(connection.clone()))),
        Some(trouble) => Err(waiting(connection, &trouble.error)),
    }
}

/// Gives the turn once its time has come, or when a person asks; whether it did.
pub fn reopen(context: &Context, connection: &Connection, forced: bool) -> bool {
    let is_due = |trouble: &Trouble| forced || trouble.until <= Timestamp::now();
    let Some(trouble) = refused(connection).filter(is_due) else { return false };
    let until = refusal::retry_at(context, &connection.key, &connection.spec, &trouble.error);
    connection.swept(Some(Trouble { until, ..trouble }));
    connection.turn.store(true, Ordering::Relaxed);
    true
}

/// A create came about: whoever waited for the credential goes on.
pub fn accepted(context: &Context, connection: &Connection) {
    if refused(connection).is_some() {
        connection.swept(None);
        context.backoff.reset(&connection.key);
        context.wake(connection.key.clone());
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
            connection.trouble_once(|| Trouble {
                error: error.clone(),
                until: refusal::retry_at(context, &connection.key, &connection.spec, error),
            });
            context.wake(connection.key.clone());
            return Err(waiting(connection, error));
        }
        // Found fault with what was asked, not with who asked.
        ErrorKind::PermissionDenied | ErrorKind::Conflict | ErrorKind::Invalid => accepted(context, connection),
        ErrorKind::NotFound | ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Unsupported => {}
    }
    Ok(())
}

/// Why the credential was refused, if it was and only a create can tell whether it still is.
fn refused(connection: &Connection) -> Option<Trouble> {
    connection.trouble().filter(|_| !connection.provider.capabilities().checkable)
}

fn waiting(connection: &Connection, error: &ProviderError) -> Stop {
    Stop::waiting(Reason::WaitingForCredential, &connection.key, &error.message)
}
