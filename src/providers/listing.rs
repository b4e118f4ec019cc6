//! One listing while it is read: each entry once, complete or not at all, and within bounds. It makes no call.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

use super::ProviderError;
use super::decode::unexpected_answer;
use crate::plan::{Account, Field, Key, matches_key};

/// The most entries of one listing: usher needs 32 bytes of memory for each, and the largest known tenants have 60,000.
pub const MOST_ENTRIES: usize = 200_000;
/// The most pages of one listing: 60,000 entries on pages of ten need 6,000.
const MOST_PAGES: usize = 10_000;
/// The most accounts that one search returns. More carry the same key only where the vendor does not search.
const MOST_FOUND: usize = 16;

/// Receives the entries of a listing one by one. An error ends the listing.
pub type Visit<'a, T = Account> = &'a mut (dyn FnMut(T) -> Result<(), ProviderError> + Send);

/// A listing that is being read. A server without a fixed order may show one entry on two pages and another on none: then the pages are
/// read once more, and both passes count together.
pub struct Listing<'a, T = Account> {
    said: &'static str,
    visit: Visit<'a, T>,
    /// Digests of the ids seen so far, which only this process can compute.
    seen: HashSet<u64>,
    digests: RandomState,
    /// Digests of the addresses of the pages of this pass.
    asked: HashSet<u64>,
    /// Entries of this pass.
    rows: usize,
    pages: usize,
    total: Option<usize>,
    is_second: bool,
}

impl<'a, T> Listing<'a, T> {
    /// A listing of which nothing is read yet. `said` begins its error messages; `visit` receives each entry once.
    #[must_use]
    pub fn new(said: &'static str, visit: Visit<'a, T>) -> Self {
        let (seen, asked, digests) = (HashSet::new(), HashSet::new(), RandomState::new());
        Self { said, visit, seen, digests, asked, rows: 0, pages: 0, total: None, is_second: false }
    }

    /// Counts a page before it is asked for.
    ///
    /// Errors: it is one too many.
    pub fn begin_page(&mut self) -> Result<(), ProviderError> {
        self.pages += 1;
        if self.pages > MOST_PAGES {
            return Err(too_many(self.said, &format!("more than {MOST_PAGES} pages")));
        }
        Ok(())
    }

    /// Takes the entry with this id; without `entry` it counts only.
    ///
    /// Errors: it is one too many, and those of the receiver.
    pub fn take(&mut self, id: &str, entry: Option<T>) -> Result<(), ProviderError> {
        self.rows += 1;
        if self.rows > MOST_ENTRIES {
            return Err(too_many(self.said, &format!("more than {MOST_ENTRIES} entries")));
        }
        let is_new = self.seen.insert(self.digests.hash_one(id));
        entry.filter(|_| is_new).map_or(Ok(()), |entry| (self.visit)(entry))
    }

    /// Whether the page at `address` was not asked for yet in this pass.
    pub fn follows(&mut self, address: &impl Hash) -> bool {
        self.asked.insert(self.digests.hash_one(address))
    }

    /// The number of entries in this pass.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes over the total that a page states.
    ///
    /// Errors: it shrank, because a removal moves an unread entry to a page that was read already.
    pub fn observe_total(&mut self, total: usize) -> Result<(), ProviderError> {
        match self.total.replace(total) {
            Some(before) if total < before => {
                Err(unexpected_answer(self.said, "a total that shrank while the listing was read"))
            }
            _ => Ok(()),
        }
    }

    /// Begins to read the same pages anew, because the first entries are decoded in another way by now.
    pub fn restart(&mut self) {
        self.rows = 0;
        self.asked.clear();
    }

    /// Ends a pass over all pages; true: the listing is complete. False: the pages are read once more.
    ///
    /// Errors: entries are missing, or the second pass has not shown them either.
    pub fn is_complete(&mut self) -> Result<bool, ProviderError> {
        let expected = self.total.unwrap_or(self.rows);
        if self.rows != expected {
            let what = format!("{} entries of {expected}: a listing that is not whole", self.rows);
            return Err(unexpected_answer(self.said, &what));
        }
        if self.seen.len() != expected && self.is_second {
            return Err(unexpected_answer(self.said, "the same account twice in one listing"));
        }
        self.is_second = true;
        self.restart();
        Ok(self.seen.len() == expected)
    }
}

impl Listing<'_> {
    /// Takes an account.
    ///
    /// Errors: those of [`Listing::take`].
    pub fn take_account(&mut self, account: Account) -> Result<(), ProviderError> {
        self.take(&account.id.clone(), Some(account))
    }
}

