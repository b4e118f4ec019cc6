//! A complete listing of the accounts of one kind, kept true by usher's own writes and by later reads. It calls no vendor.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::evidence::is_within;
use crate::plan::{Account, Desired, Field, fold, keys, matches_key};

/// A listing proves that an account is absent for this long after it began.
const PROOF: SignedDuration = SignedDuration::from_secs(10);

/// A complete listing.
pub struct Listing {
    /// When it began.
    pub begun: Timestamp,
    accounts: HashMap<String, Account>,
    /// Ids by natural key in lower case; several accounts may share a key.
    ids: HashMap<String, Vec<String>>,
    /// Changes by id, because a listing shows no change that came after it began.
    changes: HashMap<String, Change>,
    /// Natural keys in lower case whose accounts exist, as the vendor reported, although the listing lacks them.
    lacking: HashSet<String>,
}

/// An account after an own write or a read; `None`: it was removed.
struct Change {
    at: Timestamp,
    account: Option<Account>,
    /// Whether the vendor showed it.
    is_shown: bool,
}

/// The ids in a complete listing that was made for one object, beside the sweeps.
pub struct ListedIds {
    /// When the listing began.
    pub begun: Timestamp,
    /// The ids.
    pub ids: HashSet<String>,
}

impl ListedIds {
    /// Whether the account with this id is listed, if the listing is recent.
    pub fn shows_recently(&self, id: &str, now: Timestamp) -> Option<bool> {
        is_within(self.begun, PROOF, now).then(|| self.ids.contains(id))
    }
}

impl Listing {
    /// The listing that began at `begun` and showed `accounts`.
    pub fn new(begun: Timestamp, table: &[Field], accounts: Vec<Account>) -> Self {
        let (ids, changes, lacking) = (HashMap::new(), HashMap::new(), HashSet::new());
        let mut listing = Self { begun, accounts: HashMap::new(), ids, changes, lacking };
        accounts.into_iter().for_each(|account| listing.insert(table, account));
        listing
    }

    /// Takes over the changes in the listing before that came after this one began.
    pub fn take_over(&mut self, table: &[Field], before: Self) {
        let begun = self.begun;
        for (id, change) in before.changes.into_iter().filter(|(_, change)| change.at >= begun) {
            self.change(table, &id, change);
        }
    }

    /// Records an own write; `None`: the account was removed.
    pub fn record_write(&mut self, table: &[Field], id: &str, account: Option<Account>) {
        self.change(table, id, Change { at: Timestamp::now(), account, is_shown: false });
    }

    /// Records a read that began at `begun`, unless this listing began later or a later change is known.
    pub fn record_read(&mut self, table: &[Field], begun: Timestamp, account: &Account) {
        let is_changed = self.changes.get(&account.id).is_some_and(|change| change.at > begun);
        if self.begun <= begun && !is_changed {
            self.change(table, &account.id, Change { at: begun, account: Some(account.clone()), is_shown: true });
        }
    }

    /// Records that the vendor reported an account with this key which the listing lacks.
    pub fn record_lacking(&mut self, key: &str) {
        self.lacking.insert(fold(key));
    }

    /// Whether it began so recently that it proves absence.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        is_within(self.begun, PROOF, now)
    }

    /// Whether it answers a question that was asked at `since`: only a listing that began later does.
    pub fn answers(&self, since: Timestamp) -> bool {
        self.begun >= since
    }

    /// Whether the vendor reported an account with this key which the listing lacks.
    pub fn lacks(&self, key: &str) -> bool {
        self.lacking.contains(&fold(key))
    }

    /// Whether it shows the account with this id; `None` if it lacks an account that the vendor reported, because the account with
    /// this id may be that one.
    pub fn shows(&self, id: &str) -> Option<bool> {
        self.lacking.is_empty().then(|| self.accounts.contains_key(id))
    }

    /// The account with this id.
    pub fn get(&self, id: &str) -> Option<&Account> {
        self.accounts.get(id)
    }

    /// Whether the vendor showed the account with this id as it is here, and it is not only as usher wrote it.
    pub fn is_shown(&self, id: &str) -> bool {
        self.changes.get(id).is_none_or(|change| change.is_shown)
    }

    /// All accounts.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = &Account> {
        self.accounts.values()
    }

    /// The accounts that carry one of the natural keys of `desired`, by id.
    pub fn matching(&self, table: &[Field], desired: &Desired) -> Vec<Account> {
        let mut found: Vec<&Account> = Vec::new();
        for key in &desired.keys {
            let ids = self.ids.get(&fold(&key.value));
            let accounts = ids.into_iter().flatten().filter_map(|id| self.accounts.get(id));
            found.extend(accounts.filter(|account| matches_key(table, account, key)));
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.dedup_by(|a, b| a.id == b.id);
        found.into_iter().cloned().collect()
    }

    fn insert(&mut self, table: &[Field], account: Account) {
        for key in keys(table, &account) {
            let ids = self.ids.entry(fold(key)).or_default();
            if !ids.contains(&account.id) {
                ids.push(account.id.clone());
            }
        }
        self.accounts.insert(account.id.clone(), account);
    }

    fn change(&mut self, table: &[Field], id: &str, change: Change) {
        match change.account.clone() {
            Some(account) => self.insert(table, account),
            None => drop(self.accounts.remove(id)),
        }
        self.changes.insert(id.to_owned(), change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Compare, Key, KeySource};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn ada(name: &str) -> Account {
        Account { id: "ada".into(), fields: [("name".to_owned(), name.into())].into(), ..Account::default() }
    }

    #[test]
    fn an_account_that_was_removed_is_listed_no_more() {
        let mut listing = Listing::new(at(0), &[], vec![ada("listed")]);
        listing.record_write(&[], "ada", None);
        let mut next = Listing::new(at(60), &[], vec![ada("removed meanwhile")]);
        next.take_over(&[], listing);
        assert_eq!((next.get("ada"), next.shows("ada")), (None, Some(false)));
    }

    #[test]
    fn a_listing_that_lacks_a_reported_account_proves_no_absence() {
        let mut listing = Listing::new(at(0), &[], vec![ada("listed")]);
        assert_eq!((listing.shows("ada"), listing.shows("eve")), (Some(true), Some(false)));
        listing.record_lacking("Eve@example.com");
        assert!(listing.lacks("eve@EXAMPLE.com") && !listing.lacks("ada@example.com"));
        assert_eq!((listing.shows("ada"), listing.shows("eve")), (None, None));
    }

    #[test]
    fn a_listing_finds_accounts_by_whatever_the_vendor_calls_its_key() {
        const USERS: &[Field] = &[Field::fixed("login", Compare::Login).key(KeySource::Username)];
        let account = |id: &str, login: &str| Account {
            id: id.into(),
            fields: [("login".to_owned(), login.into())].into(),
            ..Account::default()
        };
        let listing = Listing::new(at(60), USERS, vec![account("1", "ada"), account("2", "eve")]);
        let keys = vec![Key { field: "login", value: "eve".into() }];
        assert_eq!(listing.matching(USERS, &Desired { keys, ..Desired::default() }), [account("2", "eve")]);
    }

    #[test]
    fn a_listing_is_recent_for_ten_seconds() {
        let listing = Listing::new(at(60), &[], Vec::new());
        assert!(listing.is_recent(at(69)) && !listing.is_recent(at(70)));
    }
}
