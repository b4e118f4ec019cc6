//! The report of a reconcile: conditions, one status write if anything changed, events on transitions, and when the next reconcile is due.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::events::EventType;
use tracing::{debug, info, warn};

use crate::api::conditions::{self, ConditionType, Verdict};
use crate::api::names::RECONCILE_AT;
use crate::api::status::{PendingCall, Report};
use crate::api::user::Mode;
use crate::api::{Reason, Vendor};
use crate::controller::backoff::{self, Action};
use crate::controller::cluster::event::publish;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::status::write_report;
use crate::controller::context::Context;
use crate::controller::hints::orphan_command;
use crate::controller::outcome::{Change, Done, Finalized, Outcome, Stop};
use crate::providers::{ErrorKind, ProviderError};

/// What the report states beside the outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportContext {
    /// The vendor, if the credential is known.
    pub vendor: Option<Vendor>,
    /// The mode in effect, if it is known.
    pub mode: Option<Mode>,
    /// Whether vendor and manifest were compared.
    pub compared: bool,
    /// What was done to the account, although the reconcile stopped after that.
    pub change: Option<Change>,
}

/// Reports how the reconcile of `object` ended, and returns when the next one is due.
///
/// Errors: Kubernetes did not answer.
pub async fn report<K: Managed>(
    context: &Context,
    object: &Arc<K>,
    report_context: ReportContext,
    result: Result<Outcome, Stop>,
) -> Result<Action, kube::Error> {
    let key = object.key();
    if !matches!(result, Err(Stop::AwaitsPermit)) {
        context.connections.leave_queue(&object.credential_key(), &key);
    }
    let said = Saying { context, object, report_context };
    match result {
        Ok(Outcome::Done(Done { verdict, change })) => said.settled(verdict, change, None).await,
        Ok(Outcome::Again) => Ok(said.nothing(Action::requeue(backoff::LOST_WAKE_UP))),
        Ok(Outcome::Released(finalized)) => Ok(released(context, object, finalized).await),
        Err(Stop::Verdict(verdict)) => said.settled(verdict, report_context.change, None).await,
        Err(Stop::Pending(calls)) => {
            let message = format!("mode Plan: status.pending lists what would be sent ({})", calls.len());
            said.say(Verdict::new(Reason::ChangesPending, message), None, Some(calls)).await?;
            Ok(Action::await_change())
        }
        Err(Stop::Until(verdict, until)) => {
            said.say(verdict, report_context.change, None).await?;
            Ok(backoff::at(until))
        }
        Err(Stop::Provider(error)) => said.failed(error).await,
        Err(Stop::Paused(by)) => said.paused(&by).await,
        Err(Stop::CreatePending(until) | Stop::KeyLocked(until) | Stop::Unsettled(until)) => {
            Ok(said.nothing(backoff::at(until)))
        }
        Err(Stop::AwaitsPermit | Stop::AwaitsCredential | Stop::AwaitsListing | Stop::AwaitsEdit) => {
            Ok(said.nothing(Action::requeue(backoff::LOST_WAKE_UP)))
        }
        Err(Stop::Unchanged) => Ok(said.nothing(Action::await_change())),
        Err(Stop::Kube(error)) => Err(error),
    }
}

/// Publishes what became of the account of an object that was released.
async fn released<K: Managed>(context: &Context, object: &Arc<K>, finalized: Option<Finalized>) -> Action {
    context.backoff.reset(&object.key());
    context.metrics.object_state(&object.key(), None);
    if let Some(Finalized { change, note, warns }) = finalized {
        let type_ = if warns { EventType::Warning } else { EventType::Normal };
        publish(&context.cluster, &**object, type_, &change.to_string(), &note).await;
    }
    Action::await_change()
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

/// What a person can do about a vendor's refusal, or that nothing needs to be done.
fn way_out(reason: Reason) -> &'static str {
    match reason {
        Reason::WaitingForCredential => "; the credential is checked, see its conditions",
        Reason::ProviderUnavailable => "; usher tries again by itself",
        Reason::PermissionDenied => "; give usher's login this right at the vendor",
        Reason::Invalid => "; correct the manifest",
        Reason::AlreadyExists => "; choose another value, or free it at the vendor",
        _ => "",
    }
}

/// The report of one object.
struct Saying<'a, K> {
    context: &'a Context,
    object: &'a Arc<K>,
    report_context: ReportContext,
}

