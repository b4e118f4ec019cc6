//! The removal budget: how many accounts of one credential may be taken away within a time, so that one mistake does not cost
//! many accounts. The namespaces that take accounts away share it, so that the mistake of one does not hold the removals of another.
//! An edit that blocks an account takes nothing from the budget, because another edit undoes it.
//!
//! Pure: the caller passes the counts and the time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::api::ProviderCredentialSpec;
use crate::api::credential::RecentRemovals;
use crate::api::defaults::duration;

/// How long a removal waits for a successor unless the credential sets `removals.after`.
const AFTER: SignedDuration = SignedDuration::from_secs(10);
/// How many removals are admitted within [`PER`] unless the credential sets `removals.atMost`.
const AT_MOST: u32 = 50;
/// The time over which removals are counted unless the credential sets `removals.per`.
const PER: SignedDuration = SignedDuration::from_hours(1);
/// The shortest times that the schema admits.
const LEAST_AFTER: SignedDuration = SignedDuration::ZERO;
const LEAST_PER: SignedDuration = SignedDuration::from_mins(1);
/// Removals are counted in this many parts of the time, so that the count slides with the time and stays small.
const BUCKETS: i32 = 60;

/// Removals that wait, by namespace.
pub type Batches = BTreeMap<String, Batch>;

/// Removals that wait for the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// How many.
    pub count: usize,
    /// When the last of their objects was deleted.
    pub last: Timestamp,
}

impl Batch {
    /// No removal.
    pub const EMPTY: Self = Self { count: 0, last: Timestamp::UNIX_EPOCH };

    /// The batch with one more object, deleted at `at`.
    #[must_use]
    pub fn with(self, at: Timestamp) -> Self {
        Self { count: self.count + 1, last: self.last.max(at) }
    }

    /// All removals of `batches`.
    #[must_use]
    pub fn of(batches: &Batches) -> Self {
        let both = |one: Self, other: &Self| Self { count: one.count + other.count, last: one.last.max(other.last) };
        batches.values().fold(Self::EMPTY, both)
    }

    /// The value of the annotation that releases the batch: the second in which its last object was deleted.
    #[must_use]
    pub fn release_token(self) -> String {
        self.last.as_second().to_string()
    }
}

/// Whether `token` releases an object deleted at `deleted`: the token of its batch or of a later one. A token of a time to come
/// releases nothing, because no batch has it yet.
#[must_use]
pub fn is_released(token: &str, deleted: Timestamp, now: Timestamp) -> bool {
    // Earlier builds wrote a digest after the second.
    let second = token.split_once('-').map_or(token, |(second, _)| second).parse::<i64>();
    second.is_ok_and(|second| second <= now.as_second() && deleted.as_second() <= second)
}

/// The budget of one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovalBudget {
    /// How long a removal waits for a successor.
    pub after: SignedDuration,
    /// How many removals are admitted.
    pub at_most: usize,
    /// The time within which they are counted.
    pub per: SignedDuration,
}

impl RemovalBudget {
    /// The budget that `spec` sets.
    #[must_use]
    pub fn of(spec: &ProviderCredentialSpec) -> Self {
        let removals = spec.removals.clone().unwrap_or_default();
        Self {
            after: duration(removals.after.as_deref(), LEAST_AFTER, AFTER),
            at_most: removals.at_most.unwrap_or(AT_MOST) as usize,
            per: duration(removals.per.as_deref(), LEAST_PER, PER),
        }
    }

    /// The removals of `waiting` that are held after those in `recent`. Once all together exceed the budget, they are those of the
    /// namespaces that exceed their share of it.
    #[must_use]
    pub fn held(&self, recent: &[RecentRemovals], waiting: &Batches) -> Batches {
        if total(recent) + Batch::of(waiting).count <= self.at_most {
            return Batches::new();
        }
        let share = self.share(sharers(recent, waiting));
        let exceeds = |(namespace, batch): &(&String, &Batch)| admitted(recent, namespace) + batch.count > share;
        waiting.iter().filter(exceeds).map(|(namespace, batch)| (namespace.clone(), *batch)).collect()
    }

    /// How many removals each of several namespaces has: none if they are more than the removals.
    fn share(&self, sharers: usize) -> usize {
        self.at_most / sharers.max(1)
    }

    /// The buckets of `counted` that still count at `now`. One that begins more than a period ahead was written by a wrong clock.
    #[must_use]
    pub fn recent(&self, counted: &[RecentRemovals], now: Timestamp) -> Vec<RecentRemovals> {
        let counts = |since: Timestamp| self.end(since) > now && since.duration_since(now) <= self.per;
        counted.iter().filter(|bucket| counts(bucket.since)).cloned().collect()
    }

