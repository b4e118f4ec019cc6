//! The brake on removals: one slip must not cost many accounts. Removals wait for a possible heir, and too many at a time are
//! held until a person lets them go.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::sync::Mutex;

use super::context::Context;
use super::managed::Managed;
use super::outcome::Stop;
use super::record::Shelved;
use super::{credential, credential_report, password, removal};
use crate::api::credential::{HeldRemovals, RecentRemovals};
use crate::api::names::RELEASE_REMOVALS;
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason};
use crate::plan::Removal;

/// How long a removal waits for an heir unless the credential says otherwise.
const AFTER: SignedDuration = SignedDuration::from_secs(10);
/// How many removals go through within [`PER`] unless the credential says otherwise.
const AT_MOST: u32 = 50;
/// The time over which removals are counted unless the credential says otherwise.
const PER: SignedDuration = SignedDuration::from_hours(1);

/// One removal is counted at a time.
#[derive(Default)]
pub struct Brake(Mutex<()>);

/// The bounds of one credential.
struct Bounds {
    after: SignedDuration,
    at_most: u32,
    per: SignedDuration,
}

impl Bounds {
    fn of(credential: &ProviderCredential) -> Self {
        let removals = credential.spec.removals.clone().unwrap_or_default();
        let duration = |text: Option<String>| text.and_then(|text| text.parse().ok());
        Self {
            after: duration(removals.after).unwrap_or(AFTER),
            at_most: removals.at_most.unwrap_or(AT_MOST),
            per: duration(removals.per).unwrap_or(PER),
        }
    }
}

/// Waits until another object can no longer be expected to take the account over.
///
/// Errors: not yet.
pub fn wait_for_heirs<K: Shelved>(credential: &ProviderCredential, object: &K) -> Result<(), Stop> {
    let after = Bounds::of(credential).after;
    let Some(going) = object.meta().deletion_timestamp.as_ref() else { return Ok(()) };
    let due = going.0 + after;
    if due <= Timestamp::now() {
        return Ok(());
    }
    let message = format!("the account is taken away at {due:.0}, unless another object takes it over before");
    Err(Stop::Until(crate::api::conditions::Verdict::new(Reason::Deleting, message), due))
}

/// Lets the removal of `object` through, and counts it durably before it is made.
///
/// Errors: too many removals within the time; Kubernetes failed us.
pub async fn admit<K: Shelved>(context: &Context, credential: &ProviderCredential, object: &K) -> Result<(), Stop> {
    let uid = object.uid().unwrap_or_default();
    let _turn = context.brake.0.lock().await;
    let credential = context.credentials.newest(Arc::new(credential.clone()));
    let bounds = Bounds::of(&credential);
    let recent = recent(&credential, &bounds);
    if recent.under_way.contains(&uid) || is_released(&credential, object) {
        return Ok(());
    }
    let mut waiting = waiting(context, &credential, &recent, Some(&uid));
    waiting.extend(object.meta().deletion_timestamp.as_ref().map(|time| time.0));
    let total = recent.count as usize + waiting.len();
    if total > bounds.at_most as usize {
        context.wake(credential::key(&credential));
        return Err(held(&credential, object, &bounds, total, &waiting));
    }
    let mut under_way = still_there(context, &recent.under_way);
    under_way.push(uid);
    let recent = RecentRemovals { count: recent.count + 1, under_way, ..recent };
    credential_report::count_removal(context, &credential, &recent).await?;
    Ok(())
}

/// Those of `uids` whose objects are not gone.
fn still_there(context: &Context, uids: &[String]) -> Vec<String> {
    let users = context.users.all(|user| user.uid().is_some_and(|uid| uids.contains(&uid)));
    let groups = context.groups.all(|group| group.uid().is_some_and(|uid| uids.contains(&uid)));
    users.iter().filter_map(|user| user.uid()).chain(groups.iter().filter_map(|group| group.uid())).collect()
}

