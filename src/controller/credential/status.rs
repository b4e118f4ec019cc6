//! The status of a credential, and when its next reconcile is due.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tracing::info;

use super::{connect, refusal, release, resync};
use crate::api::conditions::{self, Verdict};
use crate::api::user::Mode;
use crate::api::{Kind, ProviderCredential, ProviderCredentialStatus, Reason};
use crate::controller::backoff::{self, Action};
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::object::Object as _;
use crate::controller::cluster::status::write_credential;
use crate::controller::connection::link::Link;
use crate::controller::context::Context;
use crate::controller::deletion::budget;
use crate::plan::AccountKind;
use crate::providers::credible_closing;

/// Writes the status of a credential, and returns when its next reconcile is due. `asked` is the value of the annotation that asked for the
/// comparison which was made.
///
/// Errors: Kubernetes did not answer.
pub async fn report(
    context: &Context,
    credential: &Arc<ProviderCredential>,
    link: &Link,
    asked: Option<String>,
) -> Result<Action, kube::Error> {
    let before = credential.status.clone().unwrap_or_default();
    let verdict = verdict(context, credential, link);
    let credential_key = credential.key();
    let swept = match link {
        Link::Up(connection) => [AccountKind::User, AccountKind::Group]
            .iter()
            .filter_map(|kind| connection.inventory().listed_at(*kind))
            .max(),
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
        provider: credential.vendor(),
        account: match link {
            Link::Up(connection) => Some(connection.account.clone()),
            Link::Down(_) => before.account.clone(),
        },
        users,
        groups,
        last_sweep_time: swept.or(before.last_sweep_time),
        rate_limited_until: rate_limited_until(context, credential),
        held_removals: budget::held_removals(context, credential).await,
        recent_removals: before.recent_removals.clone(),
        last_handled_reconcile_at: asked.or(before.last_handled_reconcile_at.clone()),
    };
    context.metrics.object_state(&credential_key, Some(verdict.reason));
    if let Some(vendor) = credential.vendor() {
        context.metrics.credential_ready(vendor, &credential_key, Some(verdict.reason.is_ready()));
    }
    if after != before {
        write_credential(&context.cluster, credential, &after).await?;
        info!(credential = %credential_key, reason = %verdict.reason, message = verdict.message, "status");
    }
    let is_lifted = before.held_removals.is_some() && after.held_removals.is_none();
    if is_lifted | budget::is_freshly_released(context, credential).await {
        context.cluster.enqueue_deleting(&credential_key);
    }
    Ok(next(context, credential, link))
}

/// The time that the vendor named, to this process or an earlier one, before which it wants no call.
fn rate_limited_until(context: &Context, credential: &ProviderCredential) -> Option<Timestamp> {
    let stored = credential.status.as_ref().and_then(|status| status.rate_limited_until);
    context.connections.rate_limited_until(&credential.key()).max(credible_closing(stored))
}

/// The numbers of users and groups that use a credential. They are counted again after each sweep and each edit of the credential.
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
    let using = IndexKey::Credential(credential.key());
    (u32::try_from(context.cluster.users.count(&using)).ok(), u32::try_from(context.cluster.groups.count(&using)).ok())
}

/// The verdict on a credential.
pub fn verdict(context: &Context, credential: &ProviderCredential, link: &Link) -> Verdict {
    if credential.metadata.deletion_timestamp.is_some() {
        let bound = release::bound(context, credential);
        let objects = if bound == 1 { "1 object is".to_owned() } else { format!("{bound} objects are") };
        let message = format!(
            "{objects} bound through it; delete them first, or release them all: kubectl -n {} patch {} {} --type merge -p '{{\"spec\":{{\"deletionPolicy\":\"Orphan\"}}}}'",
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
    if context.cluster.secret(&namespace, &credential.spec.secret_ref.name).is_none() {
        let name = &credential.spec.secret_ref.name;
        let message = format!(
            "spec.secretRef: Secret {namespace}/{name} is not there; usher works on until its session expires; create the Secret to keep it connected"
        );
        return Verdict::new(Reason::WaitingForSecret, message);
    }
    if let Some(last_failure) = connection.last_failure() {
        return refusal::verdict(&last_failure.error);
    }
    let capabilities = connection.provider.capabilities();
    if capabilities.checkable {
        let unlisted = if capabilities.lists(AccountKind::User) {
            ""
        } else {
            "; this server lists no users, so usher cannot find an existing one: its create is refused, and it is not adopted"
        };
        return Verdict::new(Reason::Synced, format!("logged in as {}{unlisted}", connection.account));
    }
    let vendor = connection.vendor.title();
    Verdict::new(
        Reason::Unverified,
        format!("{vendor} offers no way to check a token; the first create of a user shows whether it is accepted"),
    )
}

/// When the next reconcile of a credential is due: at the next sweep, after a failure sooner.
fn next(context: &Context, credential: &ProviderCredential, link: &Link) -> Action {
    let connection = match link {
        Link::Down(down) => return connect::retry_action(down),
        Link::Up(connection) => connection,
    };
    if context.sweeps.is_under_way(&credential.key()) {
        return Action::requeue(backoff::LOST_WAKE_UP);
    }
    if let Some(last_failure) = connection.last_failure() {
        return backoff::at(last_failure.until);
    }
    let inventory = connection.inventory();
    let used = [AccountKind::User, AccountKind::Group]
        .into_iter()
        .filter(|account_kind| resync::is_used(context, connection, *account_kind));
    let oldest = used.filter_map(|account_kind| inventory.asked_at(account_kind)).min();
    let now = Timestamp::now();
    let age = now.duration_since(oldest.unwrap_or(now));
    let wait = Duration::try_from(credential.spec.resync_interval().saturating_sub(age)).unwrap_or_default();
    Action::requeue(wait.max(Duration::from_secs(1)))
}

/// Writes the status of a credential that is paused by `by`. Ready and observedGeneration stay as they were, because no vendor is called.
///
/// Errors: Kubernetes did not answer.
pub async fn paused(context: &Context, credential: &Arc<ProviderCredential>, by: &str) -> Result<Action, kube::Error> {
    let before = credential.status.clone().unwrap_or_default();
    let generation = credential.metadata.generation.unwrap_or_default();
    let after = ProviderCredentialStatus {
        conditions: conditions::paused(&before.conditions, &format!("paused by {by}"), generation, Timestamp::now()),
        mode: Some(Mode::Paused),
        provider: credential.vendor(),
        rate_limited_until: rate_limited_until(context, credential),
        ..before.clone()
    };
    if after != before {
        write_credential(&context.cluster, credential, &after).await?;
    }
    Ok(Action::await_change())
}
