//! The first SIGTERM or SIGINT drains, the second aborts; what draining means is for others.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code of an aborted process, as shells report a process ended by SIGINT.
const ABORTED: i32 = 130;

/// A token that the first signal cancels; the second ends the process at once.
///
/// Errors: the signals cannot be listened for.
pub fn on_signals() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let drain = token.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        for second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if second {
                warn!("second signal: ending at once");
                std::process::exit(ABORTED);
            }
            info!("signal: finishing what is under way; a second signal ends at once");
            drain.cancel();
        }
    });
    Ok(token)
}
