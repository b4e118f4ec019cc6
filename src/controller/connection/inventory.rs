//! What the last listing of a credential showed, kept true by our own writes; answers find-before-create and drift for all objects.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::plan::{Account, AccountKind, Catalog, Desired, Field, keys, matches_key, shown_key};

/// A listing this young answers "is it there?" before a create.
const FRESH: SignedDuration = SignedDuration::from_secs(10);

/// An object that asked this long ago and never came back is gone.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);

/// Users, groups and catalogue of one credential.
#[derive(Default)]
pub struct Inventory {
    users: Option<Listing>,
    groups: Option<Listing>,
    /// Roles, projects, countries.
    pub catalog: Catalog,
    /// When objects were last sent to look for themselves, where there is no listing.
    looked: Option<Timestamp>,
    wanted: HashSet<AccountKind>,
    /// When a listing was asked for that the vendor does not have.
    lacked: HashMap<AccountKind, Timestamp>,
    /// Keys in lower case of what the vendor has and does not show, when it said so, and its words.
    unseen: HashMap<(AccountKind, String), (Timestamp, String)>,
    /// Ids that complete listings beside the sweeps showed, and when those began.
    proofs: HashMap<AccountKind, (Timestamp, HashSet<String>)>,
    /// Who waits for a listing since when, by uid: a name may be given to another object.
    asked: HashMap<String, Timestamp>,
    /// Ids that are in doubt since then, where a listing beside the sweeps would take too long.
    doubted: HashMap<(AccountKind, String), Timestamp>,
}

/// One complete listing.
#[derive(Default)]
struct Listing {
    begun: Timestamp,
    accounts: HashMap<String, Account>,
    /// By lower-cased key; several accounts may share one.
    keys: HashMap<String, Vec<String>>,
    /// What we wrote or removed, and when: a listing says nothing about what was written after it began.
    written: HashMap<String, (Timestamp, Option<Account>)>,
    /// Keys in lower case under which the vendor has something that it lacks.
    refuted: HashSet<String>,
}

impl Inventory {
    fn listing(&self, account_kind: AccountKind) -> Option<&Listing> {
        match account_kind {
            AccountKind::User => self.users.as_ref(),
            AccountKind::Group => self.groups.as_ref(),
        }
    }

    fn slot(&mut self, account_kind: AccountKind) -> &mut Option<Listing> {
        match account_kind {
            AccountKind::User => &mut self.users,
            AccountKind::Group => &mut self.groups,
        }
    }

    /// Whether there is a listing at all.
    pub fn has(&self, account_kind: AccountKind) -> bool {
        self.listing(account_kind).is_some()
    }

    /// Takes a complete listing that began at `begun`; newer writes of ours win over it.
    pub fn replace(&mut self, account_kind: AccountKind, begun: Timestamp, table: &[Field], accounts: Vec<Account>) {
        let old = self.slot(account_kind).take().unwrap_or_default();
        // Whoever was in doubt before the last listing has not asked it.
        self.doubted.retain(|(doubted, _), since| *doubted != account_kind || *since > old.begun);
        let written = old.written;
        let mut listing = Listing { begun, ..Listing::default() };
        for account in accounts {
            listing.insert(table, account);
        }
        for (id, (at, account)) in written.into_iter().filter(|(_, (at, _))| *at >= begun) {
            listing.write(table, &id, at, account);
        }
        *self.slot(account_kind) = Some(listing);
        self.wanted.remove(&account_kind);
        self.asked.retain(|_, asked| *asked + FORGOTTEN > begun);
    }

    /// Whether the listing of `subject` shows nothing at all.
    pub fn is_empty(&self, account_kind: AccountKind) -> bool {
        self.listing(account_kind).is_none_or(|listing| listing.accounts.is_empty())
    }

    /// Drops the listing of `subject`: there was none to be had at `asked`.
    pub fn forget(&mut self, account_kind: AccountKind, asked: Timestamp) {
        *self.slot(account_kind) = None;
        self.lacked.insert(account_kind, asked);
        self.wanted.remove(&account_kind);
    }