impl<K: Managed> Saying<'_, K> {
    /// A verdict that lasts until something changes.
    async fn settled(
        &self,
        verdict: Verdict,
        change: Option<Change>,
        pending: Option<Vec<PendingCall>>,
    ) -> Result<Action, kube::Error> {
        self.context.backoff.reset(&self.object.key());
        self.say(verdict, change, pending).await?;
        Ok(Action::await_change())
    }

    /// No news: status keeps its last verdict, which counts in the metrics after a restart too.
    fn nothing(&self, action: Action) -> Action {
        let ready =
            self.object.status().and_then(|status| conditions::find(&status.report.conditions, ConditionType::Ready));
        if let Some(reason) = ready.and_then(|ready| ready.reason.parse().ok()) {
            self.context.metrics.object_state(&self.object.key(), Some(reason));
        }
        action
    }

    /// The vendor refused a call or was not reached, and there is something to do.
    async fn failed(&self, error: ProviderError) -> Result<Action, kube::Error> {
        let (context, object) = (self.context, self.object);
        warn!(object = %object.key(), kind = %error.kind, "the vendor call failed: {error}");
        if error.kind == ErrorKind::Unauthenticated {
            if let Some(connection) = context.connections.up(&object.credential_key()) {
                connection.needs_check.store(true, Ordering::Relaxed);
            }
            context.cluster.enqueue(object.credential_key());
        }
        self.say(self.verdict_on(&error), self.report_context.change, None).await?;
        Ok(self.retry(&error))
    }

    fn verdict_on(&self, error: &ProviderError) -> Verdict {
        let reason = reason_of(error);
        if !self.object.is_deleting() {
            return Verdict::new(reason, format!("{}{}", error.message, way_out(reason)));
        }
        let is_refused = reason.companion() == Some(ConditionType::Stalled);
        let reason = if is_refused { Reason::DeletionBlocked } else { reason };
        let command = orphan_command(&self.object.key());
        Verdict::new(reason, format!("{}; usher tries again, or give the account up: {command}", error.message))
    }

    /// When the next attempt is due after `error`.
    fn retry(&self, error: &ProviderError) -> Action {
        let backoff = || self.context.backoff.next(&self.object.key());
        match (error.kind, error.retry_at) {
            (ErrorKind::RateLimited, Some(until)) => backoff::at(until),
            (ErrorKind::Unavailable, Some(until)) => {
                let wait = SignedDuration::try_from(backoff()).unwrap_or_default();
                backoff::at(until.max(Timestamp::now() + wait))
            }
            (ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Unauthenticated, _) => {
                Action::requeue(backoff())
            }
            _ if self.object.is_deleting() => Action::requeue(backoff()),
            _ => Action::await_change(),
        }
    }

    async fn say(
        &self,
        verdict: Verdict,
        change: Option<Change>,
        pending: Option<Vec<PendingCall>>,
    ) -> Result<(), kube::Error> {
        let (context, object) = (self.context, self.object);
        let before = object.status().map(|status| status.report.clone()).unwrap_or_default();
        let after = self.after(&before, &verdict, pending);
        context.metrics.object_state(&object.key(), Some(verdict.reason));
        if after == before {
            debug!(object = %object.key(), reason = %verdict.reason, "nothing changed");
        } else {
            match write_report(&context.cluster, &**object, &after).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => drop(other?),
            }
            info!(object = %object.key(), reason = %verdict.reason, message = verdict.message, "status");
        }
        self.publish(&before, &verdict, change).await;
        Ok(())
    }

    fn after(&self, before: &Report, verdict: &Verdict, pending: Option<Vec<PendingCall>>) -> Report {
        let (object, generation) = (self.object, self.object.generation());
        let asked = object.annotations().get(RECONCILE_AT).filter(|_| self.report_context.compared);
        Report {
            observed_generation: generation,
            conditions: conditions::conditions(&before.conditions, verdict, generation, Timestamp::now()),
            provider: self.report_context.vendor.or(before.provider),
            mode: self.report_context.mode.or(before.mode),
            pending,
            last_handled_reconcile_at: asked.cloned().or(before.last_handled_reconcile_at.clone()),
        }
    }

    /// One event for what was done, and one Warning when the object stops being ready or stops for another reason.
    async fn publish(&self, before: &Report, verdict: &Verdict, change: Option<Change>) {
        let (cluster, object) = (&self.context.cluster, &**self.object);
        if let Some(change) = change {
            publish(cluster, object, EventType::Normal, &change.to_string(), &verdict.message).await;
        }
        let was = conditions::find(&before.conditions, ConditionType::Ready).map(|ready| &*ready.reason);
        if !verdict.reason.is_ready() && was != Some(verdict.reason.label()) {
            publish(cluster, object, EventType::Warning, verdict.reason.label(), &verdict.message).await;
        }
    }

    /// While an object is paused, Ready and observedGeneration stay as they were.
    async fn paused(&self, by: &str) -> Result<Action, kube::Error> {
        let object = self.object;
        let before = object.status().map(|status| status.report.clone()).unwrap_or_default();
        let message = format!("paused by {by}");
        let after = Report {
            conditions: conditions::paused(&before.conditions, &message, object.generation(), Timestamp::now()),
            provider: self.report_context.vendor.or(before.provider),
            mode: Some(Mode::Paused),
            ..before.clone()
        };
        if after != before {
            write_report(&self.context.cluster, &**object, &after).await?;
            info!(object = %object.key(), "{message}");
        }
        Ok(self.nothing(Action::await_change()))
    }
}