/// What the brake holds of a credential, for its status.
pub async fn held_of(context: &Context, credential: &ProviderCredential) -> Option<HeldRemovals> {
    let _turn = context.brake.0.lock().await;
    let credential = &*context.credentials.newest(Arc::new(credential.clone()));
    let bounds = Bounds::of(credential);
    let recent = recent(credential, &bounds);
    let waiting = waiting(context, credential, &recent, None);
    let total = recent.count as usize + waiting.len();
    (total > bounds.at_most as usize && !waiting.is_empty()).then(|| HeldRemovals {
        count: u32::try_from(waiting.len()).unwrap_or(u32::MAX),
        release: token(credential, &waiting),
    })
}

fn held<K: Shelved>(
    credential: &ProviderCredential,
    object: &K,
    bounds: &Bounds,
    total: usize,
    waiting: &[Timestamp],
) -> Stop {
    let ObjectKey { namespace, name, .. } = credential::key(credential);
    let message = format!(
        "{total} removals within {:#} are more than spec.removals.atMost ({}) of the credential {name}. To let this batch go: kubectl -n {namespace} annotate {} {name} {RELEASE_REMOVALS}={} --overwrite; to keep this account: {}",
        bounds.per,
        bounds.at_most,
        Kind::Credential.short(),
        token(credential, waiting),
        removal::orphan_command(&object.key()),
    );
    let verdict = crate::api::conditions::Verdict::new(Reason::RemovalHeld, message);
    Stop::Until(verdict, recent(credential, bounds).since + bounds.per)
}

/// The removals counted within the time, from status; a new count when that is over.
fn recent(credential: &ProviderCredential, bounds: &Bounds) -> RecentRemovals {
    let now = Timestamp::now();
    let counted = credential.status.as_ref().and_then(|status| status.recent_removals.clone());
    counted.filter(|recent| recent.since + bounds.per > now).unwrap_or(RecentRemovals {
        since: now,
        count: 0,
        under_way: Vec::new(),
    })
}

/// When those objects of a credential were deleted whose accounts are yet to be taken away, but for `own`.
fn waiting(
    context: &Context,
    credential: &ProviderCredential,
    counted: &RecentRemovals,
    own: Option<&str>,
) -> Vec<Timestamp> {
    let users =
        context.users.all(|user| user.metadata.uid.as_deref() != own && waits(context, credential, counted, user));
    let groups =
        context.groups.all(|group| group.metadata.uid.as_deref() != own && waits(context, credential, counted, group));
    let users = users.iter().filter_map(|user: &Arc<PlatformUser>| user.metadata.deletion_timestamp.as_ref());
    let groups = groups.iter().filter_map(|group: &Arc<PlatformGroup>| group.metadata.deletion_timestamp.as_ref());
    users.chain(groups).map(|time| time.0).collect()
}

fn waits<K: Shelved>(context: &Context, credential: &ProviderCredential, counted: &RecentRemovals, object: &K) -> bool {
    object.is_going()
        && object.is_held()
        && object.credential_key() == credential::key(credential)
        && !object.uid().is_some_and(|uid| counted.under_way.contains(&uid))
        && !is_released(credential, object)
        && removal::has_account(object)
        && !matches!(removal::decide(context, object), Ok(Removal::Orphan { .. }))
}

/// The token that releases all objects deleted until now: the time of the last deletion, and a digest that shows it came from us.
fn token(credential: &ProviderCredential, waiting: &[Timestamp]) -> String {
    let last = waiting.iter().max().copied().unwrap_or_default().as_second();
    format!("{last}-{}", seal(credential, last))
}

fn seal(credential: &ProviderCredential, second: i64) -> String {
    let text = format!("{}/{second}", credential.uid().unwrap_or_default());
    password::hex(&digest(&SHA256, text.as_bytes()).as_ref()[..4])
}

/// Whether the annotation names the batch that `object` belongs to, or a later one.
fn is_released<K: Managed>(credential: &ProviderCredential, object: &K) -> bool {
    let given = credential.annotations().get(RELEASE_REMOVALS).and_then(|token| token.split_once('-'));
    let Some((second, sealed)) = given else { return false };
    let Ok(second) = second.parse::<i64>() else { return false };
    let going = object.meta().deletion_timestamp.as_ref().map(|time| time.0.as_second());
    sealed == seal(credential, second) && going.is_some_and(|going| going <= second)
}