    /// `recent` with one more removal at `now`: that of the object `uid` in `namespace`.
    #[must_use]
    pub fn counting(
        &self,
        mut recent: Vec<RecentRemovals>,
        (namespace, uid): (String, String),
        now: Timestamp,
    ) -> Vec<RecentRemovals> {
        match recent.last_mut().filter(|last| now.duration_since(last.since) < self.per / BUCKETS) {
            Some(last) => {
                last.count = last.count.saturating_add(1);
                let admitted = last.namespaces.entry(namespace).or_default();
                *admitted = admitted.saturating_add(1);
                last.under_way.push(uid);
            }
            None => recent.push(RecentRemovals {
                since: now,
                count: 1,
                namespaces: [(namespace, 1)].into(),
                under_way: vec![uid],
            }),
        }
        recent
    }

    /// When the first bucket of `recent` ends to count.
    #[must_use]
    pub fn next_room(&self, recent: &[RecentRemovals], now: Timestamp) -> Timestamp {
        self.end(recent.first().map_or(now, |bucket| bucket.since))
    }

    /// When a bucket that began at `since` ends to count.
    fn end(&self, since: Timestamp) -> Timestamp {
        since.checked_add(self.per / BUCKETS + self.per).unwrap_or(Timestamp::MAX)
    }
}

/// Whether the removal of the object `uid` is among `recent`, admitted by this process or an earlier one.
#[must_use]
pub fn is_counted(recent: &[RecentRemovals], uid: &str) -> bool {
    recent.iter().any(|bucket| bucket.under_way.iter().any(|counted| counted == uid))
}

/// How many namespaces share the budget: those with removals. Removals that an earlier build counted without a namespace are those of one
/// more.
#[must_use]
pub fn sharers(recent: &[RecentRemovals], waiting: &Batches) -> usize {
    let counted = recent.iter().flat_map(|bucket| bucket.namespaces.keys());
    let namespaces: BTreeSet<&String> = counted.chain(waiting.keys()).collect();
    let named = |bucket: &RecentRemovals| bucket.namespaces.values().map(|count| u64::from(*count)).sum::<u64>();
    let is_nameless = |bucket: &RecentRemovals| named(bucket) < u64::from(bucket.count);
    namespaces.len() + usize::from(recent.iter().any(is_nameless))
}

/// The number of removals in `recent` of one namespace.
fn admitted(recent: &[RecentRemovals], namespace: &str) -> usize {
    recent.iter().filter_map(|bucket| bucket.namespaces.get(namespace)).map(|count| *count as usize).sum()
}

