//! One listing of all accounts of a credential, which answers find-before-create and drift for all its objects; a bad listing is dropped whole.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::connection::{Connection, Trouble};
use super::context::Context;
use super::credential::resync;
use super::refusal;
use super::rights;
use super::shelf::Tag;
use crate::api::PlatformUser;
use crate::api::user::GroupEntry;
use crate::plan::{GroupSupport, Subject};
use crate::providers::{ErrorKind, Lane, ProviderError};

/// Longest time for one sweep. A large tenant behind a small rate takes many minutes.
pub const LONGEST: Duration = Duration::from_mins(30);

/// Sweeps what is due or asked for; whether there is news for the objects. After a failure the index stays as it was, and
/// nothing is tried before its time, unless a person asks by annotation.
pub async fn sweep(context: &Context, connection: &Connection, forced: bool) -> bool {
    if !forced && connection.trouble().is_some_and(|trouble| trouble.until > Timestamp::now()) {
        return false;
    }
    let due: Vec<Subject> = [Subject::Group, Subject::User]
        .into_iter()
        .filter(|subject| is_due(context, connection, *subject, forced))
        .collect();
    if due.is_empty() {
        // Nobody needs the listing that failed any more. Where nothing is ever listed, the trouble is a refused credential's.
        let is_over = connection.provider.capabilities().readable && connection.trouble().is_some();
        return is_over && connection.swept(None).is_some();
    }
    let mut is_news = false;
    let Err(error) = within(LONGEST, list(connection, &due, &mut is_news)).await else {
        context.backoff.reset(&connection.key);
        connection.swept(None);
        return true;
    };
    warn!(credential = %connection.key, "the sweep failed: {error}");
    let until = refusal::retry_at(context, &connection.key, &connection.spec, &error);
    connection.swept(Some(Trouble { error, until })).is_none() || is_news
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
async fn list(connection: &Connection, due: &[Subject], is_news: &mut bool) -> Result<(), ProviderError> {
    let Some(_place) = connection.gate.enter(Lane::Background).await else { return Ok(()) };
    let catalog = connection.provider.catalog().await?;
    connection.index().catalog = catalog;
    let mut failed = None;
    for subject in due {
        let begun = Timestamp::now();
        let listed = connection.provider.list(*subject).await;
        if *subject == Subject::User && !connection.provider.capabilities().listable {
            // Not a failure: the server has no such call, and its users are read one by one.
            info!(credential = %connection.key, "the server lists no users");
            connection.index().forget(*subject, begun);
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
        info!(credential = %connection.key, %subject, count = accounts.len(), "swept");
        connection.index().replace(*subject, begun, connection.table(*subject), accounts);
    }
    failed.map_or(Ok(()), Err)
}

/// Whether a listing is needed by anyone, and asked for, or older than the credential's interval.
fn is_due(context: &Context, connection: &Connection, subject: Subject, forced: bool) -> bool {
    let capabilities = connection.provider.capabilities();
    let can = capabilities.readable && (subject == Subject::User || capabilities.groups != GroupSupport::Given);
    if !can {
        return false;
    }
    let index = connection.index();
    let wanted = index.is_wanted(subject);
    let interval = resync(&connection.spec);
    let old =
        index.asked_at(subject).is_none_or(|begun| begun + interval <= Timestamp::now() + SignedDuration::from_secs(1));
    drop(index);
    let again = old || forced || connection.trouble().is_some();
    wanted || (again && is_used(context, connection, subject))
}

/// Whether any object needs the listing of `subject`: groups also where some are on the credential's list of privileged ones.
pub fn is_used(context: &Context, connection: &Connection, subject: Subject) -> bool {
    let using = Tag::Credential(connection.key.clone());
    let names_groups =
        |user: &PlatformUser| user.spec.groups.iter().flatten().any(|entry| !matches!(entry, GroupEntry::GroupRef(_)));
    match subject {
        Subject::User => context.users.has(&using),
        Subject::Group if context.groups.has(&using) => true,
        Subject::Group if rights::has_list(&connection.spec) => context.users.has(&using),
        Subject::Group => !context.users.tagged(&[using], names_groups).is_empty(),
    }
}
