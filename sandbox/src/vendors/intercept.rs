//! Lets a test decide the fate of single calls: lost before or after they take effect, delayed, or in effect much later. It
//! knows no single vendor.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The fate of a call.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// It is answered as usual.
    Serve,
    /// It is answered as usual once the token is cancelled.
    Hold(CancellationToken),
    /// It is done; its answer comes once the token is cancelled.
    Withhold(CancellationToken),
    /// Nothing is done; no answer ever comes.
    Swallow,
    /// It is done; no answer ever comes.
    Mute,
    /// It is done once the token is cancelled, even if the client has gone by then; no answer ever comes.
    Detach(CancellationToken),
}

/// Decides by verb and operation; asked once for every call, before anything is done.
pub type Intercept = Arc<dyn Fn(&str, &'static str) -> Ruling + Send + Sync>;

/// The interceptor in charge, if any.
#[derive(Default)]
pub(super) struct Gatekeeper(Mutex<Option<Intercept>>);

impl Gatekeeper {
    pub fn set(&self, intercept: Option<Intercept>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = intercept;
    }

    pub fn rule(&self, method: &str, operation: &'static str) -> Ruling {
        let intercept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        intercept.map_or(Ruling::Serve, |intercept| intercept(method, operation))
    }
}

impl fmt::Debug for Gatekeeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gatekeeper")
    }
}
