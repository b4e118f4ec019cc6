//! What a credential's status says, and when a deleted credential may go; the credential's side of report.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;
use tracing::{info, warn};

use super::reconcile::{key, releases_all, resync, retry_action};
use super::{resync as sweep, secret_finalizer as secret};
use crate::api::conditions::{self, Verdict};
use crate::api::credential::RecentRemovals;
use crate::api::names::{API_VERSION, FINALIZER, MANAGER, MANAGER_REMOVALS};
use crate::api::user::Mode;
use crate::api::{Kind, ProviderCredential, ProviderCredentialStatus, Reason};
use crate::controller::backoff as requeue;
use crate::controller::cluster::cache::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Link;
use crate::controller::connection::retry;
use crate::controller::context::Context;
use crate::controller::deletion::budget as removal_budget;
use crate::controller::resolve::access;
use crate::plan::AccountKind;
use crate::providers::to_come;

/// Says how a credential is, and when to look again; `asked` is the comparison that was asked for and made.
///
/// Errors: Kubernetes failed us.
pub async fn report(
    context: &Context,
    credential: &Arc<ProviderCredential>,
    link: &Link,
    asked: Option<String>,
) -> Result<Action, kube::Error> {
    let before = credential.status.clone().unwrap_or_default();
    let verdict = verdict(context, credential, link);
    let credential_key = key(credential);
    let swept = match link {
        Link::Up(connection) => {
            [AccountKind::User, AccountKind::Group].iter().filter_map(|s| connection.index().begun(*s)).max()
        }
        Link::Down(_) => None,
    };
    let (users, groups) = counts(context, credential, &before, swept);
    let after = ProviderCredentialStatus {
        observed_generation: credential.metadata.generation.unwrap_or_default(),
        conditions: conditions::conditions(
            &before.conditions,
            &verdict,
            credential.metadata.generation.unwrap_or_default(),
            Timestamp::now(),
        ),
        mode: Some(context.settings.mode.max(credential.spec.mode.unwrap_or_default())),
        provider: Some(credential.spec.provider.vendor()),
        account: match link {
            Link::Up(connection) => Some(connection.account.clone()),
            Link::Down(_) => before.account.clone(),
        },
        users,
        groups,
        last_sweep_time: swept.or(before.last_sweep_time),
        rate_limited_until: rate_limited_until(context, credential),
        held_removals: removal_budget::held_of(context, credential).await,
        recent_removals: before.recent_removals.clone(),
        last_handled_reconcile_at: asked.or(before.last_handled_reconcile_at.clone()),
    };
    context.metrics.object_state(&credential_key, Some(verdict.reason));
    context.metrics.credential_ready(
        credential.spec.provider.vendor(),
        &credential_key,
        Some(verdict.reason.is_ready()),
    );
    if after != before {
        write(context, credential, &after).await?;
        info!(credential = %credential_key, reason = %verdict.reason, message = verdict.message, "status");
    }
    let is_lifted = before.held_removals.is_some() && after.held_removals.is_none();
    if is_lifted | removal_budget::is_freshly_released(context, credential).await {
        context.enqueue_deleting(&credential_key);
    }
    Ok(next(context, credential, link))
}

/// The time to come that the vendor named, to this process or to one before it.
fn rate_limited_until(context: &Context, credential: &ProviderCredential) -> Option<Timestamp> {
    let stored = credential.status.as_ref().and_then(|status| status.rate_limited_until);
    context.connections.rate_limited_until(&key(credential)).max(to_come(stored))
}

/// How many objects use a credential; counted anew at most once a sweep.
fn counts(
    context: &Context,
    credential: &ProviderCredential,
    before: &ProviderCredentialStatus,
    swept: Option<Timestamp>,
) -> (Option<u32>, Option<u32>) {
    let same_spec = before.observed_generation == credential.metadata.generation.unwrap_or_default();
    if same_spec && swept.is_some() && swept == before.last_sweep_time {
        return (before.users, before.groups);
    }
    let using = IndexKey::Credential(key(credential));
    (u32::try_from(context.users.count(&using)).ok(), u32::try_from(context.groups.count(&using)).ok())
}

