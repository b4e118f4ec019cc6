//! The accounts of one credential as far as usher knows them: of each kind the last complete listing, and evidence beside it. It answers
//! find-before-create and drift for all objects, and calls no vendor.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::evidence::{About, Evidence, EvidenceSet, almost, is_within};
use super::known::{Matches, digest};
use super::listing::{ListedIds, Listing};
use crate::plan::{Account, AccountKind, Catalog, Field, Key, fold, group_keys};

/// Users, groups and catalogue of one credential.
#[derive(Default)]
pub struct Inventory {
    users: KindInventory,
    groups: KindInventory,
    catalog: Option<Arc<Catalog>>,
    /// When it was begun. Nothing is known of earlier writes.
    begun: Timestamp,
    /// How long the vendor may take to show what was written.
    lag: SignedDuration,
}

/// What is known of one kind.
#[derive(Default)]
struct KindInventory {
    /// The listing of the last sweep.
    listing: Option<Listing>,
    /// The last complete listing beside the sweeps. It is no evidence about one account, because it proves every id that it lacks absent.
    listed_ids: Option<ListedIds>,
    evidence: EvidenceSet,
    /// When usher last made or changed an account, by its id.
    written: HashMap<String, Timestamp>,
}

/// Listings.
impl Inventory {
    /// An empty inventory, begun at `begun`, of a vendor that takes up to `lag` to show what was written.
    pub fn since(begun: Timestamp, lag: SignedDuration) -> Self {
        Self { begun, lag, ..Self::default() }
    }

    fn of(&self, kind: AccountKind) -> &KindInventory {
        match kind {
            AccountKind::User => &self.users,
            AccountKind::Group => &self.groups,
        }
    }

    fn of_mut(&mut self, kind: AccountKind) -> &mut KindInventory {
        match kind {
            AccountKind::User => &mut self.users,
            AccountKind::Group => &mut self.groups,
        }
    }

    fn listing(&self, kind: AccountKind) -> Option<&Listing> {
        self.of(kind).listing.as_ref()
    }

