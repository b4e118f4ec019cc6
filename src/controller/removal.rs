//! Taking away: what is done to the account when its object goes, and why it may not proceed.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::json;
use tracing::info;

use super::connection::{Connection, Link};
use super::context::Context;
use super::managed::user_wish;
use super::outcome::{Deed, Stop};
use super::record::{self, Shelved};
use super::{make, resolve};
use crate::api::status::Identity;
use crate::api::{ObjectKey, Reason};
use crate::plan::{Account, Changes, GroupSupport, Removal, Subject, Wish, matches_key, removal};
use crate::providers::{self, ErrorKind, Lane};

/// Takes the account of a going object away as its policy says, then lets the object go.
///
/// Errors: always; `Stop::Gone` is the good end.
pub async fn remove<K: Shelved>(context: &Context, object: &Arc<K>) -> Result<(), Stop> {
    if !object.is_held() {
        return Err(Stop::Gone(None));
    }
    let identity = object.identity();
    if identity.external_id.is_none() && identity.creating.is_none() {
        return let_go(context, object, None).await;
    }
    match decide(context, object, &identity)? {
        Removal::Orphan { stays } => {
            if stays {
                info!(object = %object.key(), account = identity.external_id, "the account stays at the vendor");
            }
            let_go(context, object, Some(Deed::Orphaned)).await
        }
        decided => at_the_vendor(context, object, &identity, decided).await,
    }
}

/// What is to be done, before any vendor is spoken to.
fn decide<K: Shelved>(context: &Context, object: &Arc<K>, identity: &Identity) -> Result<Removal, Stop> {
    let found = identity.adopted == Some(true) || object.external_id().is_some();
    let key = object.credential_key();
    let credential = context.credentials.get(&key.namespace, &key.name);
    let vendor = credential.as_ref().map(|credential| credential.spec.provider.vendor());
    let fallback = credential.and_then(|credential| credential.spec.deletion_policy).map(user_wish);
    let Some(vendor) = vendor.or(object.status().and_then(|status| status.report.provider)) else {
        let wish = object.wish().or(fallback).unwrap_or(Wish::Delete);
        return if wish == Wish::Orphan || found { Ok(Removal::Orphan { stays: false }) } else { Ok(Removal::Delete) };
    };
    let capabilities = providers::capabilities(vendor);
    let read_only = K::SUBJECT == Subject::Group && capabilities.groups != GroupSupport::Managed;
    Ok(removal(capabilities, K::SUBJECT, object.wish(), found || read_only, fallback)?)
}

async fn at_the_vendor<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    identity: &Identity,
    decided: Removal,
) -> Result<(), Stop> {
    if let Some(by) = resolve::paused_by(context, &**object) {
        return Err(blocked(object, &format!("paused by {by}; lift that")));
    }
    let connection = reachable(context, object)?;
    if resolve::mode(context, &connection, &**object) != crate::api::user::Mode::Enforce {
        return Err(blocked(object, "mode Plan removes nothing; set mode: Enforce"));
    }
    not_awaited(context, object)?;
    connection.gate.open()?;
    let _place = connection.gate.try_enter(Lane::Edit, &object.key()).ok_or(Stop::Parked)?;
    let deed = match look(context, object, &connection, identity).await? {
        None => Deed::Deleted,
        Some(account) => {
            check(object, &connection, &account, identity)?;
            take_away(object, &connection, &account, decided).await?
        }
    };
    let_go(context, object, Some(deed)).await
}

/// Errors: the credential is missing, not ready, or leads to another account than the one bound.
fn reachable<K: Shelved>(context: &Context, object: &Arc<K>) -> Result<Arc<Connection>, Stop> {
    let credential = object.credential_key();
    match context.connections.get(&credential) {
        Some(Link::Up(connection)) => {
            let bound = object.identity().account;
            match bound.filter(|account| *account != connection.account) {
                Some(account) => Err(blocked(
                    object,
                    &format!("bound through {account}, but {credential} now leads to {}", connection.account),
                )),
                None => Ok(connection),
            }
        }
        Some(Link::Down(down)) => Err(blocked(object, &format!("{credential} is not ready: {}", down.verdict.message))),
        None => Err(blocked(object, &format!("{credential} is not there"))),
    }
}