/// What is to be said of a credential.
pub fn verdict(context: &Context, credential: &ProviderCredential, link: &Link) -> Verdict {
    if credential.metadata.deletion_timestamp.is_some() {
        let bound = bound(context, credential);
        let message = format!(
            "{bound} objects are bound through it; delete them first, or release them all: kubectl -n {} patch {} {} --type merge -p '{{\"spec\":{{\"deletionPolicy\":\"Orphan\"}}}}'",
            credential.namespace().unwrap_or_default(),
            Kind::Credential.short(),
            credential.name_any()
        );
        return Verdict::new(Reason::DeletionBlocked, message);
    }
    let connection = match link {
        Link::Down(down) => return down.verdict.clone(),
        Link::Up(connection) => connection,
    };
    let namespace = credential.namespace().unwrap_or_default();
    if context.secret(&namespace, &credential.spec.secret_ref.name).is_none() {
        let name = &credential.spec.secret_ref.name;
        let message = format!(
            "spec.secretRef: Secret {namespace}/{name} is not there; the session goes on until it ends, create the Secret to keep it"
        );
        return Verdict::new(Reason::WaitingForSecret, message);
    }
    if let Some(last_failure) = connection.last_failure() {
        return retry::verdict(&last_failure.error);
    }
    let capabilities = connection.provider.capabilities();
    if capabilities.checkable {
        let unlisted = if capabilities.lists(AccountKind::User) {
            ""
        } else {
            "; this server lists no users, so usher cannot see which are there: one that exists is refused when it is made, and not adopted"
        };
        return Verdict::new(Reason::Synced, format!("logged in as {}{unlisted}", connection.account));
    }
    let vendor = connection.vendor.title();
    Verdict::new(Reason::Unverified, format!("{vendor} offers no way to check a token; the first user made will tell"))
}

/// When a credential is looked at again: at the next sweep, after a failure sooner.
fn next(context: &Context, credential: &ProviderCredential, link: &Link) -> Action {
    let connection = match link {
        Link::Down(down) => return retry_action(down),
        Link::Up(connection) => connection,
    };
    if let Some(last_failure) = connection.last_failure() {
        return requeue::at(last_failure.until);
    }
    let index = connection.index();
    let used = [AccountKind::User, AccountKind::Group]
        .into_iter()
        .filter(|account_kind| sweep::is_used(context, connection, *account_kind));
    let oldest = used.filter_map(|account_kind| index.asked_at(account_kind)).min();
    let due = oldest.unwrap_or_else(Timestamp::now) + resync(&credential.spec);
    let wait = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
    Action::requeue(wait.max(Duration::from_secs(1)))
}

/// While paused, Ready and observedGeneration stay as they were, and nothing is called.
pub async fn paused(context: &Context, credential: &Arc<ProviderCredential>, by: &str) -> Result<Action, kube::Error> {
    let before = credential.status.clone().unwrap_or_default();
    let generation = credential.metadata.generation.unwrap_or_default();
    let after = ProviderCredentialStatus {
        conditions: conditions::paused(&before.conditions, &format!("paused by {by}"), generation, Timestamp::now()),
        mode: Some(Mode::Paused),
        provider: Some(credential.spec.provider.vendor()),
        rate_limited_until: rate_limited_until(context, credential),
        ..before.clone()
    };
    if after != before {
        write(context, credential, &after).await?;
    }
    Ok(Action::await_change())
}

