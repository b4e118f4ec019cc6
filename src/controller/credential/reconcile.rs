//! The reconcile of a ProviderCredential: resolve → validate → connect → sweep → report.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::{connect, release, resync, status};
use crate::api::ProviderCredential;
use crate::api::conditions::{ConditionType, find};
use crate::api::names::RECONCILE_AT;
use crate::api::user::Mode;
use crate::controller::connection::breaker;
use crate::controller::connection::link::{Connection, Link};
use crate::controller::context::Context;
use crate::plan::AccountKind;

/// Checks one credential, keeps its connection and the inventory of its vendor, and enqueues its objects when there is news for them.
///
/// Errors: Kubernetes did not answer.
pub async fn reconcile(credential: Arc<ProviderCredential>, context: &Context) -> Result<Action, kube::Error> {
    let credential = context.cluster.credentials.latest(credential);
    let key = credential.key();
    if release::is_released(context, &credential).await? {
        return Ok(Action::await_change());
    }
    let credential = context.cluster.credentials.latest(credential);
    let by_operator = || (context.settings.mode == Mode::Paused).then(|| "usher's own --mode Paused".to_owned());
    if let Some(by) = credential.paused_by().or_else(by_operator) {
        context.cluster.enqueue_users_of(&key);
        return status::paused(context, &credential, &by).await;
    }
    let before = context.connections.get(&key);
    let status = credential.status.as_ref();
    let was_paused = status.is_some_and(|status| find(&status.conditions, ConditionType::Paused).is_some());
    let link = connect::link(&credential, context, before.clone()).await?;
    // The link is set before the listing, which may take long, because edits and removals need no listing.
    context.connections.set(&key, link.clone());
    let is_other = is_other(before.as_ref(), &link);
    if is_other || was_paused {
        context.cluster.enqueue_deleting(&key);
    }
    if status.is_none_or(|status| status.conditions.is_empty()) {
        status::report(context, &credential, &link, None).await?;
    }
    // A comparison that is asked for while the listing goes on is not answered by that listing.
    let asked = credential.annotations().get(RECONCILE_AT).cloned();
    let news = match &link {
        Link::Up(connection) => look(context, connection, credential.is_forced()).await,
        Link::Down(_) => false,
    };
    let credential = context.cluster.credentials.latest(credential);
    let action = status::report(context, &credential, &link, asked).await?;
    let is_mended = !is_well(&credential) && is_well(&context.cluster.credentials.latest(credential.clone()));
    if is_other || was_paused || is_mended || news {
        context.cluster.enqueue_users_of(&key);
    }
    Ok(action)
}

/// Whether the credential is ready.
fn is_well(credential: &ProviderCredential) -> bool {
    let ready = credential.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Ready));
    ready.is_some_and(|ready| ready.status == "True")
}

/// Compares vendor and cluster if that is due, and returns whether there is news for the objects. Where users are never listed, the end
/// of each interval is news.
async fn look(context: &Context, connection: &Connection, forced: bool) -> bool {
    let reopened = breaker::allow_probe(connection, &connection.spec, forced);
    let swept = resync::sweep(context, connection, forced).await;
    let is_blind = !connection.provider.capabilities().lists(AccountKind::User);
    let is_time = is_blind && connection.inventory().is_look_due(connection.spec.resync_interval(), Timestamp::now());
    reopened || swept || is_time || (is_blind && forced)
}

/// Whether the objects have to be reconciled because of the new link.
fn is_other(before: Option<&Link>, now: &Link) -> bool {
    match (before, now) {
        // The credential was only checked after a refusal; the refused object comes back by itself, and later each time.
        (Some(Link::Up(before)), Link::Up(now)) if before.content == now.content => before.generation != now.generation,
        (Some(Link::Down(before)), Link::Down(now)) => before.verdict.reason != now.verdict.reason,
        (_, Link::Up(_) | Link::Down(_)) => true,
    }
}
