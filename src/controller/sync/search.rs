//! The search for accounts with the manifest's natural key: from a recent listing, or by a call of its own.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::known::Matches;
use crate::controller::outcome::Stop;
use crate::controller::resolve::listing;
use crate::plan::{Account, AccountKind};

/// Accounts on one page of a listing, roughly.
const PAGE: usize = 1000;

impl<K: Managed> Reconciliation<'_, K> {
    /// The accounts with a natural key of the manifest. Users are searched in a recent listing. A call of its own is made for groups,
    /// because their names are not unique, after a pending create, and where no listing is recent.
    ///
    /// Errors: a listing was asked for; the vendor did not answer.
    pub async fn search(&self) -> Result<Vec<Account>, Stop> {
        let is_pending = self.identity.creating.is_some();
        let by_listing = K::ACCOUNT_KIND == AccountKind::User && !is_pending;
        if by_listing && let Some(Matches { accounts, has_others }) = self.in_recent_listing() {
            return if has_others { Err(self.ask_for_listing()) } else { Ok(accounts) };
        }
        if by_listing && self.is_listing_cheaper() {
            return Err(self.ask_for_listing());
        }
        self.connection.inventory().end_search(K::ACCOUNT_KIND, &self.uid());
        if is_pending {
            return Ok(self.connection.search_exhaustively(K::ACCOUNT_KIND, &self.desired).await?);
        }
        let found = self.connection.provider.find(K::ACCOUNT_KIND, &self.desired).await?;
        if by_listing && found.is_empty() && self.matching() != Matches::default() {
            // It is gone since, or the vendor's search is sensitive to case.
            return Err(self.ask_for_listing());
        }
        Ok(found)
    }

    /// The accounts in the inventory, if its listing is recent enough to prove that there are no others.
    fn in_recent_listing(&self) -> Option<Matches> {
        let (key, now) = (self.desired.key(), Timestamp::now());
        let is_recent = self.connection.inventory().is_recent_for(K::ACCOUNT_KIND, key, &self.uid(), now);
        is_recent.then(|| self.matching())
    }

    fn matching(&self) -> Matches {
        let table = self.connection.table(K::ACCOUNT_KIND);
        self.connection.inventory().matching(K::ACCOUNT_KIND, table, &self.desired.keys)
    }

    /// Whether one listing costs less than a search for each object that waits, and does not fail.
    fn is_listing_cheaper(&self) -> bool {
        let pages = self.connection.inventory().count(K::ACCOUNT_KIND) / PAGE + 1;
        let waiting = self.connection.limiter.queued_creates() + self.context.backlog.of(&self.connection.key);
        let is_cheaper = waiting > pages && self.connection.last_failure().is_none();
        is_cheaper || !self.connection.provider.capabilities().filter
    }

    fn ask_for_listing(&self) -> Stop {
        listing::ask_for_listing(self.context, &*self.object, &self.connection, K::ACCOUNT_KIND)
    }

    fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }
}