    /// Notes what we wrote; `None`: removed.
    pub fn wrote(&mut self, account_kind: AccountKind, table: &[Field], id: &str, account: Option<Account>) {
        if let Some((_, ids)) = self.proofs.get_mut(&account_kind).filter(|_| account.is_some()) {
            ids.insert(id.to_owned());
        }
        if let Some(listing) = self.slot(account_kind) {
            listing.write(table, id, Timestamp::now(), account);
        }
    }

    /// Notes what a read that began at `begun` showed, unless a later listing or write tells more.
    pub fn saw(&mut self, account_kind: AccountKind, table: &[Field], begun: Timestamp, account: &Account) {
        self.doubted.remove(&(account_kind, account.id.clone()));
        let Some(listing) = self.slot(account_kind) else { return };
        let written = listing.written.get(&account.id).is_some_and(|(at, _)| *at > begun);
        if listing.begun <= begun && !written {
            listing.write(table, &account.id, begun, Some(account.clone()));
        }
    }

    /// Notes which accounts a complete listing beside the sweeps showed.
    pub fn proves(&mut self, account_kind: AccountKind, begun: Timestamp, ids: impl Iterator<Item = String>) {
        self.proofs.insert(account_kind, (begun, ids.collect()));
    }

    /// Whether a young and complete listing lacks the account with this id.
    pub fn is_proved_gone(&self, account_kind: AccountKind, id: &str, now: Timestamp) -> bool {
        let is_young = |begun: Timestamp| begun + FRESH > now;
        let listed = self.listing(account_kind).filter(|listing| listing.refuted.is_empty() && is_young(listing.begun));
        let proof = self.proofs.get(&account_kind).filter(|(begun, _)| is_young(*begun));
        listed.is_some_and(|listing| !listing.accounts.contains_key(id))
            || proof.is_some_and(|(_, ids)| !ids.contains(id))
    }

    /// Notes that the account with this id is in doubt since `since`, and that the next sweep has to tell.
    pub fn doubt(&mut self, account_kind: AccountKind, id: &str, since: Timestamp) {
        self.doubted.entry((account_kind, id.to_owned())).or_insert(since);
        self.want(account_kind);
    }

    /// Whether any account waits for a sweep to tell of it, because a listing takes too long.
    pub fn is_slow(&self, account_kind: AccountKind) -> bool {
        let begun = self.begun(account_kind);
        self.doubted
            .iter()
            .any(|((doubted, _), since)| *doubted == account_kind && begun.is_none_or(|begun| begun < *since))
    }

    /// Whether the account with this id is there, by a complete listing that is young, or began after it was first in doubt, which
    /// ends the doubt. `None`: no listing tells.
    pub fn tells(&mut self, account_kind: AccountKind, id: &str, now: Timestamp) -> Option<bool> {
        if self.is_proved_gone(account_kind, id, now) {
            self.doubted.remove(&(account_kind, id.to_owned()));
            return Some(false);
        }
        let since = *self.doubted.get(&(account_kind, id.to_owned()))?;
        let listing =
            self.listing(account_kind).filter(|listing| listing.begun >= since && listing.refuted.is_empty())?;
        let is_there = listing.accounts.contains_key(id);
        self.doubted.remove(&(account_kind, id.to_owned()));
        Some(is_there)
    }

    /// The account with this id.
    pub fn get(&self, account_kind: AccountKind, id: &str) -> Option<&Account> {
        self.listing(account_kind)?.accounts.get(id)
    }

