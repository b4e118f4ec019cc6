//! The sweep: one listing of all accounts of a credential, which answers find-before-create and drift for all its objects. An incomplete
//! listing is dropped whole.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::api::PlatformUser;
use crate::api::user::GroupEntry;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::connection::link::Connection;
use crate::controller::connection::retry;
use crate::controller::connection::session::Failure;
use crate::controller::context::Context;
use crate::plan::AccountKind;
use crate::providers::{ErrorKind, Priority, ProviderError};

/// Longest time for one sweep. A large tenant behind a small rate takes many minutes.
pub const LONGEST: Duration = Duration::from_mins(30);

/// Sweeps what is due or asked for; whether there is news for the objects. After a failure the index stays as it was, and
/// nothing is tried before its time, unless a person asks by annotation.
pub async fn sweep(context: &Context, connection: &Connection, forced: bool) -> bool {
    if !forced && connection.last_failure().is_some_and(|last_failure| last_failure.until > Timestamp::now()) {
        return false;
    }
    let due: Vec<AccountKind> = [AccountKind::Group, AccountKind::User]
        .into_iter()
        .filter(|account_kind| is_due(context, connection, *account_kind, forced))
        .collect();
    if due.is_empty() {
        // Nobody needs the listing that failed any more. Where nothing is ever listed, the trouble is a refused credential's.
        let is_over = connection.provider.capabilities().shows_accounts() && connection.last_failure().is_some();
        return is_over && connection.set_failure(None).is_some();
    }
    let mut is_news = false;
    let Err(error) = within(LONGEST, list(connection, &due, &mut is_news)).await else {
        context.backoff.reset(&connection.key);
        connection.set_failure(None);
        return true;
    };
    warn!(credential = %connection.key, "the sweep failed: {error}");
    let until = retry::retry_at(&context.backoff, &connection.key, &connection.spec, &error);
    connection.set_failure(Some(Failure { error, until })).is_none() || is_news
}

/// Errors: not done within `limit`.
async fn within(
    limit: Duration,
    listing: impl Future<Output = Result<(), ProviderError>>,
) -> Result<(), ProviderError> {
    let late = "the listing of all accounts is not done within half an hour; raise spec.requests.perMinute";
    tokio::time::timeout(limit, listing).await.unwrap_or_else(|_| Err(ProviderError::lost(late.to_owned())))
}

/// Lists what is `due`; each listing that is complete is kept, and is news.
///
/// Errors: the first of the provider.
async fn list(connection: &Connection, due: &[AccountKind], is_news: &mut bool) -> Result<(), ProviderError> {
    let Some(_place) = connection.limiter.acquire(Priority::Background).await else { return Ok(()) };
    let catalog = connection.provider.catalog().await?;
    connection.inventory().catalog = catalog;
    let mut failed = None;
    for account_kind in due {
        let begun = Timestamp::now();
        let listed = connection.provider.list(*account_kind).await;
        if !connection.provider.capabilities().lists(*account_kind) {
            // Not a failure: the server has no such call, and its users are read one by one.
            info!(credential = %connection.key, "the server lists no users");
            connection.inventory().forget(*account_kind, begun);
            continue;
        }
        let accounts = match listed {
            Ok(accounts) => accounts,
            // That groups may not be listed is no reason to know nothing of users.
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                failed = failed.or(Some(error));
                continue;
            }
            Err(error) => return Err(error),
        };
        *is_news = true;
        info!(credential = %connection.key, %account_kind, count = accounts.len(), "swept");
        connection.inventory().replace(*account_kind, begun, connection.table(*account_kind), accounts);
    }
    failed.map_or(Ok(()), Err)
}

/// Whether a listing is needed by anyone, and asked for, or older than the credential's interval.
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
    let wanted = inventory.is_wanted(account_kind);
    let interval = connection.spec.resync_interval();
    let old = inventory
        .asked_at(account_kind)
        .is_none_or(|begun| begun + interval <= Timestamp::now() + SignedDuration::from_secs(1));
    drop(inventory);
    let again = old || forced || connection.last_failure().is_some();
    wanted || (again && is_used(context, connection, account_kind))
}

/// Whether any object needs the listing of `subject`: groups also where some are on the credential's list of privileged ones.
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