    /// Roles, projects, countries; empty before the first sweep.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone().unwrap_or_default()
    }

    /// Whether a sweep has read the catalogue.
    pub fn has_catalog(&self) -> bool {
        self.catalog.is_some()
    }

    /// Replaces the catalogue.
    pub fn set_catalog(&mut self, catalog: Catalog) {
        self.catalog = Some(Arc::new(catalog));
    }

    /// Whether there is a listing.
    pub fn has_listing(&self, kind: AccountKind) -> bool {
        self.listing(kind).is_some()
    }

    /// The number of listed accounts.
    pub fn count(&self, kind: AccountKind) -> usize {
        self.listing(kind).map_or(0, Listing::count)
    }

    /// Whether the account with this id is listed.
    pub fn has(&self, kind: AccountKind, id: &str) -> bool {
        self.listing(kind).is_some_and(|listing| listing.has(id))
    }

    /// The account with this id, if it is listed and kept whole: every sweep keeps those that objects ask for.
    pub fn get(&self, kind: AccountKind, id: &str) -> Option<Account> {
        self.listing(kind)?.get(id)
    }

    /// Whether the vendor showed the account with this id as it is here, and it is not only as usher wrote it.
    pub fn is_shown(&self, kind: AccountKind, id: &str) -> bool {
        self.listing(kind).is_some_and(|listing| listing.is_shown(id))
    }

    /// The accounts that carry one of the natural keys `keys`.
    pub fn matching(&self, kind: AccountKind, table: &[Field], keys: &[Key]) -> Matches {
        self.listing(kind).map(|listing| listing.matching(table, keys)).unwrap_or_default()
    }

    /// The groups with this name, the first natural key of `table`.
    pub fn groups_named(&self, table: &[Field], name: &str) -> Matches {
        self.matching(AccountKind::Group, table, &group_keys(table, name))
    }

    /// When the listing began.
    pub fn listed_at(&self, kind: AccountKind) -> Option<Timestamp> {
        self.listing(kind).map(|listing| listing.begun)
    }

    /// When the vendor was last asked for a listing and answered, even if with the answer that it offers none.
    pub fn asked_at(&self, kind: AccountKind) -> Option<Timestamp> {
        let no_listing = self.of(kind).evidence.get(&About::NoListing);
        self.listed_at(kind).or(no_listing.map(|evidence| evidence.since))
    }

    /// Whether the vendor was last asked for a listing `interval` ago, or never.
    pub fn is_listing_due(&self, kind: AccountKind, interval: SignedDuration, now: Timestamp) -> bool {
        self.asked_at(kind).is_none_or(|asked| !is_within(asked, almost(interval), now))
    }

    /// Replaces the listing. Own writes that came after the beginning of `listing` win over it. Evidence that expired by then is removed,
    /// where `interval` is the credential's time between two sweeps.
    pub fn set_listing(&mut self, kind: AccountKind, table: &[Field], mut listing: Listing, interval: SignedDuration) {
        let lag = self.lag;
        let KindInventory { listing: current, evidence, written, listed_ids } = self.of_mut(kind);
        let (before, begun) = (current.take(), listing.begun);
        evidence.remove(&About::ListingRequest);
        evidence.retain(|about, evidence| evidence.counts(about, interval, begun));
        written.retain(|_, at| is_within(*at, lag, begun));
        // The new listing answers as well.
        *listed_ids = None;
        if let Some(before) = before {
            // The listing before answered these questions, and no object came back for the answer.
            evidence.retain(|about, asked| !matches!(about, About::Existence(_)) || !before.answers(asked.since));
            listing.take_over(table, before);
        }
        *current = Some(listing);
    }

    /// Removes the listing, because the vendor answered at `asked` that it offers none.
    pub fn set_no_listing(&mut self, kind: AccountKind, asked: Timestamp) {
        let one = self.of_mut(kind);
        one.listing = None;
        one.evidence.remove(&About::ListingRequest);
        one.evidence.insert(About::NoListing, Evidence::new(asked));
    }

    /// Asks for a listing from the next sweep.
    pub fn request_listing(&mut self, kind: AccountKind, now: Timestamp) {
        self.of_mut(kind).evidence.insert(About::ListingRequest, Evidence::new(now));
    }

    /// Whether an object asked for a listing from the next sweep.
    pub fn is_listing_requested(&self, kind: AccountKind) -> bool {
        self.of(kind).evidence.contains_key(&About::ListingRequest)
    }

    /// Records an own write; `None`: the account was removed.
    pub fn record_write(&mut self, kind: AccountKind, table: &[Field], id: &str, account: Option<Account>) {
        let KindInventory { listing, listed_ids, written, .. } = self.of_mut(kind);
        match &account {
            Some(_) => drop(written.insert(id.to_owned(), Timestamp::now())),
            None => drop(written.remove(id)),
        }
        if let Some(listed) = listed_ids.as_mut().filter(|_| account.is_some()) {
            listed.ids.insert(digest(id));
        }
        if let Some(listing) = listing {
            listing.record_write(table, id, account);
        }
    }

    /// Records a read that began at `begun`, unless a later listing or write is known.
    pub fn record_read(&mut self, kind: AccountKind, table: &[Field], begun: Timestamp, account: &Account) {
        let one = self.of_mut(kind);
        one.evidence.remove(&About::Existence(account.id.clone()));
        if let Some(listing) = &mut one.listing {
            listing.record_read(table, begun, account);
        }
    }
}

/// Whether an account exists, by its id.
impl Inventory {
    /// Records digests of the ids in a complete listing that began at `begun` and was made beside the sweeps.
    pub fn record_listed_ids(&mut self, kind: AccountKind, begun: Timestamp, ids: HashSet<u64>) {
        self.of_mut(kind).listed_ids = Some(ListedIds { begun, ids });
    }

