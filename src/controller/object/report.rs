//! Step five: from how it ended to conditions, one status write if anything changed, an event on a transition, and when to look again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use tracing::{debug, info, warn};

use crate::api::conditions::{self, ConditionType, Verdict};
use crate::api::names::RECONCILE_AT;
use crate::api::status::{PendingCall, Report};
use crate::api::user::Mode;
use crate::api::{Reason, Vendor};
use crate::controller::backoff as requeue;
use crate::controller::cluster::status as record;
use crate::controller::cluster::status::Cached;
use crate::controller::context::Context;
use crate::controller::deletion::finalize as removal;
use crate::controller::outcome::{Change, Done, Finalized, Stop};
use crate::providers::{ErrorKind, ProviderError};

/// What the report says beside the verdict.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportContext {
    /// The vendor, if the credential is known.
    pub vendor: Option<Vendor>,
    /// The mode in effect, if it is known.
    pub mode: Option<Mode>,
    /// Whether a comparison that someone asked for was made.
    pub compared: bool,
}

/// Says of `object` how its reconcile ended, and when to look again.
///
/// Errors: Kubernetes failed us.
pub async fn report<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    report_context: ReportContext,
    result: Result<Done, Stop>,
) -> Result<Action, kube::Error> {
    if !matches!(result, Err(Stop::Queued)) {
        context.connections.leave(&object.credential_key(), &object.key());
    }
    match result {
        Ok(Done { verdict, did }) => {
            context.backoff.reset(&object.key());
            say(context, object, report_context, verdict, did, None).await?;
            Ok(Action::await_change())
        }
        Err(Stop::Verdict(verdict)) => {
            context.backoff.reset(&object.key());
            say(context, object, report_context, verdict, None, None).await?;
            Ok(Action::await_change())
        }
        Err(Stop::Pending(calls)) => {
            let verdict = Verdict::new(
                Reason::ChangesPending,
                format!("mode Plan: status.pending lists what would be sent ({})", calls.len()),
            );
            say(context, object, report_context, verdict, None, Some(calls)).await?;
            Ok(Action::await_change())
        }
        Err(Stop::Provider(error)) => failed(context, object, report_context, error).await,
        Err(Stop::Paused(by)) => paused(context, object, report_context, &by).await,
        Err(Stop::CreatePending(until)) => Ok(requeue::at(until)),
        Err(Stop::Queued) => Ok(Action::requeue(requeue::PARKED)),
        Err(Stop::Unchanged) => Ok(Action::await_change()),
        Err(Stop::Until(verdict, until)) => {
            say(context, object, report_context, verdict, None, None).await?;
            Ok(requeue::at(until))
        }
        Err(Stop::Gone(finalized)) => {
            context.backoff.reset(&object.key());
            context.metrics.object_state(&object.key(), None);
            if let Some(Finalized { change, note, warns }) = finalized {
                let type_ = if warns { EventType::Warning } else { EventType::Normal };
                publish(context, object, type_, change.to_string(), note).await;
            }
            Ok(Action::await_change())
        }
        Err(Stop::Kube(error)) => Err(error),
    }
}

/// The vendor refused or could not be reached, with something to do.
async fn failed<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    report_context: ReportContext,
    error: ProviderError,
) -> Result<Action, kube::Error> {
    warn!(object = %object.key(), kind = %error.kind, "the vendor call failed: {error}");
    let reason = reason_of(&error);
    if error.kind == ErrorKind::Unauthenticated {
        if let Some(connection) = context.connections.up(&object.credential_key()) {
            connection.needs_check.store(true, Ordering::Relaxed);
        }
        context.enqueue(object.credential_key());
    }
    let refused = reason.companion() == Some(ConditionType::Stalled);
    let verdict = if object.is_deleting() {
        let reason = if refused { Reason::DeletionBlocked } else { reason };
        let command = removal::orphan_command(&object.key());
        Verdict::new(reason, format!("{}; it is tried again, or give the account up: {command}", error.message))
    } else {
        Verdict::new(reason, format!("{}{}", error.message, way_out(reason)))
    };
    say(context, object, report_context, verdict, None, None).await?;
    Ok(match (error.kind, error.retry_at) {
        (ErrorKind::RateLimited, Some(until)) => requeue::at(until),
        (ErrorKind::Unavailable, Some(until)) => {
            let backoff = SignedDuration::try_from(context.backoff.next(&object.key())).unwrap_or_default();
            requeue::at(until.max(Timestamp::now() + backoff))
        }
        (ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Unauthenticated, _) => {
            Action::requeue(context.backoff.next(&object.key()))
        }
        _ if object.is_deleting() => Action::requeue(context.backoff.next(&object.key())),
        _ => Action::await_change(),
    })
}

