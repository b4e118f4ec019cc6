//! The accounts of one kind in the least memory: of every account digests of its id and natural keys, and only of those that objects ask
//! for the whole account. It calls no vendor.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::plan::{Account, Field, Key, fold, keys, matches_key, naming_fields};

/// The most memory for the accounts of all credentials of the process, in bytes: four vendors with 60,000 accounts each need 20 MiB, and
/// 10,000 accounts of objects 10 MiB; while a listing is read, the one before it is there too.
const ROOM: usize = 64 << 20;
/// The most memory for the accounts of one listing, in bytes, so that one vendor leaves room for the others: 60,000 accounts of others need
/// 4 MiB, and 10,000 accounts of objects 10 MiB.
const SHARE: usize = 24 << 20;
/// The memory of one digest in a hash table, in bytes.
const DIGEST: usize = 20;
/// The memory of one whole account beside its text, in bytes.
const ENTRY: usize = 128;
/// The largest account that is kept whole, in bytes; of a larger one only its names are.
const LARGEST: usize = 16 << 10;
/// Accounts that no object asks for are kept whole as long as a listing needs no more than this, in bytes: objects that come later find
/// them without another listing.
const SPARE: usize = 256 << 10;

/// The memory that the accounts of all credentials need now, in bytes.
static USED: AtomicUsize = AtomicUsize::new(0);

/// A digest of an id, or of a natural key in lower case. Nobody else can compute it, so that nobody can make two that are equal.
pub fn digest(text: &str) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(text)
}

/// The ids and names that objects ask for, as digests.
#[derive(Default)]
pub struct Asked(HashSet<u64>);

impl<'a> Extend<&'a str> for Asked {
    fn extend<T: IntoIterator<Item = &'a str>>(&mut self, names: T) {
        for name in names {
            self.0.extend([digest(name), digest(&fold(name))]);
        }
    }
}

/// The accounts of a credential, or of the whole process, need too much memory.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the accounts need more memory than usher has for them, {} MiB for one credential and {} MiB for all: use a login that sees fewer",
    SHARE >> 20,
    ROOM >> 20
)]
pub struct NoRoom;

/// The accounts with a key.
#[derive(Debug, Default, PartialEq)]
pub struct Matches {
    /// Those that are kept whole, by id.
    pub accounts: Vec<Account>,
    /// Whether there are others.
    pub has_others: bool,
}

/// Accounts of one kind.
#[derive(Default)]
pub struct Known {
    /// Digests of all ids.
    ids: HashSet<u64>,
    /// Whole accounts as JSON, by id.
    whole: HashMap<String, Box<[u8]>>,
    /// Ids of whole accounts, by digest of natural key.
    by_key: HashMap<u64, Vec<String>>,
    /// Digests of natural keys of the other accounts.
    others: HashSet<u64>,
    room: Room,
}