/// Errors: users that name a group and are going too come first.
fn not_awaited<K: Shelved>(context: &Context, object: &Arc<K>) -> Result<(), Stop> {
    if K::SUBJECT != Subject::Group {
        return Ok(());
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let going = context.users.all(|user| {
        user.metadata.deletion_timestamp.is_some()
            && user.namespace().as_ref() == Some(&namespace)
            && super::group::names_group(user, &name)
            && user.finalizers().iter().any(|finalizer| finalizer == crate::api::names::FINALIZER)
    });
    match going.first() {
        Some(user) => Err(Stop::because(
            Reason::Deleting,
            format!("waiting for {} users that are being deleted, e.g. {}", going.len(), user.name_any()),
        )),
        None => Ok(()),
    }
}

/// The account as it is now; `None` when there is none any more.
async fn look<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    identity: &Identity,
) -> Result<Option<Account>, Stop> {
    let catalog = connection.index().catalog.clone();
    let desired = object.desire(&*connection.provider, &catalog);
    let Some(id) = &identity.external_id else {
        let Some(creating) = &identity.creating else { return Ok(None) };
        if let Some(until) = make::in_doubt(context, creating) {
            return Err(Stop::InDoubt(until));
        }
        let found = connection.provider.find(K::SUBJECT, &desired?).await?;
        return Ok(found.into_iter().find(|account| make::can_be_ours(creating, account)));
    };
    if let Some(account) = connection.provider.read(K::SUBJECT, id).await? {
        return Ok(Some(account));
    }
    // A 404 alone may mask missing rights; together with a listing that lacks the account it is proof.
    let listed = connection.provider.list(K::SUBJECT).await?;
    if listed.iter().any(|account| account.id == *id) {
        return Err(blocked(
            object,
            &format!("the vendor lists {id} but does not show it; the login may lack rights on it"),
        ));
    }
    Ok(None)
}

fn check<K: Shelved>(
    object: &Arc<K>,
    connection: &Connection,
    account: &Account,
    identity: &Identity,
) -> Result<(), Stop> {
    let names: Vec<&str> = ["username", "email", "name"].iter().filter_map(|field| account.text(field)).collect();
    let known = |name: &&str| identity.key.as_ref().is_some_and(|key| key.eq_ignore_ascii_case(name));
    // A rename that was not recorded any more has given it the manifest's key.
    let catalog = connection.index().catalog.clone();
    let desired = object.desire(&*connection.provider, &catalog).ok();
    let table = connection.table(K::SUBJECT);
    let renamed = desired.is_some_and(|desired| desired.keys.iter().any(|key| matches_key(table, account, key)));
    if identity.key.is_some() && !renamed && !names.iter().any(known) {
        let message = format!(
            "{} is {} at the vendor now, not {}",
            account.id,
            names.first().unwrap_or(&"someone else"),
            identity.key.as_deref().unwrap_or_default()
        );
        return Err(blocked(object, &message));
    }
    let spec = &connection.spec;
    let own = (K::SUBJECT == Subject::User).then_some(connection.login.as_str());
    let mut protected = spec.protected.iter().flatten().map(String::as_str).chain(own);
    if let Some(entry) =
        protected.find(|entry| *entry == account.id || names.iter().any(|name| name.eq_ignore_ascii_case(entry)))
    {
        return Err(blocked(object, &format!("{entry} is protected by the credential {}", connection.key.name)));
    }
    if let Some(why) =
        account.privileged.as_ref().filter(|_| K::SUBJECT == Subject::User && spec.allow_privileged != Some(true))
    {
        return Err(blocked(
            object,
            &format!(
                "the account has administrator rights ({why}); set allowPrivileged: true on the credential {}",
                connection.key.name
            ),
        ));
    }
    Ok(())
}

async fn take_away<K: Shelved>(
    object: &Arc<K>,
    connection: &Connection,
    account: &Account,
    decided: Removal,
) -> Result<Deed, Stop> {
    let provider = &connection.provider;
    let deed = if let (Removal::Disable, Some(switch)) = (decided, provider.capabilities().switch) {
        let fields = [(switch.field.to_owned(), json!(switch.blocked))].into();
        let changes = Changes { fields, ..Changes::default() };
        if account.fields.get(switch.field) != Some(&json!(switch.blocked)) {
            provider.update(K::SUBJECT, account, &changes, None).await?;
        }
        Deed::Disabled
    } else {
        if let Some(held) = &account.in_use {
            return Err(blocked(object, &format!("the group still holds {held}; move them to another group")));
        }
        match provider.delete(K::SUBJECT, &account.id).await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            other => other?,
        }
        Deed::Deleted
    };
    connection.wrote(K::SUBJECT, &account.id, None);
    info!(object = %object.key(), credential = %connection.key, account = account.id, operation = %deed, "vendor write");
    Ok(deed)
}

async fn let_go<K: Shelved>(context: &Context, object: &Arc<K>, deed: Option<Deed>) -> Result<(), Stop> {
    record::let_go(context, &**object).await?;
    Err(Stop::Gone(deed))
}

/// Removal cannot proceed because of `why`; the message carries the command that gives the account up.
pub fn blocked<K: Shelved>(object: &Arc<K>, why: &str) -> Stop {
    Stop::because(Reason::DeletionBlocked, format!("{why}; or give the account up: {}", orphan_command(&object.key())))
}

/// The command that lets an object go without touching its account.
pub fn orphan_command(key: &ObjectKey) -> String {
    let ObjectKey { kind, namespace, name } = key;
    format!(
        "kubectl -n {namespace} patch {} {name} --type merge -p '{{\"spec\":{{\"deletionPolicy\":\"Orphan\"}}}}'",
        kind.short()
    )
}