    /// The accounts that carry one of the natural keys of `desired`.
    pub fn matching(&self, account_kind: AccountKind, table: &[Field], desired: &Desired) -> Vec<Account> {
        let Some(listing) = self.listing(account_kind) else { return Vec::new() };
        let mut found: Vec<&Account> = Vec::new();
        for key in &desired.keys {
            let ids = listing.keys.get(&key.value.to_ascii_lowercase());
            let accounts = ids.into_iter().flatten().filter_map(|id| listing.accounts.get(id));
            found.extend(accounts.filter(|account| matches_key(table, account, key)));
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.dedup_by(|a, b| a.id == b.id);
        found.into_iter().cloned().collect()
    }

    /// Ids of the groups with this name.
    pub fn groups_named(&self, table: &[Field], name: &str) -> Vec<&Account> {
        let groups = self.groups.iter().flat_map(|listing| listing.accounts.values());
        groups.filter(|group| shown_key(table, group) == Some(name)).collect()
    }

    /// Notes that the vendor has an account with this key which the listing lacks: it no longer tells anyone that it is not there.
    pub fn refute(&mut self, account_kind: AccountKind, key: &str) {
        if let Some(listing) = self.slot(account_kind) {
            listing.refuted.insert(key.to_ascii_lowercase());
        }
    }

    /// Notes that the vendor refused to make an account with this key because it is there, and its words.
    pub fn refused(&mut self, account_kind: AccountKind, key: &str, words: &str, now: Timestamp) {
        self.refute(account_kind, key);
        self.unseen.insert((account_kind, key.to_ascii_lowercase()), (now, words.to_owned()));
    }

    /// The vendor's words, if it said within `interval` that an account with this key is there, which no look has shown since.
    pub fn unseen(
        &mut self,
        account_kind: AccountKind,
        key: &str,
        interval: SignedDuration,
        now: Timestamp,
    ) -> Option<String> {
        self.unseen.retain(|_, (said, _)| *said + interval > now);
        self.unseen.get(&(account_kind, key.to_ascii_lowercase())).map(|(_, words)| words.clone())
    }

    /// Notes that a look has shown an account with this key.
    pub fn shown(&mut self, account_kind: AccountKind, key: &str) {
        self.unseen.remove(&(account_kind, key.to_ascii_lowercase()));
    }

    /// Whether the listing can tell the object with this uid that no account with its `key` is there: young, or begun after it
    /// first asked.
    pub fn is_fresh(&mut self, account_kind: AccountKind, key: &str, uid: &str, now: Timestamp) -> bool {
        let asked = *self.asked.entry(uid.to_owned()).or_insert(now);
        let listing = self.listing(account_kind).filter(|listing| !listing.refuted.contains(&key.to_ascii_lowercase()));
        let fresh = listing.is_some_and(|listing| listing.begun >= asked || listing.begun + FRESH > now);
        if fresh {
            self.answered(uid);
        }
        fresh
    }

    /// The object with this uid has its answer: whatever it asks next is a new question.
    pub fn answered(&mut self, uid: &str) {
        self.asked.remove(uid);
    }

    /// When the listing of `subject` began.
    pub fn begun(&self, account_kind: AccountKind) -> Option<Timestamp> {
        self.listing(account_kind).map(|listing| listing.begun)
    }

    /// When a listing of `subject` was last asked for with an answer, if only that there is none.
    pub fn asked_at(&self, account_kind: AccountKind) -> Option<Timestamp> {
        self.begun(account_kind).or_else(|| self.lacked.get(&account_kind).copied())
    }

    /// Pages that a listing of `subject` costs, roughly.
    pub fn pages(&self, account_kind: AccountKind) -> usize {
        self.listing(account_kind).map_or(1, |listing| listing.accounts.len() / 1000 + 1)
    }

    /// Whether objects that no listing tells of have to look for themselves once more; said once per `interval`.
    pub fn is_look_due(&mut self, interval: SignedDuration, now: Timestamp) -> bool {
        let due = self.looked.is_none_or(|at| at + interval <= now + SignedDuration::from_secs(1));
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// Asks for a listing of `subject` with the next sweep.
    pub fn want(&mut self, account_kind: AccountKind) {
        self.wanted.insert(account_kind);
    }

    /// Whether someone waits for a listing of `subject`.
    pub fn is_wanted(&self, account_kind: AccountKind) -> bool {
        self.wanted.contains(&account_kind)
    }
}

impl Listing {
    fn insert(&mut self, table: &[Field], account: Account) {
        for key in keys(table, &account) {
            let ids = self.keys.entry(key.to_ascii_lowercase()).or_default();
            if !ids.contains(&account.id) {
                ids.push(account.id.clone());
            }
        }
        self.accounts.insert(account.id.clone(), account);
    }

    fn write(&mut self, table: &[Field], id: &str, at: Timestamp, account: Option<Account>) {
        match account.clone() {
            Some(account) => self.insert(table, account),
            None => {
                self.accounts.remove(id);
            }
        }
        self.written.insert(id.to_owned(), (at, account));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Compare, Key, KeySource};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn listed(begun: i64) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.replace(AccountKind::User, at(begun), &[], Vec::new());
        inventory
    }

    #[test]
    fn a_listing_answers_whoever_asked_before_it_began() {
        let mut inventory = listed(0);
        assert!(!inventory.is_fresh(AccountKind::User, "ada@example.com", "ada", at(60)));
        inventory.replace(AccountKind::User, at(61), &[], Vec::new());
        assert!(inventory.is_fresh(AccountKind::User, "ada@example.com", "ada", at(300)));
        assert!(
            !inventory.is_fresh(AccountKind::User, "ada@example.com", "ada", at(301)),
            "that was the answer to the first question only"
        );
    }

    fn ada(name: &str) -> Account {
        Account { id: "ada".into(), fields: [("name".to_owned(), name.into())].into(), ..Account::default() }
    }

    #[test]
    fn a_read_says_nothing_against_a_listing_that_began_after_it() {
        let mut inventory = Inventory::default();
        inventory.replace(AccountKind::User, at(10), &[], vec![ada("listed")]);
        inventory.saw(AccountKind::User, &[], at(9), &ada("read before"));
        assert_eq!(inventory.get(AccountKind::User, "ada"), Some(&ada("listed")));
        inventory.saw(AccountKind::User, &[], at(11), &ada("read after"));
        assert_eq!(inventory.get(AccountKind::User, "ada"), Some(&ada("read after")));
        inventory.replace(AccountKind::User, at(12), &[], vec![ada("listed again")]);
        assert_eq!(inventory.get(AccountKind::User, "ada"), Some(&ada("listed again")));
    }

    #[test]
    fn a_read_says_nothing_against_what_was_written_after_it() {
        let mut inventory = listed(0);
        inventory.wrote(AccountKind::User, &[], "ada", Some(ada("written")));
        inventory.saw(AccountKind::User, &[], at(11), &ada("read before"));
        assert_eq!(inventory.get(AccountKind::User, "ada"), Some(&ada("written")));
    }

    #[test]
    fn what_was_written_while_a_listing_went_on_is_not_lost_by_it() {
        let mut inventory = listed(0);
        inventory.wrote(AccountKind::User, &[], "ada", Some(ada("made")));
        inventory.replace(AccountKind::User, at(60), &[], Vec::new());
        assert_eq!(inventory.get(AccountKind::User, "ada"), Some(&ada("made")));
        inventory.replace(AccountKind::User, Timestamp::now() + SignedDuration::from_secs(1), &[], Vec::new());
        assert_eq!(inventory.get(AccountKind::User, "ada"), None);
    }

    #[test]
    fn one_listing_tells_many_that_they_are_gone_but_only_for_a_while() {
        let mut inventory = listed(0);
        assert!(!inventory.is_proved_gone(AccountKind::User, "ada", at(60)));
        inventory.proves(AccountKind::User, at(60), ["eve".to_owned()].into_iter());
        assert!(inventory.is_proved_gone(AccountKind::User, "ada", at(61)));
        inventory.wrote(AccountKind::User, &[], "bob", Some(ada("made since")));
        assert!(!inventory.is_proved_gone(AccountKind::User, "bob", at(61)));
        assert!(!inventory.is_proved_gone(AccountKind::User, "eve", at(61)));
        assert!(!inventory.is_proved_gone(AccountKind::Group, "ada", at(61)));
        assert!(!inventory.is_proved_gone(AccountKind::User, "ada", at(70)));
    }

    #[test]
    fn where_a_listing_takes_too_long_the_next_sweep_tells_who_is_gone() {
        let mut inventory = listed(0);
        inventory.doubt(AccountKind::User, "bob", at(60));
        inventory.doubt(AccountKind::User, "bob", at(90));
        assert!(
            inventory.is_slow(AccountKind::User)
                && !inventory.is_slow(AccountKind::Group)
                && inventory.is_wanted(AccountKind::User)
        );
        assert_eq!(inventory.tells(AccountKind::User, "bob", at(300)), None, "that sweep began before");
        inventory.replace(AccountKind::User, at(61), &[], vec![ada("listed")]);
        assert_eq!(inventory.tells(AccountKind::User, "bob", at(300)), Some(false));
        assert_eq!(inventory.tells(AccountKind::User, "bob", at(300)), None, "and only once");
        inventory.doubt(AccountKind::User, "ada", at(61));
        assert_eq!(inventory.tells(AccountKind::User, "ada", at(300)), Some(true));
        inventory.doubt(AccountKind::User, "eve", at(61));
        inventory.saw(AccountKind::User, &[], at(70), &Account { id: "eve".into(), ..Account::default() });
        assert_eq!(inventory.tells(AccountKind::User, "eve", at(300)), None, "it was read since");
    }

    #[test]
    fn what_a_listing_lacks_of_one_account_says_nothing_of_others() {
        let mut inventory = listed(60);
        inventory.refute(AccountKind::User, "Eve@example.com");
        assert!(!inventory.is_fresh(AccountKind::User, "eve@example.com", "eve", at(61)));
        assert!(inventory.is_fresh(AccountKind::User, "ada@example.com", "ada", at(61)));
    }

    #[test]
    fn what_is_there_unseen_is_not_tried_again_for_a_while() {
        let (mut inventory, interval) = (listed(60), SignedDuration::from_secs(600));
        let unseen = |inventory: &mut Inventory, key, now| inventory.unseen(AccountKind::User, key, interval, at(now));
        inventory.refused(AccountKind::User, "Eve@example.com", "she exists", at(60));
        assert!(!inventory.is_fresh(AccountKind::User, "eve@example.com", "eve", at(61)));
        inventory.replace(AccountKind::User, at(90), &[], Vec::new());
        assert_eq!(unseen(&mut inventory, "eve@example.com", 659).as_deref(), Some("she exists"));
        assert_eq!(unseen(&mut inventory, "ada@example.com", 659), None);
        assert_eq!(unseen(&mut inventory, "eve@example.com", 660), None);
        inventory.refused(AccountKind::User, "eve@example.com", "she exists", at(700));
        inventory.shown(AccountKind::User, "EVE@example.com");
        assert_eq!(unseen(&mut inventory, "eve@example.com", 701), None);
    }

    #[test]
    fn that_there_is_no_listing_is_not_asked_anew_each_time() {
        let mut inventory = Inventory::default();
        assert_eq!(inventory.asked_at(AccountKind::User), None);
        inventory.forget(AccountKind::User, at(60));
        assert_eq!((inventory.asked_at(AccountKind::User), inventory.has(AccountKind::User)), (Some(at(60)), false));
    }

    #[test]
    fn who_was_answered_by_a_call_of_his_own_asks_anew() {
        let mut inventory = listed(0);
        assert!(!inventory.is_fresh(AccountKind::User, "ada@example.com", "ada", at(60)));
        inventory.answered("ada");
        inventory.replace(AccountKind::User, at(61), &[], Vec::new());
        assert!(!inventory.is_fresh(AccountKind::User, "ada@example.com", "ada", at(300)));
    }

    #[test]
    fn a_listing_finds_accounts_by_whatever_the_vendor_calls_its_key() {
        const USERS: &[Field] = &[Field::fixed("login", Compare::Login).key(KeySource::Username)];
        let account = |id: &str, login: &str| Account {
            id: id.into(),
            fields: [("login".to_owned(), login.into())].into(),
            ..Account::default()
        };
        let mut index = Inventory::default();
        index.replace(AccountKind::User, at(60), USERS, vec![account("1", "ada"), account("2", "eve")]);
        let keys = vec![Key { field: "login", value: "eve".into() }];
        let found = index.matching(AccountKind::User, USERS, &Desired { keys, ..Desired::default() });
        assert_eq!(found, [account("2", "eve")]);
    }
}
