//! Signals: the first SIGTERM or SIGINT starts the drain, the second ends the process. It does not know what is drained.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code of an aborted process: the one that shells report after SIGINT.
const ABORTED: i32 = 130;

/// A token that the first signal cancels; the second ends the process at once, with exit code 130.
///
/// Errors: the signals cannot be listened for. Panics outside a tokio runtime.
pub fn on_signals() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let drain = token.clone();
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    tokio::spawn(async move {
        signals.next().await;
        info!("signal received: finishing work in progress; a second signal ends at once");
        drain.cancel();
        signals.next().await;
        warn!("second signal received: ending at once");
        // Exits instead of returning, because work that blocks the drain would block a return too.
        std::process::exit(ABORTED);
    });
    Ok(token)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