    /// Until when the vendor may not show the account with this id although it is there, because it was made or changed a moment ago;
    /// `None`: it shows it.
    pub fn unsettled_until(&self, kind: AccountKind, id: &str, now: Timestamp) -> Option<Timestamp> {
        let since = self.of(kind).written.get(id).copied().unwrap_or(self.begun);
        let until = since.checked_add(self.lag).unwrap_or(Timestamp::MAX);
        Some(until).filter(|until| *until > now)
    }

    /// Whether a recent and complete listing lacks the account with this id.
    pub fn is_proven_absent(&self, kind: AccountKind, id: &str, now: Timestamp) -> bool {
        let one = self.of(kind);
        let by_sweep =
            one.listing.as_ref().filter(|listing| listing.is_recent(now)).and_then(|listing| listing.shows(id));
        let beside = one.listed_ids.as_ref().and_then(|listed| listed.shows_recently(id, now));
        by_sweep == Some(false) || beside == Some(false)
    }

    /// Leaves the question whether the account with this id exists, first asked at `since`, to the next sweep, and asks for a listing.
    pub fn leave_to_sweep(&mut self, kind: AccountKind, id: &str, since: Timestamp) {
        let question = About::Existence(id.to_owned());
        self.of_mut(kind).evidence.entry(question).or_insert_with(|| Evidence::new(since));
        self.request_listing(kind, since);
    }

    /// Whether a question that was left to the next sweep is not answered yet.
    pub fn has_open_question(&self, kind: AccountKind) -> bool {
        let KindInventory { listing, evidence, .. } = self.of(kind);
        let is_open = |since| listing.as_ref().is_none_or(|listing| !listing.answers(since));
        evidence.iter().any(|(about, asked)| matches!(about, About::Existence(_)) && is_open(asked.since))
    }

    /// Whether the account with this id exists: by a recent listing that lacks it, or by a listing that began after the question was
    /// left to the sweep, which closes the question. `None`: no listing answers.
    pub fn existence(&mut self, kind: AccountKind, id: &str, now: Timestamp) -> Option<bool> {
        let is_absent = self.is_proven_absent(kind, id, now);
        let KindInventory { listing, evidence, .. } = self.of_mut(kind);
        let question = About::Existence(id.to_owned());
        let asked = evidence.get(&question).map(|asked| asked.since);
        let answering = listing.as_ref().zip(asked).filter(|(listing, asked)| listing.answers(*asked));
        let by_sweep = || answering.and_then(|(listing, _)| listing.shows(id));
        let answer = if is_absent { Some(false) } else { by_sweep() };
        if answer.is_some() {
            evidence.remove(&question);
        }
        answer
    }
}

/// Whether an account exists, by its natural key.
impl Inventory {
    /// Whether the listing proves to the object with this uid that only the accounts in it carry `key`: it is recent, or it began after
    /// the object first searched.
    pub fn is_recent_for(&mut self, kind: AccountKind, key: &str, uid: &str, now: Timestamp) -> bool {
        let KindInventory { listing, evidence, .. } = self.of_mut(kind);
        let since = evidence.entry(About::Search(uid.to_owned())).or_insert_with(|| Evidence::new(now)).since;
        let listing = listing.as_ref().filter(|listing| !listing.lacks(key));
        let is_recent = listing.is_some_and(|listing| listing.answers(since) || listing.is_recent(now));
        if is_recent {
            self.end_search(kind, uid);
        }
        is_recent
    }

    /// Ends the search of the object with this uid: its next search begins anew.
    pub fn end_search(&mut self, kind: AccountKind, uid: &str) {
        self.of_mut(kind).evidence.remove(&About::Search(uid.to_owned()));
    }

    /// Records that the vendor has an account with this key which the listing lacks. The listing proves nothing about this key then.
    pub fn record_lacking(&mut self, kind: AccountKind, key: &str) {
        if let Some(listing) = &mut self.of_mut(kind).listing {
            listing.record_lacking(key);
        }
    }