fn total(recent: &[RecentRemovals]) -> usize {
    recent.iter().map(|bucket| bucket.count as usize).sum()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn budget() -> RemovalBudget {
        RemovalBudget { after: AFTER, at_most: 50, per: PER }
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    /// Removals that were admitted at these minutes.
    fn counted(minutes: impl IntoIterator<Item = i64>) -> Vec<RecentRemovals> {
        let object = || ("identity".to_owned(), "fake-uid".to_owned());
        minutes.into_iter().fold(Vec::new(), |recent, at| budget().counting(recent, object(), minute(at)))
    }

    /// Removals by namespace: that were admitted just now, and that wait.
    fn shared(namespaces: &[(&str, u32, usize)]) -> (Vec<RecentRemovals>, Batches) {
        let mut recent = Vec::new();
        for (namespace, admitted, _) in namespaces {
            for _ in 0..*admitted {
                recent = budget().counting(recent, ((*namespace).to_owned(), "fake-uid".to_owned()), minute(0));
            }
        }
        let waiting = namespaces.iter().filter(|(.., waiting)| *waiting > 0);
        let batch = |count: usize| Batch { count, ..Batch::EMPTY };
        (recent, waiting.map(|(namespace, _, waiting)| ((*namespace).to_owned(), batch(*waiting))).collect())
    }

    #[test]
    fn a_removal_counts_for_an_hour_and_at_most_a_minute_more() {
        let counted = counted([0, 30, 59]);
        let at = |at| total(&budget().recent(&counted, minute(at)));
        assert_eq!([at(59), at(60), at(61), at(91), at(120)], [3, 3, 2, 1, 0]);
    }

    #[test]
    fn thousands_of_removals_take_few_buckets() {
        let counted = counted((0..5000).map(|number| number / 90));
        let recent = budget().recent(&counted, minute(55));
        assert_eq!((total(&recent), recent.len()), (5000, 56));
    }

    #[rstest]
    #[case::past("-009998-01-02T00:00:00Z", false)]
    #[case::first_year("0001-01-01T00:00:00Z", false)]
    #[case::now("1970-01-02T00:00:00Z", true)]
    #[case::a_little_ahead("1970-01-02T00:59:00Z", true)]
    #[case::last_year("9999-12-30T21:59:59Z", false)]
    fn a_time_that_cannot_be_counts_nothing_and_breaks_nothing(#[case] since: Timestamp, #[case] counts: bool) {
        let namespaces = [("identity".to_owned(), u32::MAX), ("other".to_owned(), u32::MAX)].into();
        let forged = [RecentRemovals { since, count: u32::MAX, namespaces, under_way: Vec::new() }];
        let (budget, now) = (budget(), minute(24 * 60));
        let recent = budget.recent(&forged, now);
        assert_eq!(!recent.is_empty(), counts);
        assert!(budget.next_room(&forged, now) >= since);
        let object = ("identity".to_owned(), "fake-uid".to_owned());
        assert!(total(&budget.counting(forged.to_vec(), object, now)) >= u32::MAX as usize);
        assert_eq!(sharers(&forged, &Batches::new()), 2);
    }

    #[rstest]
    #[case::endless("9223372036854775807s", SignedDuration::from_hours(168))]
    #[case::negative("-1h", SignedDuration::from_mins(1))]
    #[case::no_duration("soon", PER)]
    fn a_period_that_the_schema_refuses_is_bounded(#[case] per: &str, #[case] expected: SignedDuration) {
        let spec = serde_json::json!({
            "provider": {"pegasus": {}}, "secretRef": {"name": "main"}, "removals": {"per": per, "after": per},
        });
        let budget = RemovalBudget::of(&serde_json::from_value(spec).unwrap());
        assert_eq!(budget.per, expected);
        assert!(budget.next_room(&[], Timestamp::MAX) == Timestamp::MAX && budget.after <= expected.max(AFTER));
    }

    #[rstest]
    #[case::its_own_batch("600", 10, true)]
    #[case::a_later_batch("660", 10, true)]
    #[case::an_earlier_batch("540", 10, false)]
    #[case::a_time_to_come("6060", 10, false)]
    #[case::with_the_digest_of_earlier_builds("600-1f2e3d4c", 10, true)]
    #[case::no_token("yes", 10, false)]
    fn a_token_releases_the_objects_deleted_until_its_time(
        #[case] token: &str,
        #[case] deleted: i64,
        #[case] released: bool,
    ) {
        assert_eq!(is_released(token, minute(deleted), minute(100)), released);
    }

    #[rstest]
    #[case::within(&[("a", 49, 1)], &[])]
    #[case::beyond(&[("a", 50, 1)], &["a"])]
    #[case::the_whole_batch(&[("a", 0, 51)], &["a"])]
    #[case::nothing_waits(&[("a", 60, 0)], &[])]
    #[case::two_within_the_budget(&[("a", 30, 10), ("b", 0, 10)], &[])]
    #[case::the_first_removal_of_another_namespace(&[("a", 50, 1), ("b", 0, 1)], &["a"])]
    #[case::a_large_batch_beside_a_small_one(&[("a", 0, 500), ("b", 0, 25)], &["a"])]
    #[case::two_large_batches(&[("a", 0, 500), ("b", 0, 26)], &["a", "b"])]
    #[case::a_namespace_that_used_its_share(&[("a", 25, 1), ("b", 50, 1)], &["a", "b"])]
    fn namespaces_above_their_share_are_held_once_all_exceed_the_budget(
        #[case] namespaces: &[(&str, u32, usize)],
        #[case] held: &[&str],
    ) {
        let (recent, waiting) = shared(namespaces);
        assert_eq!(budget().held(&recent, &waiting).into_keys().collect::<Vec<_>>(), held);
    }

    #[test]
    fn one_removal_in_each_of_many_namespaces_is_held_as_one_large_batch_is() {
        let names: Vec<String> = (0..51).map(|number| format!("tenant-{number}")).collect();
        let waiting: Vec<(&str, u32, usize)> = names.iter().map(|name| (name.as_str(), 0, 1)).collect();
        assert_eq!(budget().held(&shared(&waiting).0, &shared(&waiting).1).len(), 51);
        assert!(budget().held(&shared(&waiting[..50]).0, &shared(&waiting[..50]).1).is_empty());
    }

    #[test]
    fn removals_counted_by_an_earlier_build_are_those_of_another_namespace() {
        let (mut recent, waiting) = shared(&[("a", 50, 1)]);
        recent[0].namespaces.clear();
        assert_eq!(sharers(&recent, &waiting), 2);
        assert!(budget().held(&recent, &waiting).is_empty());
    }
}
