//! The brake on removals: one slip must not cost many accounts. Removals wait for a possible heir, and too many at a time are
//! held until a person lets them go.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::sync::Mutex;

use super::finalize as removal;
use crate::api::conditions::Verdict;
use crate::api::credential::{HeldRemovals, RecentRemovals};
use crate::api::names::RELEASE_REMOVALS;
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason};
use crate::controller::cluster::cache::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::status::Cached;
use crate::controller::context::Context;
use crate::controller::credential::{reconcile as credential, status as credential_report};
use crate::controller::outcome::Stop;
use crate::controller::resolve::password;
use crate::plan::Removal;

/// How long a removal waits for an heir unless the credential says otherwise.
const AFTER: SignedDuration = SignedDuration::from_secs(10);
/// How many removals go through within [`PER`] unless the credential says otherwise.
const AT_MOST: u32 = 50;
/// The time over which removals are counted unless the credential says otherwise.
const PER: SignedDuration = SignedDuration::from_hours(1);
/// Removals are counted in so many parts of the time, so that the count slides with it and stays small.
const BUCKETS: i32 = 60;
/// How long a batch that was counted and held is not counted again: with thousands of objects in it, each would count all.
const HELD: Duration = Duration::from_secs(1);

/// What is known of each credential's removals.
#[derive(Default)]
pub struct RemovalBudgets(std::sync::Mutex<HashMap<ObjectKey, Arc<Mutex<Memory>>>>);

/// What is known of one credential's removals.
#[derive(Default)]
struct Memory {
    /// Uids of objects that are gone and need not be remembered in status any more.
    gone: HashSet<String>,
    /// The batch that was held a moment ago.
    held: Option<(Instant, Batch)>,
    /// The release that was acted on last.
    released: Option<String>,
}

/// Objects whose accounts are yet to be taken away.
#[derive(Clone, Copy)]
struct Batch {
    count: usize,
    /// When the last of them was deleted.
    last: Timestamp,
}

impl Batch {
    /// With one more object, deleted at `at`.
    fn with(self, at: Timestamp) -> Self {
        Self { count: self.count + 1, last: self.last.max(at) }
    }
}

impl RemovalBudgets {
    fn of(&self, credential: &ObjectKey) -> Arc<Mutex<Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(credential.clone()).or_default().clone()
    }
}

/// The bounds of one credential.
struct Bounds {
    after: SignedDuration,
    at_most: usize,
    per: SignedDuration,
}

impl Bounds {
    fn of(credential: &ProviderCredential) -> Self {
        let removals = credential.spec.removals.clone().unwrap_or_default();
        let duration = |text: Option<String>| text.and_then(|text| text.parse().ok());
        Self {
            after: duration(removals.after).unwrap_or(AFTER),
            at_most: removals.at_most.unwrap_or(AT_MOST) as usize,
            per: duration(removals.per).unwrap_or(PER),
        }
    }

    /// When a part that began at `since` counts no more.
    fn end(&self, since: Timestamp) -> Timestamp {
        since + self.per / BUCKETS + self.per
    }

    /// The removals that count at `now`, from status.
    fn recent(&self, credential: &ProviderCredential, now: Timestamp) -> Vec<RecentRemovals> {
        let counted = credential.status.iter().flat_map(|status| status.recent_removals.iter().flatten());
        counted.filter(|recent| self.end(recent.since) > now).cloned().collect()
    }

    /// `recent` with the removal of the object `uid` more, made at `now`.
    fn counting(&self, mut recent: Vec<RecentRemovals>, uid: String, now: Timestamp) -> Vec<RecentRemovals> {
        match recent.last_mut().filter(|last| last.since + self.per / BUCKETS > now) {
            Some(last) => {
                last.count += 1;
                last.under_way.push(uid);
            }
            None => recent.push(RecentRemovals { since: now, count: 1, under_way: vec![uid] }),
        }
        recent
    }
}

/// Waits until another object can no longer be expected to take the account over.
///
/// Errors: not yet.
pub fn wait_for_successor<K: Cached>(credential: &ProviderCredential, object: &K) -> Result<(), Stop> {
    let after = Bounds::of(credential).after;
    let Some(going) = object.meta().deletion_timestamp.as_ref() else { return Ok(()) };
    let due = going.0 + after;
    if due <= Timestamp::now() {
        return Ok(());
    }
    let message = format!("the account is taken away at {due:.0}, unless another object takes it over before");
    Err(Stop::Until(Verdict::new(Reason::Deleting, message), due))
}

