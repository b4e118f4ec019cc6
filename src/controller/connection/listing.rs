//! A complete listing of the accounts of one kind, kept true by usher's own writes and by later reads. It calls no vendor.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::evidence::is_within;
use super::known::{Asked, Known, Matches, digest};
use crate::plan::{Account, Field, Key, fold};
use crate::providers::ProviderError;

/// A listing proves that an account is absent for this long after it began.
const PROOF: SignedDuration = SignedDuration::from_secs(10);

/// A complete listing.
pub struct Listing {
    /// When it began.
    pub begun: Timestamp,
    known: Known,
    /// Changes by id, because a listing shows no change that came after it began.
    changes: HashMap<String, Change>,
    /// Natural keys in lower case whose accounts exist, as the vendor reported, although the listing lacks them.
    lacking: HashSet<String>,
}

/// When an account was written or read, and whether it was there then.
struct Change {
    at: Timestamp,
    is_there: bool,
    /// Whether the vendor showed it.
    is_shown: bool,
}

/// The ids in a complete listing that was made for one object, beside the sweeps.
pub struct ListedIds {
    /// When the listing began.
    pub begun: Timestamp,
    /// Digests of the ids.
    pub ids: HashSet<u64>,
}

impl ListedIds {
    /// Whether the account with this id is listed, if the listing is recent.
    pub fn shows_recently(&self, id: &str, now: Timestamp) -> Option<bool> {
        is_within(self.begun, PROOF, now).then(|| self.ids.contains(&digest(id)))
    }
}

impl Listing {
    /// The listing that began at `begun`, without its accounts.
    pub fn new(begun: Timestamp) -> Self {
        Self { begun, known: Known::default(), changes: HashMap::new(), lacking: HashSet::new() }
    }

    /// Adds an account that is listed. Those that objects ask for are kept whole.
    ///
    /// Errors: there is no room for it.
    pub fn add(&mut self, table: &[Field], asked: &Asked, account: Account) -> Result<(), ProviderError> {
        self.known.list(table, asked, account).map_err(|full| ProviderError::answered(full.to_string()))
    }

    /// Takes over the changes in the listing before that came after this one began.
    pub fn take_over(&mut self, table: &[Field], before: Self) {
        let begun = self.begun;
        for (id, change) in before.changes.into_iter().filter(|(_, change)| change.at >= begun) {
            let account = before.known.get(&id).filter(|_| change.is_there);
            self.change(table, &id, (change.at, change.is_shown), account);
        }
    }

    /// Records an own write; `None`: the account was removed.
    pub fn record_write(&mut self, table: &[Field], id: &str, account: Option<Account>) {
        self.change(table, id, (Timestamp::now(), false), account);
    }

    /// Records a read that began at `begun`, unless this listing began later or a later change is known.
    pub fn record_read(&mut self, table: &[Field], begun: Timestamp, account: &Account) {
        let is_changed = self.changes.get(&account.id).is_some_and(|change| change.at > begun);
        if self.begun <= begun && !is_changed {
            self.change(table, &account.id, (begun, true), Some(account.clone()));
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
        self.lacking.is_empty().then(|| self.known.shows(id))
    }

    /// Whether it has the account with this id.
    pub fn has(&self, id: &str) -> bool {
        self.known.shows(id)
    }

    /// Whether the vendor showed the account with this id as it is here, and it is not only as usher wrote it.
    pub fn is_shown(&self, id: &str) -> bool {
        self.changes.get(id).is_none_or(|change| change.is_shown)
    }

    /// The account with this id, if it is kept whole.
    pub fn get(&self, id: &str) -> Option<Account> {
        self.known.get(id)
    }

    /// The number of accounts.
    pub fn count(&self) -> usize {
        self.known.count()
    }

    /// The accounts that carry one of `keys`.
    pub fn matching(&self, table: &[Field], keys: &[Key]) -> Matches {
        self.known.matching(table, keys)
    }

    fn change(&mut self, table: &[Field], id: &str, (at, is_shown): (Timestamp, bool), account: Option<Account>) {
        self.changes.insert(id.to_owned(), Change { at, is_there: account.is_some(), is_shown });
        match account {
            // The account of an own object is kept even where a listing would find no room.
            Some(account) => drop(self.known.keep(table, account)),
            None => self.known.remove(table, id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Compare, KeySource};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn listing(begun: i64, table: &[Field], accounts: Vec<Account>) -> Listing {
        let mut listing = Listing::new(at(begun));
        accounts.into_iter().for_each(|account| listing.add(table, &Asked::default(), account).unwrap());
        listing
    }

    fn ada(name: &str) -> Account {
        Account { id: "ada".into(), fields: [("name".to_owned(), name.into())].into(), ..Account::default() }
    }

    #[test]
    fn an_account_that_was_removed_is_listed_no_more() {
        let mut one = listing(0, &[], vec![ada("listed")]);
        one.record_write(&[], "ada", None);
        let mut next = listing(60, &[], vec![ada("removed meanwhile")]);
        next.take_over(&[], one);
        assert_eq!((next.get("ada"), next.shows("ada")), (None, Some(false)));
    }

    #[test]
    fn a_listing_that_lacks_a_reported_account_proves_no_absence() {
        let mut one = listing(0, &[], vec![ada("listed")]);
        assert_eq!((one.shows("ada"), one.shows("eve")), (Some(true), Some(false)));
        one.record_lacking("Eve@example.com");
        assert!(one.lacks("eve@EXAMPLE.com") && !one.lacks("ada@example.com"));
        assert_eq!((one.shows("ada"), one.shows("eve")), (None, None));
    }

    #[test]
    fn a_listing_finds_accounts_by_whatever_the_vendor_calls_its_key() {
        const USERS: &[Field] = &[Field::fixed("login", Compare::Login).key(KeySource::Username)];
        let account = |id: &str, login: &str| Account {
            id: id.into(),
            fields: [("login".to_owned(), login.into())].into(),
            ..Account::default()
        };
        let one = listing(60, USERS, vec![account("1", "ada"), account("2", "eve")]);
        let keys = [Key { field: "login", value: "eve".into() }];
        assert_eq!(one.matching(USERS, &keys), Matches { accounts: vec![account("2", "eve")], has_others: false });
    }

    #[test]
    fn a_listing_is_recent_for_ten_seconds() {
        let one = listing(60, &[], Vec::new());
        assert!(one.is_recent(at(69)) && !one.is_recent(at(70)));
    }
}