/// The error of a listing that is too large to hold.
fn too_many(said: &str, what: &str) -> ProviderError {
    ProviderError::answered(format!("{said} lists {what}, the most that usher reads: use a login that sees fewer"))
}

/// Collects the accounts of a search that carry one of its keys.
pub struct Found<'a> {
    table: &'a [Field],
    keys: &'a [Key],
    /// The accounts that carry a key.
    pub accounts: Vec<Account>,
    /// Whether every account so far carries one.
    pub is_exact: bool,
}

impl<'a> Found<'a> {
    /// Nothing yet, for `keys` as `table` compares them.
    #[must_use]
    pub fn new(table: &'a [Field], keys: &'a [Key]) -> Self {
        Self { table, keys, accounts: Vec::new(), is_exact: true }
    }

    /// Keeps `account` if it carries a key.
    ///
    /// Errors: too many accounts carry one.
    pub fn take(&mut self, account: Account) -> Result<(), ProviderError> {
        if !self.keys.iter().any(|key| matches_key(self.table, &account, key)) {
            self.is_exact = false;
            return Ok(());
        }
        if self.accounts.len() == MOST_FOUND {
            let key = self.keys.first().map_or("", |key| &key.value);
            let message = format!("more than {MOST_FOUND} accounts carry {key}: remove the surplus at the vendor");
            return Err(ProviderError::answered(message));
        }
        self.accounts.push(account);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids that were visited, and whether the listing became complete, after these passes of ids.
    fn read(total: Option<usize>, passes: &[&[&str]]) -> (Vec<String>, Result<bool, String>) {
        let mut visited = Vec::new();
        let mut visit = |id: String| {
            visited.push(id);
            Ok(())
        };
        let mut listing = Listing::new("/users", &mut visit);
        let mut end = Ok(false);
        for pass in passes {
            total.map_or(Ok(()), |total| listing.observe_total(total)).unwrap();
            pass.iter().try_for_each(|id| listing.take(id, Some((*id).to_owned()))).unwrap();
            end = listing.is_complete().map_err(|error| error.message);
        }
        (visited, end)
    }

    #[test]
    fn each_entry_is_visited_once() {
        assert_eq!(read(Some(2), &[&["a", "b"]]), (vec!["a".into(), "b".into()], Ok(true)));
    }

    #[test]
    fn overlapping_pages_are_read_once_more_and_joined() {
        let passes: &[&[&str]] = &[&["a", "b", "a"], &["c", "b", "b"]];
        assert_eq!(read(Some(3), &passes[..1]).1, Ok(false));
        assert_eq!(read(Some(3), passes), (vec!["a".into(), "b".into(), "c".into()], Ok(true)));
    }

    #[test]
    fn a_listing_that_repeats_itself_twice_proves_nothing() {
        let (_, end) = read(Some(3), &[&["a", "b", "a"], &["a", "b", "b"]]);
        assert!(end.unwrap_err().contains("the same account twice"));
        let (_, end) = read(None, &[&["a", "a"], &["a", "a"]]);
        assert!(end.unwrap_err().contains("the same account twice"));
    }

    #[test]
    fn a_listing_that_lacks_rows_proves_nothing() {
        assert!(read(Some(3), &[&["a", "b"]]).1.unwrap_err().contains("2 entries of 3"));
    }

    #[test]
    fn a_listing_whose_total_shrinks_is_rejected() {
        let mut visit = |(): ()| Ok(());
        let mut listing = Listing::new("/users", &mut visit);
        listing.observe_total(1500).unwrap();
        listing.observe_total(1501).unwrap();
        assert!(listing.observe_total(1500).unwrap_err().message.contains("shrank"));
    }

    #[test]
    fn an_endless_listing_ends_with_the_number_and_the_way_out() {
        let mut visit = |(): ()| Ok(());
        let mut listing = Listing::new("/users", &mut visit);
        let end = (0..=MOST_ENTRIES).find_map(|number| listing.take(&number.to_string(), None).err());
        assert_eq!(
            end.unwrap().message,
            "/users lists more than 200000 entries, the most that usher reads: use a login that sees fewer"
        );
        let mut listing = Listing::new("/users", &mut visit);
        let end = (0..=MOST_PAGES).find_map(|_| listing.begin_page().err());
        assert!(end.unwrap().message.contains("more than 10000 pages"));
    }
}