/// Lets the removal of `object` through, and counts it durably before it is made.
///
/// Errors: too many removals within the time; Kubernetes failed us.
pub async fn admit<K: Cached>(context: &Context, credential: &ProviderCredential, object: &K) -> Result<(), Stop> {
    let uid = object.uid().unwrap_or_default();
    let memory = context.removal_budget.of(&credential::key(credential));
    let mut memory = memory.lock().await;
    let credential = context.credentials.latest(Arc::new(credential.clone()));
    let bounds = Bounds::of(&credential);
    let mut recent = bounds.recent(&credential, Timestamp::now());
    if is_counted(&recent, &uid) || is_released(&credential, object) {
        return Ok(());
    }
    let own = object.meta().deletion_timestamp.as_ref().map_or_else(Timestamp::now, |time| time.0);
    if let Some((_, batch)) = memory.held.filter(|(at, _)| at.elapsed() < HELD) {
        return Err(held(&credential, object, &bounds, &recent, batch.with(own)));
    }
    let batch = waiting(context, &credential, &recent, Some(&uid)).with(own);
    if total(&recent) + batch.count > bounds.at_most {
        memory.held = Some((Instant::now(), batch));
        context.enqueue(credential::key(&credential));
        return Err(held(&credential, object, &bounds, &recent, batch));
    }
    recent.iter_mut().for_each(|part| part.under_way.retain(|uid| !memory.gone.contains(uid)));
    credential_report::count_removal(context, &credential, &bounds.counting(recent, uid, Timestamp::now())).await?;
    memory.gone.clear();
    Ok(())
}

/// Whether the removal of the object with this uid was let through already, by us or whoever was here before us.
fn is_counted(recent: &[RecentRemovals], uid: &str) -> bool {
    recent.iter().any(|part| part.under_way.iter().any(|counted| counted == uid))
}

/// What the brake holds of a credential, for its status.
pub async fn held_of(context: &Context, credential: &ProviderCredential) -> Option<HeldRemovals> {
    let memory = context.removal_budget.of(&credential::key(credential));
    let mut memory = memory.lock().await;
    let credential = &*context.credentials.latest(Arc::new(credential.clone()));
    let bounds = Bounds::of(credential);
    let recent = bounds.recent(credential, Timestamp::now());
    let batch = waiting(context, credential, &recent, None);
    let has_finalizer = total(&recent) + batch.count > bounds.at_most && batch.count > 0;
    memory.held = has_finalizer.then(|| (Instant::now(), batch));
    has_finalizer.then(|| HeldRemovals {
        count: u32::try_from(batch.count).unwrap_or(u32::MAX),
        release: token(credential, batch.last),
    })
}

/// Whether a person let a batch go since this was last asked.
pub async fn is_freshly_released(context: &Context, credential: &ProviderCredential) -> bool {
    let memory = context.removal_budget.of(&credential::key(credential));
    let given = credential.annotations().get(RELEASE_REMOVALS).cloned();
    let mut memory = memory.lock().await;
    memory.released != given && std::mem::replace(&mut memory.released, given.clone()) != given && given.is_some()
}

/// Forgets an object that is gone.
pub async fn forget<K: Cached>(context: &Context, object: &K) {
    let memory = context.removal_budget.of(&object.credential_key());
    memory.lock().await.gone.extend(object.uid());
}

fn held<K: Cached>(
    credential: &ProviderCredential,
    object: &K,
    bounds: &Bounds,
    recent: &[RecentRemovals],
    batch: Batch,
) -> Stop {
    let ObjectKey { namespace, name, .. } = credential::key(credential);
    let message = format!(
        "spec.removals.atMost ({}) of the credential {name} allows no more removals within {:#}; its status.heldRemovals counts those that wait. To let this batch go: kubectl -n {namespace} annotate {} {name} {RELEASE_REMOVALS}={} --overwrite; to keep this account: {}",
        bounds.at_most,
        bounds.per,
        Kind::Credential.short(),
        token(credential, batch.last),
        removal::orphan_command(&object.key()),
    );
    let first = recent.first().map_or_else(Timestamp::now, |recent| recent.since);
    Stop::Until(Verdict::new(Reason::RemovalHeld, message), bounds.end(first))
}