/// What a person can do about a vendor's refusal, or that nothing needs doing.
fn way_out(reason: Reason) -> &'static str {
    match reason {
        Reason::WaitingForCredential => "; the credential is checked, see its conditions",
        Reason::ProviderUnavailable => "; it is tried again by itself",
        Reason::PermissionDenied => "; give usher's login this right at the vendor",
        Reason::Invalid => "; correct the manifest",
        Reason::AlreadyExists => "; choose another value, or free it at the vendor",
        _ => "",
    }
}

/// The reason that a vendor's refusal gives an object.
pub fn reason_of(error: &ProviderError) -> Reason {
    match error.kind {
        ErrorKind::Unauthenticated => Reason::WaitingForCredential,
        ErrorKind::PermissionDenied => Reason::PermissionDenied,
        ErrorKind::NotFound => Reason::NotFound,
        ErrorKind::Conflict => Reason::AlreadyExists,
        ErrorKind::Invalid => Reason::Invalid,
        ErrorKind::RateLimited => Reason::RateLimited,
        ErrorKind::Unavailable => Reason::ProviderUnavailable,
        ErrorKind::Unsupported => Reason::Unsupported,
    }
}

async fn say<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    report_context: ReportContext,
    verdict: Verdict,
    did: Option<Change>,
    pending: Option<Vec<PendingCall>>,
) -> Result<(), kube::Error> {
    let before = object.status().map(|status| status.report.clone()).unwrap_or_default();
    let was = conditions::find(&before.conditions, ConditionType::Ready).map(|ready| ready.reason.clone());
    let asked = object.annotations().get(RECONCILE_AT).filter(|_| report_context.compared);
    let after = Report {
        observed_generation: object.generation(),
        conditions: conditions::conditions(&before.conditions, &verdict, object.generation(), Timestamp::now()),
        provider: report_context.vendor.or(before.provider),
        mode: report_context.mode.or(before.mode),
        pending,
        last_handled_reconcile_at: asked.cloned().or(before.last_handled_reconcile_at.clone()),
    };
    context.metrics.object_state(&object.key(), Some(verdict.reason));
    if after == before {
        debug!(object = %object.key(), reason = %verdict.reason, "nothing changed");
    } else {
        match record::report(context, &**object, &after).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other?),
        }
        info!(object = %object.key(), reason = %verdict.reason, message = verdict.message, "status");
    }
    match did {
        Some(change) => announce(context, object, change, &verdict.message).await,
        None if was.as_deref() != Some(verdict.reason.label()) && !verdict.reason.is_ready() => {
            publish(context, object, EventType::Warning, verdict.reason.to_string(), verdict.message).await;
        }
        None => {}
    }
    Ok(())
}

/// While paused, Ready and observedGeneration stay as they were.
async fn paused<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    report_context: ReportContext,
    by: &str,
) -> Result<Action, kube::Error> {
    let before = object.status().map(|status| status.report.clone()).unwrap_or_default();
    let message = format!("paused by {by}");
    let after = Report {
        conditions: conditions::paused(&before.conditions, &message, object.generation(), Timestamp::now()),
        provider: report_context.vendor.or(before.provider),
        mode: Some(Mode::Paused),
        ..before.clone()
    };
    if after != before {
        record::report(context, &**object, &after).await?;
        info!(object = %object.key(), "{message}");
    }
    Ok(Action::await_change())
}

async fn announce<K: Cached>(context: &Context, object: &Arc<K>, change: Change, note: &str) {
    publish(context, object, EventType::Normal, change.to_string(), note.to_owned()).await;
}

/// Events are a courtesy: one that cannot be published is logged, and nothing waits long for it.
async fn publish<K: Cached>(context: &Context, object: &Arc<K>, type_: EventType, reason: String, note: String) {
    let note: String = note.chars().take(1024).collect();
    let event = Event { type_, reason: reason.clone(), note: Some(note), action: reason, secondary: None };
    let reference = object.object_ref(&());
    let sending = context.recorder.publish(&event, &reference);
    match tokio::time::timeout(Duration::from_secs(5), sending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(object = %object.key(), "the event was not published: {error}"),
        Err(_) => debug!(object = %object.key(), "the event was not published in time"),
    }
}
