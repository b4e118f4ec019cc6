//! The reconcile of a ProviderCredential: resolve → validate → connect → sweep → report.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::future::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;

use super::resync::Due;
use super::{connect, release, resync, status};
use crate::api::conditions::{ConditionType, Verdict, find};
use crate::api::names::{OWNER_CLUSTER, RECONCILE_AT};
use crate::api::user::Mode;
use crate::api::{ProviderCredential, Reason};
use crate::controller::backoff::Action;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::breaker;
use crate::controller::connection::link::{Connection, Down, Link};
use crate::controller::context::Context;
use crate::controller::hints::PANICKED;
use crate::controller::sweeps::SweepState;
use crate::plan::AccountKind;

/// Checks one credential, renews its connection and the inventory of its vendor, and enqueues its objects when something that concerns
/// them changed. A panic is reported and passed on.
///
/// Errors: Kubernetes did not answer.
pub async fn reconcile(credential: Arc<ProviderCredential>, context: &Context) -> Result<Action, kube::Error> {
    match AssertUnwindSafe(check(credential.clone(), context)).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let down = Link::Down(Down::until_changed(Verdict::new(Reason::Unsupported, PANICKED)));
            status::report(context, &context.cluster.credentials.latest(credential), &down, None).await?;
            resume_unwind(panic)
        }
    }
}

async fn check(credential: Arc<ProviderCredential>, context: &Context) -> Result<Action, kube::Error> {
    let credential = context.cluster.credentials.latest(credential);
    let key = credential.key();
    if release::is_released(context, &credential).await? {
        return Ok(Action::await_change());
    }
    let credential = context.cluster.credentials.latest(credential);
    let by_operator = || (context.settings.mode == Mode::Paused).then(|| "usher's own --mode Paused".to_owned());
    if let Some(by) = credential.paused_by().or_else(by_operator) {
        context.sweeps.cancel(&key);
        context.cluster.enqueue_users_of(&key);
        return status::paused(context, &credential, &by).await;
    }
    let before = context.connections.get(&key);
    let status = credential.status.as_ref();
    let was_paused = status.is_some_and(|status| find(&status.conditions, ConditionType::Paused).is_some());
    let link = connect::link(&credential, context, before.clone()).await?;
    context.connections.set(&key, link.clone());
    let is_other = is_other(before.as_ref(), &link);
    if is_other || was_paused {
        context.cluster.enqueue_deleting(&key);
    }
    if status.is_none_or(|status| status.conditions.is_empty()) {
        status::report(context, &credential, &link, None).await?;
    }
    let Comparison { has_news, answered } = compare(context, &credential, &link);
    let credential = context.cluster.credentials.latest(credential);
    let action = status::report(context, &credential, &link, answered).await?;
    let became_ready = !is_ready(&credential) && is_ready(&context.cluster.credentials.latest(credential.clone()));
    let is_news = is_other || was_paused || became_ready || has_news;
    // The objects are reconciled once, with the result of the sweep, because each attempt may cost a call.
    if is_news && !context.sweeps.postpone_news(&key) {
        context.cluster.enqueue_users_of(&key);
    } else if credential.annotations().contains_key(OWNER_CLUSTER) {
        context.cluster.enqueue_owned_elsewhere(&key);
    }
    Ok(action)
}

/// Whether the credential is Ready.
fn is_ready(credential: &ProviderCredential) -> bool {
    let ready = credential.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Ready));
    ready.is_some_and(|ready| ready.status == "True")
}

/// What the comparison with the vendor brought so far.
struct Comparison {
    /// Whether the objects have to be reconciled.
    has_news: bool,
    /// The request of a person that is answered.
    answered: Option<String>,
}

/// Starts a sweep if one is due, and takes the result of the one that has ended. Where the vendor lists no users, they are reconciled once
/// in each interval.
fn compare(context: &Context, credential: &ProviderCredential, link: &Link) -> Comparison {
    let asked = credential.annotations().get(RECONCILE_AT).cloned();
    let Link::Up(connection) = link else {
        context.sweeps.cancel(&credential.key());
        return Comparison { has_news: false, answered: asked };
    };
    let state = context.sweeps.take(&connection.session);
    if state == SweepState::UnderWay {
        return Comparison { has_news: false, answered: None };
    }
    // A comparison that a person asks for during a sweep is not answered by that sweep.
    let is_answered = matches!(&state, SweepState::Ended { asked: answered, .. } if *answered == asked);
    let forced = credential.is_forced() && !is_answered;
    let may_probe = breaker::allow_probe(connection, &connection.spec, forced);
    let (swept, answered) = sweep(context, connection, state, (asked, forced));
    let is_read_singly = !connection.provider.capabilities().lists(AccountKind::User);
    let are_due =
        is_read_singly && connection.inventory().are_reads_due(connection.spec.resync_interval(), Timestamp::now());
    let has_news = may_probe || swept || are_due || (is_read_singly && forced);
    Comparison { has_news, answered }
}

/// Starts a sweep if one is due, after that of `state`. Returns whether there are news, and the request that is answered.
fn sweep(
    context: &Context,
    connection: &Arc<Connection>,
    state: SweepState,
    (asked, forced): (Option<String>, bool),
) -> (bool, Option<String>) {
    let (had_news, answered) = match state {
        SweepState::None | SweepState::UnderWay => (false, None),
        SweepState::Ended { has_news, asked } => (has_news, asked),
    };
    match resync::due(context, connection, forced) {
        Due::Nothing { is_over } => (had_news || is_over, asked),
        Due::Kinds(kinds) => {
            let sweep = resync::run(connection.clone(), kinds, resync::asked(context, connection));
            context.sweeps.start(connection.session.clone(), asked, sweep);
            (had_news, answered)
        }
    }
}

/// Whether the objects have to be reconciled because of the new link.
fn is_other(before: Option<&Link>, now: &Link) -> bool {
    match (before, now) {
        // The credential was checked because of a refusal. The refused object is retried by its own back-off.
        (Some(Link::Up(before)), Link::Up(now)) if before.content == now.content => before.generation != now.generation,
        (Some(Link::Down(before)), Link::Down(now)) => before.verdict.reason != now.verdict.reason,
        (_, Link::Up(_) | Link::Down(_)) => true,
    }
}