/// Holds a live credential and its Secret with our finalizers; lets a deleted one go once nothing is bound through it. Whether
/// it went.
///
/// Errors: Kubernetes failed us.
pub async fn is_released(context: &Context, credential: &Arc<ProviderCredential>) -> Result<bool, kube::Error> {
    let held = credential.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if credential.metadata.deletion_timestamp.is_none() {
        if !held {
            let mut finalizers = credential.finalizers().to_vec();
            finalizers.push(FINALIZER.into());
            if !set_finalizers(context, credential, &finalizers).await? {
                return Ok(true);
            }
        }
        secret::keep(context, credential).await?;
        return Ok(false);
    }
    let needed = held && bound(context, credential) > 0;
    if needed && !context.is_uninstalled::<ProviderCredential>().await? {
        let seen = credential.status.as_ref().map(|status| status.observed_generation);
        if releases_all(credential) && seen != credential.metadata.generation {
            // Each gives itself up, so that its own deletion later needs no credential.
            context.enqueue_users_of(&key(credential));
        }
        // Taking away is not to wait for it.
        if let Err(error) = secret::keep(context, credential).await {
            warn!(credential = %key(credential), "its Secret could not be held, and is not safe while accounts are taken away: {error}");
        }
        return Ok(false);
    }
    secret::release(context, credential).await?;
    if held {
        let others: Vec<String> = credential.finalizers().iter().filter(|other| *other != FINALIZER).cloned().collect();
        set_finalizers(context, credential, &others).await?;
    }
    forget(context, credential);
    Ok(true)
}

fn forget(context: &Context, credential: &ProviderCredential) {
    let key = key(credential);
    context.connections.forget(&key);
    context.backoff.reset(&key);
    context.metrics.object_state(&key, None);
    context.metrics.credential_ready(credential.spec.provider.vendor(), &key, None);
    info!(credential = %key, "released");
}

/// How many objects that may use a credential are bound, or being created, through it.
pub fn bound(context: &Context, credential: &ProviderCredential) -> usize {
    let key = key(credential);
    let serves =
        |namespace: Option<String>| access::may_use(context, &key, &credential.spec, &namespace.unwrap_or_default());
    let using = [IndexKey::Credential(key.clone())];
    let users = context.users.by_index(&using, |user| user.has_finalizer() && serves(user.namespace()));
    let groups = context.groups.by_index(&using, |group| group.has_finalizer() && serves(group.namespace()));
    users.len() + groups.len()
}

/// Whether the credential was still there.
async fn set_finalizers(
    context: &Context,
    credential: &ProviderCredential,
    finalizers: &[String],
) -> Result<bool, kube::Error> {
    let metadata =
        json!({"finalizers": finalizers, "resourceVersion": credential.resource_version(), "uid": credential.uid()});
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let api = context.api::<ProviderCredential>(&credential.namespace().unwrap_or_default());
    let written = api.patch(&credential.name_any(), &params, &Patch::Merge(json!({"metadata": metadata}))).await;
    match written {
        Ok(written) => {
            context.credentials.assume(written);
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

async fn write(
    context: &Context,
    credential: &ProviderCredential,
    status: &ProviderCredentialStatus,
) -> Result<(), kube::Error> {
    // Another manager's, and left alone by ours.
    let status = ProviderCredentialStatus { recent_removals: None, ..status.clone() };
    apply_status(context, credential, MANAGER, json!(status), None).await
}

/// Counts one more removal, before it is made, and only if nobody wrote the credential since we read it.
///
/// Errors: Kubernetes failed us, or a conflict; then nothing may be removed.
pub async fn count_removal(
    context: &Context,
    credential: &ProviderCredential,
    recent: &[RecentRemovals],
) -> Result<(), kube::Error> {
    let status = json!({"recentRemovals": recent});
    apply_status(context, credential, MANAGER_REMOVALS, status, credential.resource_version()).await
}

async fn apply_status(
    context: &Context,
    credential: &ProviderCredential,
    manager: &str,
    status: serde_json::Value,
    read_at: Option<String>,
) -> Result<(), kube::Error> {
    let mut metadata = json!({"name": credential.name_any(), "uid": credential.uid()});
    if let Some(version) = read_at {
        metadata["resourceVersion"] = json!(version);
    }
    let kind = Kind::Credential.to_string();
    let patch = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "status": status});
    let api = context.api::<ProviderCredential>(&credential.namespace().unwrap_or_default());
    let written =
        api.patch_status(&credential.name_any(), &PatchParams::apply(manager).force(), &Patch::Apply(patch)).await?;
    context.credentials.assume(written);
    Ok(())
}