/// Memory that is counted in `USED`.
#[derive(Default)]
struct Room(usize);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let used = USED.fetch_add(bytes, Ordering::Relaxed);
        self.0 += bytes;
        if used + bytes > ROOM || self.0 > SHARE { Err(NoRoom) } else { Ok(()) }
    }

    fn give(&mut self, bytes: usize) {
        USED.fetch_sub(bytes, Ordering::Relaxed);
        self.0 -= bytes;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        USED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl Known {
    /// Adds a listed account: whole if an object asks for it, if it may make its members administrators, or while there is room to spare.
    ///
    /// Errors: there is no room for it.
    pub fn list(&mut self, table: &[Field], asked: &Asked, account: Account) -> Result<(), NoRoom> {
        let is_asked = |name: &str| asked.0.contains(&digest(name));
        let is_named = keys(table, &account).any(|key| is_asked(&fold(key)));
        let is_kept = is_named || is_asked(&account.id) || account.privileged.is_some();
        if is_kept || self.room.0 < SPARE {
            return self.keep(table, account);
        }
        for key in keys(table, &account) {
            self.room.take(DIGEST)?;
            self.others.insert(digest(&fold(key)));
        }
        self.room.take(DIGEST)?;
        self.ids.insert(digest(&account.id));
        Ok(())
    }

    /// Adds an account whole, in place of what is known of it.
    ///
    /// Errors: there is no room for it, although it was added.
    pub fn keep(&mut self, table: &[Field], account: Account) -> Result<(), NoRoom> {
        self.remove(table, &account.id);
        let text = |account: &Account| serde_json::to_vec(account).unwrap_or_default().into_boxed_slice();
        let mut whole = text(&account);
        if whole.len() > LARGEST {
            whole = text(&names_of(table, &account));
        }
        let room = self.room.take(size(&account.id, &whole));
        for key in keys(table, &account) {
            self.by_key.entry(digest(&fold(key))).or_default().push(account.id.clone());
        }
        self.ids.insert(digest(&account.id));
        self.whole.insert(account.id, whole);
        room
    }

    /// Removes an account.
    pub fn remove(&mut self, table: &[Field], id: &str) {
        self.ids.remove(&digest(id));
        let Some(account) = self.get(id) else { return };
        for key in keys(table, &account) {
            if let Some(ids) = self.by_key.get_mut(&digest(&fold(key))) {
                ids.retain(|other| other != id);
            }
        }
        let whole = self.whole.remove(id).unwrap_or_default();
        self.room.give(size(id, &whole));
    }

    /// The number of accounts.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is an account with this id.
    pub fn shows(&self, id: &str) -> bool {
        self.ids.contains(&digest(id))
    }

    /// The account with this id, if it is kept whole.
    pub fn get(&self, id: &str) -> Option<Account> {
        serde_json::from_slice(self.whole.get(id)?).ok()
    }

    /// The accounts that carry one of `keys`.
    pub fn matching(&self, table: &[Field], keys: &[Key]) -> Matches {
        let Matches { mut accounts, mut has_others } = Matches::default();
        for key in keys {
            let digest = digest(&fold(&key.value));
            has_others |= self.others.contains(&digest);
            let found = self.by_key.get(&digest).into_iter().flatten().filter_map(|id| self.get(id));
            accounts.extend(found.filter(|account| matches_key(table, account, key)));
        }
        accounts.sort_by(|one, other| one.id.cmp(&other.id));
        accounts.dedup_by(|one, other| one.id == other.id);
        Matches { accounts, has_others }
    }
}

/// The id, names and rights of an account that is too large to be kept whole. What it lacks is read where it is needed.
fn names_of(table: &[Field], account: &Account) -> Account {
    let named = naming_fields(table).filter_map(|name| account.fields.get_key_value(name));
    let fields = named.map(|(name, value)| (name.clone(), value.clone())).collect();
    Account { fields, groups: None, roles: [].into(), in_use: None, ..account.clone() }
}

/// The memory of a whole account, in bytes.
fn size(id: &str, whole: &[u8]) -> usize {
    ENTRY + 2 * id.len() + whole.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Compare, KeySource};

    const TABLE: &[Field] =
        &[Field::new("email", Compare::FoldCase).key(KeySource::Email), Field::new("phone", Compare::Exact)];

    fn account(id: &str, email: &str, phone: &str) -> Account {
        let fields = [("email".to_owned(), json!(email)), ("phone".to_owned(), json!(phone))].into();
        Account { id: id.into(), fields, groups: Some([].into()), ..Account::default() }
    }

    fn asked(names: &[&str]) -> Asked {
        let mut asked = Asked::default();
        asked.extend(names.iter().copied());
        asked
    }

    /// A listing without room to spare.
    fn full() -> Known {
        let mut known = Known::default();
        known.room.take(SPARE).unwrap();
        known
    }

    fn key(email: &str) -> Key {
        Key { field: "email", value: email.into() }
    }

    #[test]
    fn an_account_that_objects_ask_for_is_kept_whole() {
        let mut known = full();
        let asked = asked(&["2", "ADA@example.com"]);
        let accounts = [
            account("1", "ada@Example.com", "1"),
            account("2", "eve@example.com", "2"),
            account("3", "bob@example.com", "3"),
        ];
        accounts.iter().for_each(|account| known.list(TABLE, &asked, account.clone()).unwrap());
        assert_eq!(accounts.each_ref().map(|account| known.get(&account.id).is_some()), [true, true, false]);
        assert_eq!(known.get("1"), Some(accounts[0].clone()));
        assert_eq!(known.count(), 3);
        assert!(known.shows("3") && !known.shows("4"));
    }

    #[test]
    fn a_key_tells_whether_there_are_accounts_that_are_not_kept() {
        let mut known = full();
        known.list(TABLE, &Asked::default(), account("3", "Bob@example.com", "3")).unwrap();
        known.keep(TABLE, account("1", "ada@example.com", "1")).unwrap();
        let ada = Matches { accounts: vec![account("1", "ada@example.com", "1")], has_others: false };
        assert_eq!(known.matching(TABLE, &[key("ADA@example.com")]), ada);
        assert_eq!(known.matching(TABLE, &[key("bob@example.com")]), Matches { accounts: vec![], has_others: true });
        assert_eq!(known.matching(TABLE, &[key("eve@example.com")]), Matches { accounts: vec![], has_others: false });
    }

    #[test]
    fn a_removed_account_is_found_no_more() {
        let mut known = Known::default();
        known.keep(TABLE, account("1", "ada@example.com", "1")).unwrap();
        known.keep(TABLE, account("1", "ada.l@example.com", "1")).unwrap();
        assert_eq!(known.matching(TABLE, &[key("ada@example.com")]).accounts, []);
        known.remove(TABLE, "1");
        assert!(!known.shows("1") && known.matching(TABLE, &[key("ada.l@example.com")]).accounts.is_empty());
        assert_eq!(known.room.0, 0);
    }

    #[test]
    fn of_a_very_large_account_only_the_names_are_kept() {
        let mut known = Known::default();
        known.keep(TABLE, account("1", "ada@example.com", &"1".repeat(LARGEST))).unwrap();
        let kept = known.get("1").unwrap();
        assert_eq!((kept.text("email"), kept.text("phone"), &kept.groups), (Some("ada@example.com"), None, &None));
    }

    #[test]
    fn sixty_thousand_accounts_of_others_need_four_mebibytes() {
        let mut known = full();
        for number in 0..60_000 {
            let account = account(&number.to_string(), &format!("user{number}@example.com"), "1");
            known.list(TABLE, &Asked::default(), account).unwrap();
        }
        assert!(known.room.0 - SPARE <= 4 << 20, "{}", known.room.0);
        assert!(known.shows("59999") && known.get("59999").is_none());
    }
}
