//! Accounts that are protected or have administrator rights: one rule for making, changing and taking away.

use std::collections::BTreeSet;

use super::connection::Connection;
use super::outcome::Stop;
use crate::api::Reason;
use crate::plan::{Account, Subject};

/// Errors: the account as found is protected, or has administrator rights that the credential does not allow to touch.
pub fn check(connection: &Connection, subject: Subject, account: &Account) -> Result<(), Stop> {
    let names = ["username", "email", "name"].into_iter().filter_map(|field| account.text(field));
    check_protected(connection, subject, names.chain([account.id.as_str()]))?;
    let groups = account.groups.clone().unwrap_or_default();
    check_privileged(connection, subject, account.privileged.as_deref(), &groups, "the account has")
}

/// Errors: one of `names` is protected, or the login we use ourselves.
pub fn check_protected<'n>(
    connection: &Connection,
    subject: Subject,
    names: impl Iterator<Item = &'n str>,
) -> Result<(), Stop> {
    let listed = connection.spec.protected.iter().flatten().map(String::as_str);
    let own = Some(connection.login.as_str()).filter(|_| subject == Subject::User);
    let protected: Vec<&str> = listed.chain(own).collect();
    let hit = { names }.find(|name| protected.iter().any(|entry| entry.eq_ignore_ascii_case(name)));
    match hit {
        Some(name) => Err(Stop::because(
            Reason::Protected,
            format!(
                "{name} is protected by the credential {}: it is on spec.protected, or the account usher logs in with",
                connection.key.name
            ),
        )),
        None => Ok(()),
    }
}

/// Errors: administrator rights, for `why` or through `groups`, that the credential does not allow; `who` begins the message.
pub fn check_privileged(
    connection: &Connection,
    subject: Subject,
    why: Option<&str>,
    groups: &BTreeSet<String>,
    who: &str,
) -> Result<(), Stop> {
    if subject == Subject::Group || connection.spec.allow_privileged == Some(true) {
        return Ok(());
    }
    let why = why.map(str::to_owned).or_else(|| privileged_group(connection, groups));
    match why {
        Some(why) => Err(Stop::because(
            Reason::Privileged,
            format!(
                "{who} administrator rights ({why}): remove them, or set allowPrivileged: true on the credential {}",
                connection.key.name
            ),
        )),
        None => Ok(()),
    }
}

/// A group that makes its members privileged: by the vendor's own rule or the credential's list. Groups are named by id, or
/// by name where the vendor takes them so.
fn privileged_group(connection: &Connection, groups: &BTreeSet<String>) -> Option<String> {
    let index = connection.index();
    let listed: Vec<&String> = connection.spec.privileged.iter().flatten().collect();
    groups.iter().find_map(|given| {
        let by_name = || index.groups_named(given).into_iter().next();
        let group = index.get(Subject::Group, given).or_else(by_name);
        let name = group.and_then(|group| group.text("name"));
        let by_rule = group.and_then(|group| group.privileged.clone());
        let is_listed =
            |entry: &str| entry == given || Some(entry) == name || group.is_some_and(|group| group.id == entry);
        let by_list = listed.iter().any(|entry| is_listed(entry));
        by_rule.or(by_list.then(|| format!("group {}", name.unwrap_or(given))))
    })
}
