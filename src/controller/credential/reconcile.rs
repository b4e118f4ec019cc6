//! The reconcile of a ProviderCredential: resolve → validate → connect → sweep → report.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::{connect, release, resync, status};
use crate::api::ProviderCredential;
use crate::api::conditions::{ConditionType, find};
use crate::api::names::{OWNER_CLUSTER, RECONCILE_AT};
use crate::api::user::Mode;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::breaker;
use crate::controller::connection::link::{Connection, Link};
use crate::controller::context::Context;
use crate::plan::AccountKind;

/// Checks one credential, renews its connection and the inventory of its vendor, and enqueues its objects when something that concerns
/// them changed.
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
    // A comparison that a person asks for during the sweep is not answered by that sweep.
    let asked = credential.annotations().get(RECONCILE_AT).cloned();
    let has_news = match &link {
        Link::Up(connection) => compare(context, connection, credential.is_forced()).await,
        Link::Down(_) => false,
    };
    let credential = context.cluster.credentials.latest(credential);
    let action = status::report(context, &credential, &link, asked).await?;
    let became_ready = !is_ready(&credential) && is_ready(&context.cluster.credentials.latest(credential.clone()));
    if is_other || was_paused || became_ready || has_news {
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

/// Sweeps if that is due, and returns whether the objects have to be reconciled. Where the vendor lists no users, they are reconciled once
/// in each interval.
async fn compare(context: &Context, connection: &Connection, forced: bool) -> bool {
    let may_probe = breaker::allow_probe(connection, &connection.spec, forced);
    let swept = resync::sweep(context, connection, forced).await;
    let is_read_singly = !connection.provider.capabilities().lists(AccountKind::User);
    let are_due =
        is_read_singly && connection.inventory().are_reads_due(connection.spec.resync_interval(), Timestamp::now());
    may_probe || swept || are_due || (is_read_singly && forced)
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
