//! The sweep: one listing of all accounts of a credential, which answers find-before-create and drift for all its objects. It drops an
//! incomplete listing as a whole.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::FutureExt;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::api::PlatformUser;
use crate::api::user::GroupEntry;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::known::Asked;
use crate::controller::connection::link::Connection;
use crate::controller::connection::listing::Listing;
use crate::controller::connection::retry;
use crate::controller::connection::session::Failure;
use crate::controller::context::Context;
use crate::plan::AccountKind;
use crate::providers::{ErrorKind, Limiter, Priority, ProviderError};

/// Longest time for one sweep. The sweep of a large tenant at a low rate takes many minutes.
const LONGEST: Duration = Duration::from_mins(30);

/// What a sweep would list now.
pub enum Due {
    /// Nothing; whether that ends the waiting of objects for a listing that failed.
    Nothing {
        /// It does.
        is_over: bool,
    },
    /// These kinds.
    Kinds(Vec<AccountKind>),
}

/// The kinds whose listing is due or requested. A failed sweep is not repeated before the retry time, unless it is `forced` by annotation.
pub fn due(context: &Context, connection: &Connection, forced: bool) -> Due {
    if !forced && connection.last_failure().is_some_and(|last_failure| last_failure.until > Timestamp::now()) {
        return Due::Nothing { is_over: false };
    }
    let kinds = [AccountKind::Group, AccountKind::User].into_iter();
    let kinds: Vec<_> = kinds.filter(|account_kind| is_due(context, connection, *account_kind, forced)).collect();
    if !kinds.is_empty() {
        return Due::Kinds(kinds);
    }
    // No object needs the failed listing any more. Where nothing is listed, the failure is that of a create and remains.
    let is_over = connection.provider.capabilities().shows_accounts() && connection.last_failure().is_some();
    Due::Nothing { is_over: is_over && connection.set_failure(None).is_some() }
}

/// Lists `kinds`, and returns whether the objects have to be reconciled. A failed sweep leaves the inventory as it was. `asked` is what
/// objects ask for.
pub async fn run(connection: Arc<Connection>, kinds: Vec<AccountKind>, asked: Asked) -> bool {
    let mut has_news = false;
    let Err(error) = within(LONGEST, list(&connection, &kinds, &asked, &mut has_news)).await else {
        connection.backoff.reset(&connection.key);
        connection.set_failure(None);
        return true;
    };
    warn!(credential = %connection.key, "the sweep failed: {error}");
    let until = retry::retry_at(&connection.backoff, &connection.key, &connection.spec, &error);
    connection.set_failure(Some(Failure { error, until })).is_none() || has_news
}

/// Runs `listing` for at most `limit`. Edits and removals go between its calls.
///
/// Errors: those of `listing`; it did not end in time, or panicked.
async fn within(
    limit: Duration,
    listing: impl Future<Output = Result<(), ProviderError>>,
) -> Result<(), ProviderError> {
    let late = "the listing of all accounts did not end within half an hour; raise spec.requests.perMinute";
    let panicked = "usher failed when it read the listing of all accounts; its log has the place";
    let listing = AssertUnwindSafe(Limiter::each(Priority::Background, listing)).catch_unwind();
    match tokio::time::timeout(limit, listing).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(_)) => Err(ProviderError::lost(panicked.to_owned())),
        Err(_) => Err(ProviderError::lost(late.to_owned())),
    }
}

/// Lists the kinds that are `due`, and keeps each complete listing; then `has_news` is true.
///
/// Errors: the first of the provider.
async fn list(
    connection: &Connection,
    due: &[AccountKind],
    asked: &Asked,
    has_news: &mut bool,
) -> Result<(), ProviderError> {
    let catalog = connection.provider.catalog().await?;
    connection.inventory().set_catalog(catalog);
    let mut failed = None;
    for account_kind in due {
        let (begun, table) = (Timestamp::now(), connection.table(*account_kind));
        let mut listing = Listing::new(begun);
        let mut take = |account| listing.add(table, asked, account);
        let listed = connection.provider.list(*account_kind, &mut take).await;
        if !connection.provider.capabilities().lists(*account_kind) {
            // That is no failure: this server has no call for it, and users are read one by one.
            info!(credential = %connection.key, "the server lists no users");
            connection.inventory().set_no_listing(*account_kind, begun);
            continue;
        }
        match listed {
            Ok(()) => {}
            // Missing rights on groups must not prevent the listing of users.
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                failed = failed.or(Some(error));
                continue;
            }
            Err(error) => return Err(error),
        }
        *has_news = true;
        info!(credential = %connection.key, %account_kind, count = listing.count(), "swept");
        connection.inventory().set_listing(*account_kind, table, listing, connection.spec.resync_interval());
    }
    failed.map_or(Ok(()), Err)
}

/// The ids and names that objects of the credential ask for, and those of privileged groups.
pub fn asked(context: &Context, connection: &Connection) -> Asked {
    let (mut asked, using) = (Asked::default(), IndexKey::Credential(connection.key.clone()));
    asked.extend(connection.spec.privileged.iter().flatten().map(String::as_str));
    for user in context.cluster.users.by_index(std::slice::from_ref(&using), |_| true) {
        ask(&mut asked, &*user);
        asked.extend(user.spec.groups.iter().flatten().filter_map(|entry| match entry {
            GroupEntry::ExternalId(name) | GroupEntry::ExternalName(name) => Some(name.as_str()),
            GroupEntry::GroupRef(_) => None,
        }));
    }
    for group in context.cluster.groups.by_index(&[using], |_| true) {
        ask(&mut asked, &*group);
    }
    asked
}

/// Adds the ids and names of one object.
fn ask<K: Managed>(asked: &mut Asked, object: &K) {
    let identity = object.identity();
    let known = identity.known_keys().chain(&identity.external_id).chain(&identity.missing);
    asked.extend(object.natural_keys().chain(object.external_id()));
    asked.extend(known.map(String::as_str));
}

/// Whether a listing is requested, or needed and older than the credential's interval.
fn is_due(context: &Context, connection: &Connection, account_kind: AccountKind, forced: bool) -> bool {
    let capabilities = connection.provider.capabilities();
    let may_list = match account_kind {
        // Also where the last listing was refused, because the server may have got one since.
        AccountKind::User => capabilities.shows_accounts(),
        AccountKind::Group => capabilities.lists(account_kind),
    };
    if !may_list {
        return false;
    }
    let inventory = connection.inventory();
    let is_requested = inventory.is_listing_requested(account_kind);
    let is_old = inventory.is_listing_due(account_kind, connection.spec.resync_interval(), Timestamp::now());
    drop(inventory);
    let again = is_old || forced || connection.last_failure().is_some();
    is_requested || (again && is_used(context, connection, account_kind))
}

/// Whether any object needs the listing of this kind. Users need the listing of groups where the credential lists privileged groups.
pub fn is_used(context: &Context, connection: &Connection, account_kind: AccountKind) -> bool {
    let using = IndexKey::Credential(connection.key.clone());
    let names_groups =
        |user: &PlatformUser| user.spec.groups.iter().flatten().any(|entry| !matches!(entry, GroupEntry::GroupRef(_)));
    match account_kind {
        AccountKind::User => context.cluster.users.has(&using),
        AccountKind::Group if context.cluster.groups.has(&using) => true,
        AccountKind::Group if connection.spec.lists_privileged() => context.cluster.users.has(&using),
        AccountKind::Group => !context.cluster.users.by_index(&[using], names_groups).is_empty(),
    }
}