fn total(recent: &[RecentRemovals]) -> usize {
    recent.iter().map(|recent| recent.count as usize).sum()
}

/// Those objects of a credential whose accounts are yet to be taken away, but for `own`.
fn waiting(context: &Context, credential: &ProviderCredential, recent: &[RecentRemovals], own: Option<&str>) -> Batch {
    let going = [IndexKey::Deleting(credential::key(credential))];
    let counted = recent.iter().flat_map(|part| &part.under_way).map(String::as_str).collect();
    let waits = Waits { context, credential, counted, own };
    let users = context.users.by_index(&going, |user| waits.has(user));
    let groups = context.groups.by_index(&going, |group| waits.has(group));
    let users = users.iter().filter_map(|user: &Arc<PlatformUser>| user.metadata.deletion_timestamp.as_ref());
    let groups = groups.iter().filter_map(|group: &Arc<PlatformGroup>| group.metadata.deletion_timestamp.as_ref());
    let nobody = Batch { count: 0, last: Timestamp::UNIX_EPOCH };
    users.chain(groups).fold(nobody, |batch, time| batch.with(time.0))
}

/// Who waits for the brake.
struct Waits<'a> {
    context: &'a Context,
    credential: &'a ProviderCredential,
    counted: HashSet<&'a str>,
    own: Option<&'a str>,
}

impl Waits<'_> {
    fn has<K: Cached>(&self, object: &K) -> bool {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        object.has_finalizer()
            && self.own != Some(uid)
            && !self.counted.contains(uid)
            && !is_released(self.credential, object)
            && removal::has_account(object)
            && !matches!(removal::decide(self.context, object), Ok(Removal::Orphan { .. }))
    }
}

/// The token that releases all objects deleted until `last`: that time, and a digest that shows it came from us.
fn token(credential: &ProviderCredential, last: Timestamp) -> String {
    let second = last.as_second();
    format!("{second}-{}", checksum(credential, second))
}

fn checksum(credential: &ProviderCredential, second: i64) -> String {
    let text = format!("{}/{second}", credential.uid().unwrap_or_default());
    password::hex(&digest(&SHA256, text.as_bytes()).as_ref()[..4])
}

/// Whether the annotation names the batch that `object` belongs to, or a later one.
fn is_released<K: Managed>(credential: &ProviderCredential, object: &K) -> bool {
    let given = credential.annotations().get(RELEASE_REMOVALS).and_then(|token| token.split_once('-'));
    let Some((second, checksum_given)) = given else { return false };
    let Ok(second) = second.parse::<i64>() else { return false };
    let going = object.meta().deletion_timestamp.as_ref().map(|time| time.0.as_second());
    checksum_given == checksum(credential, second) && going.is_some_and(|going| going <= second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds { after: AFTER, at_most: 50, per: PER }
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    /// A credential whose removals were let through at these minutes.
    fn credential(minutes: impl IntoIterator<Item = i64>) -> ProviderCredential {
        let counted =
            minutes.into_iter().fold(Vec::new(), |recent, at| bounds().counting(recent, "fake-uid".into(), minute(at)));
        let spec = serde_json::json!({"provider": {"pegasus": {}}, "secretRef": {"name": "main"}});
        let mut credential = ProviderCredential::new("main", serde_json::from_value(spec).unwrap());
        credential.status.get_or_insert_default().recent_removals = Some(counted);
        credential
    }

    #[test]
    fn a_removal_counts_for_an_hour_and_at_most_a_minute_more() {
        let credential = credential([0, 30, 59]);
        let counted = |at| total(&bounds().recent(&credential, minute(at)));
        assert_eq!([counted(59), counted(60), counted(61), counted(91), counted(120)], [3, 3, 2, 1, 0]);
    }

    #[test]
    fn thousands_of_removals_are_counted_in_few_words() {
        let credential = credential((0..5000).map(|number| number / 90));
        let recent = bounds().recent(&credential, minute(55));
        assert_eq!((total(&recent), recent.len()), (5000, 56));
    }
}