    /// Records that the vendor refused with `message` to create an account with this key, because the account exists, although no
    /// search showed it.
    pub fn record_not_visible(&mut self, kind: AccountKind, key: &str, message: &str, now: Timestamp) {
        self.record_lacking(kind, key);
        let refusal = Evidence { since: now, message: message.to_owned() };
        self.of_mut(kind).evidence.insert(About::NotVisible(fold(key)), refusal);
    }

    /// The vendor's message, if it reported within `interval` that an account with this key exists, and no search has shown it since.
    pub fn not_visible(
        &self,
        kind: AccountKind,
        key: &str,
        interval: SignedDuration,
        now: Timestamp,
    ) -> Option<String> {
        let about = About::NotVisible(fold(key));
        let refusal = self.of(kind).evidence.get(&about)?;
        refusal.counts(&about, interval, now).then(|| refusal.message.clone())
    }

    /// Records that a search has shown an account with this key.
    pub fn record_visible(&mut self, kind: AccountKind, key: &str) {
        self.of_mut(kind).evidence.remove(&About::NotVisible(fold(key)));
    }

    /// Whether users without a listing are due to read their accounts once more; true once in each `interval`.
    pub fn are_reads_due(&mut self, interval: SignedDuration, now: Timestamp) -> bool {
        let evidence = &mut self.users.evidence;
        let enqueued = evidence.get(&About::ReadsEnqueued);
        if enqueued.is_some_and(|enqueued| enqueued.counts(&About::ReadsEnqueued, interval, now)) {
            return false;
        }
        evidence.insert(About::ReadsEnqueued, Evidence::new(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::known::Asked;
    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_secs(600);
    const USER: AccountKind = AccountKind::User;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn list(inventory: &mut Inventory, begun: Timestamp, accounts: Vec<Account>) {
        let mut listing = Listing::new(begun);
        accounts.into_iter().for_each(|account| listing.add(&[], &Asked::default(), account).unwrap());
        inventory.set_listing(USER, &[], listing, INTERVAL);
    }

    fn listed(begun: i64) -> Inventory {
        let mut inventory = Inventory::default();
        list(&mut inventory, at(begun), Vec::new());
        inventory
    }

    fn ada(name: &str) -> Account {
        Account { id: "ada".into(), fields: [("name".to_owned(), name.into())].into(), ..Account::default() }
    }

    #[test]
    fn what_was_written_a_moment_ago_may_not_be_shown_yet() {
        let begun = Timestamp::now();
        let mut inventory = Inventory::since(begun, SignedDuration::from_secs(30));
        let after = |seconds| begun + SignedDuration::from_secs(seconds);
        assert_eq!(
            inventory.unsettled_until(USER, "ada", after(29)),
            Some(after(30)),
            "an earlier process may have made it"
        );
        assert_eq!(inventory.unsettled_until(USER, "ada", after(30)), None);
        inventory.record_write(USER, &[], "ada", Some(Account { id: "ada".into(), ..Account::default() }));
        assert!(inventory.unsettled_until(USER, "ada", after(29)).is_some_and(|until| until >= after(30)));
        assert!(inventory.unsettled_until(USER, "ada", after(60)).is_none());
        inventory.record_write(USER, &[], "ada", None);
        assert_eq!(inventory.unsettled_until(USER, "ada", after(30)), None);
    }

    #[test]
    fn a_listing_answers_every_search_that_began_before_it() {
        let mut inventory = listed(0);
        assert!(!inventory.is_recent_for(USER, "ada@example.com", "ada", at(60)));
        list(&mut inventory, at(61), Vec::new());
        assert!(inventory.is_recent_for(USER, "ada@example.com", "ada", at(300)));
        assert!(!inventory.is_recent_for(USER, "ada@example.com", "ada", at(301)), "it answered the first search only");
    }

    #[test]
    fn a_search_is_forgotten_after_a_day() {
        let mut inventory = listed(0);
        assert!(!inventory.is_recent_for(USER, "ada@example.com", "ada", at(60)));
        list(&mut inventory, at(86_400), Vec::new());
        list(&mut inventory, at(86_460), Vec::new());
        assert!(!inventory.is_recent_for(USER, "ada@example.com", "ada", at(86_500)));
    }

    #[test]
    fn a_read_does_not_change_a_listing_that_began_after_it() {
        let mut inventory = Inventory::default();
        list(&mut inventory, at(10), vec![ada("listed")]);
        inventory.record_read(USER, &[], at(9), &ada("read before"));
        assert_eq!(inventory.get(USER, "ada"), Some(ada("listed")));
        inventory.record_read(USER, &[], at(11), &ada("read after"));
        assert_eq!(inventory.get(USER, "ada"), Some(ada("read after")));
        list(&mut inventory, at(12), vec![ada("listed again")]);
        assert_eq!(inventory.get(USER, "ada"), Some(ada("listed again")));
    }

    #[test]
    fn a_read_does_not_replace_a_write_that_came_after_it() {
        let mut inventory = listed(0);
        inventory.record_write(USER, &[], "ada", Some(ada("written")));
        inventory.record_read(USER, &[], at(11), &ada("read before"));
        assert_eq!(inventory.get(USER, "ada"), Some(ada("written")));
    }

    #[test]
    fn an_account_that_was_written_during_a_listing_is_kept() {
        let mut inventory = listed(0);
        inventory.record_write(USER, &[], "ada", Some(ada("made")));
        list(&mut inventory, at(60), Vec::new());
        assert_eq!(inventory.get(USER, "ada"), Some(ada("made")));
        list(&mut inventory, Timestamp::now() + SignedDuration::from_secs(1), Vec::new());
        assert_eq!(inventory.get(USER, "ada"), None);
    }

    #[test]
    fn a_listing_beside_the_sweeps_proves_absence_for_ten_seconds() {
        let mut inventory = listed(0);
        assert!(!inventory.is_proven_absent(USER, "ada", at(60)));
        inventory.record_listed_ids(USER, at(60), [digest("eve")].into());
        assert!(inventory.is_proven_absent(USER, "ada", at(61)));
        inventory.record_write(USER, &[], "bob", Some(ada("made since")));
        assert!(!inventory.is_proven_absent(USER, "bob", at(61)));
        assert!(!inventory.is_proven_absent(USER, "eve", at(61)));
        assert!(!inventory.is_proven_absent(AccountKind::Group, "ada", at(61)));
        assert!(!inventory.is_proven_absent(USER, "ada", at(70)));
    }

    #[test]
    fn the_next_sweep_answers_whether_an_account_exists_when_a_listing_takes_too_long() {
        let mut inventory = listed(0);
        inventory.leave_to_sweep(USER, "bob", at(60));
        inventory.leave_to_sweep(USER, "bob", at(90));
        assert!(inventory.has_open_question(USER) && !inventory.has_open_question(AccountKind::Group));
        assert!(inventory.is_listing_requested(USER));
        assert_eq!(inventory.existence(USER, "bob", at(300)), None, "the last sweep began before the question");
        list(&mut inventory, at(61), vec![ada("listed")]);
        assert_eq!(inventory.existence(USER, "bob", at(300)), Some(false));
        assert_eq!(inventory.existence(USER, "bob", at(300)), None, "a question is answered once");
        inventory.leave_to_sweep(USER, "ada", at(61));
        assert_eq!(inventory.existence(USER, "ada", at(300)), Some(true));
        inventory.leave_to_sweep(USER, "eve", at(61));
        inventory.record_read(USER, &[], at(70), &Account { id: "eve".into(), ..Account::default() });
        assert_eq!(inventory.existence(USER, "eve", at(300)), None, "a read answered the question");
    }

    #[test]
    fn a_question_is_dropped_once_two_sweeps_have_answered_it() {
        let mut inventory = listed(0);
        inventory.leave_to_sweep(USER, "bob", at(60));
        list(&mut inventory, at(61), Vec::new());
        assert!(!inventory.has_open_question(USER) && !inventory.is_listing_requested(USER));
        list(&mut inventory, at(300), Vec::new());
        assert_eq!(inventory.existence(USER, "bob", at(600)), None);
    }

    #[test]
    fn a_listing_that_lacks_one_account_still_proves_the_absence_of_others() {
        let mut inventory = listed(60);
        inventory.record_lacking(USER, "Eve@example.com");
        assert!(!inventory.is_recent_for(USER, "eve@example.com", "eve", at(61)));
        assert!(inventory.is_recent_for(USER, "ada@example.com", "ada", at(61)));
    }

    #[test]
    fn an_account_that_is_not_visible_is_not_created_again_for_an_interval() {
        let mut inventory = listed(60);
        let not_visible = |inventory: &Inventory, key, now| inventory.not_visible(USER, key, INTERVAL, at(now));
        inventory.record_not_visible(USER, "Eve@example.com", "she exists", at(60));
        assert!(!inventory.is_recent_for(USER, "eve@example.com", "eve", at(61)));
        list(&mut inventory, at(90), Vec::new());
        assert_eq!(not_visible(&inventory, "eve@example.com", 659).as_deref(), Some("she exists"));
        assert_eq!(not_visible(&inventory, "ada@example.com", 659), None);
        assert_eq!(not_visible(&inventory, "eve@example.com", 660), None);
        inventory.record_not_visible(USER, "eve@example.com", "she exists", at(700));
        inventory.record_visible(USER, "EVE@example.com");
        assert_eq!(not_visible(&inventory, "eve@example.com", 701), None);
    }

    #[test]
    fn a_vendor_without_listing_is_asked_for_one_once_in_an_interval() {
        let mut inventory = Inventory::default();
        assert!(inventory.asked_at(USER).is_none() && inventory.is_listing_due(USER, INTERVAL, at(60)));
        inventory.request_listing(USER, at(60));
        inventory.set_no_listing(USER, at(60));
        assert_eq!((inventory.asked_at(USER), inventory.has_listing(USER)), (Some(at(60)), false));
        assert!(!inventory.is_listing_requested(USER) && !inventory.is_listing_due(USER, INTERVAL, at(658)));
        assert!(inventory.is_listing_due(USER, INTERVAL, at(659)), "a timer may fire a second early");
    }

    #[test]
    fn users_without_a_listing_read_their_accounts_once_in_an_interval() {
        let mut inventory = Inventory::default();
        assert!(inventory.are_reads_due(INTERVAL, at(60)) && !inventory.are_reads_due(INTERVAL, at(658)));
        assert!(inventory.are_reads_due(INTERVAL, at(659)) && !inventory.are_reads_due(INTERVAL, at(660)));
        assert!(inventory.are_reads_due(SignedDuration::from_mins(1), at(720)), "the interval was shortened");
    }

    #[test]
    fn the_longest_interval_does_not_overflow() {
        let mut inventory = listed(0);
        assert!(inventory.are_reads_due(SignedDuration::MAX, at(60)));
        assert!(!inventory.are_reads_due(SignedDuration::MAX, Timestamp::MAX));
        assert!(!inventory.is_listing_due(USER, SignedDuration::MAX, Timestamp::MAX));
    }

    #[test]
    fn a_search_that_a_call_of_its_own_answered_begins_anew() {
        let mut inventory = listed(0);
        assert!(!inventory.is_recent_for(USER, "ada@example.com", "ada", at(60)));
        inventory.end_search(USER, "ada");
        list(&mut inventory, at(61), Vec::new());
        assert!(!inventory.is_recent_for(USER, "ada@example.com", "ada", at(300)));
    }
}
