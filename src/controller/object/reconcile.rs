//! The one way of a user or group through the controller.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::future::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;

use super::account::renew_account;
use super::finalizer::ensure_finalizer;
use super::report::{self, ReportContext};
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::names::RECONCILE_AT;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::backoff::Action;
use crate::controller::cluster::lenient;
use crate::controller::cluster::lifecycle::{Lifecycle, Live};
use crate::controller::context::Context;
use crate::controller::deletion::{finalize, pending};
use crate::controller::hints::{PANICKED, orphan_command};
use crate::controller::outcome::{Outcome, Stop};
use crate::controller::ownership::cluster::ensure_owned;
use crate::controller::ownership::wake;
use crate::controller::resolve::resolved::Resolve;
use crate::controller::resolve::{connect, mode};

/// Brings one object and its account together, and reports how that went. A panic is reported and passed on.
///
/// Errors: Kubernetes did not answer.
pub async fn reconcile<K: Resolve>(object: Arc<K>, context: &Context) -> Result<Action, kube::Error> {
    let object = K::cache(&context.cluster).latest(object);
    let mut report_context = ReportContext::default();
    let asked = object.annotations().get(RECONCILE_AT).cloned();
    let work = AssertUnwindSafe(attempt(context, object.clone(), &mut report_context)).catch_unwind().await;
    let object = K::cache(&context.cluster).latest(object);
    // A comparison that a person asked for meanwhile is not made yet.
    report_context.compared &= object.annotations().get(RECONCILE_AT) == asked.as_ref();
    let result = match work {
        Ok(result) => result,
        Err(panic) => {
            report::report(context, &object, report_context, Err(panicked(&*object))).await?;
            resume_unwind(panic)
        }
    };
    let was_stalled = object.is_stalled();
    let action = report::report(context, &object, report_context, result).await?;
    let object = K::cache(&context.cluster).latest(object);
    if object.is_stalled() && !was_stalled && !object.has_account() {
        // Other objects may have waited because this one asked first.
        wake::enqueue_waiting(context, &*object);
    }
    Ok(action)
}

/// The outcome of a reconcile that panicked. It stays the same until the caller's back-off ends.
fn panicked<K: Resolve>(object: &K) -> Stop {
    let reason = if object.is_deleting() { Reason::DeletionBlocked } else { Reason::Unsupported };
    let way_out = format!("{PANICKED}; or give the account up: {}", orphan_command(&object.key()));
    let message = if object.is_deleting() { &way_out } else { PANICKED };
    Stop::Until(Verdict::new(reason, message), Timestamp::now())
}

/// The reconcile of an object without its report.
///
/// Errors: why vendor and spec do not agree.
pub async fn attempt<K: Resolve>(
    context: &Context,
    object: Arc<K>,
    report_context: &mut ReportContext,
) -> Result<Outcome, Stop> {
    match Lifecycle::of(object) {
        Lifecycle::Deleting(object) if context.is_preview() => pending::pending(context, &object).await,
        Lifecycle::Deleting(object) => finalize::finalize(context, &object).await,
        Lifecycle::Live(object) => converge(context, object, report_context).await,
    }
}

async fn converge<K: Resolve>(
    context: &Context,
    object: Live<K>,
    report_context: &mut ReportContext,
) -> Result<Outcome, Stop> {
    // resolve (client required)
    let object = ensure_finalizer(context, object).await?;
    lenient::readable(&**object)?;
    mode::not_paused(context, &**object)?;
    ensure_owned(context, &**object)?;
    let connection = connect::connection(context, &**object)?;
    let object = renew_account(context, object, &connection).await?;
    report_context.vendor = Some(connection.vendor);
    report_context.mode = Some(mode::mode(context, &connection, &**object));
    let resolved = K::resolve(context, object, connection).await?;

    // validate (no client required)
    let mut validated = resolved.validate(context)?;
    let late = validated.take_late();

    // plan and apply (client required)
    let result = Reconciliation::new(context, validated).converge().await;
    report_context.compared = result.as_ref().map_or_else(Stop::is_comparison, |_| true);
    match (result, late) {
        (Ok(Outcome::Done(done)), Some(stop)) => {
            report_context.change = done.change;
            Err(stop)
        }
        (result, _) => result,
    }
}
