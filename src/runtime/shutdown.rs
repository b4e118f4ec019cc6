//! The first SIGTERM or SIGINT drains, the second aborts; what draining means is for others.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code of an aborted process, as shells report one that SIGINT ended.
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
        info!("signal: finishing what is under way; a second signal ends at once");
        drain.cancel();
        signals.next().await;
        warn!("second signal: ending at once");
        // Not by returning: whatever holds up the drain would hold up that, too.
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
