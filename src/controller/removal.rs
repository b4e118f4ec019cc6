//! Taking away: what is done to the account when its object goes, and why it may not proceed.

use std::sync::Arc;

use kube::ResourceExt;
use secrecy::SecretString;
use serde_json::json;
use tracing::info;

use super::apply::believed;
use super::connection::{Connection, Link};
use super::context::Context;
use super::managed::{Managed, user_wish};
use super::outcome::{Deed, Farewell, Stop};
use super::record::{self, Shelved};
use super::shelf::Tag;
use super::{access, brake, doubt, heir, make, password, preview, resolve, rights, rivals, salvage};
use crate::api::conditions::Verdict;
use crate::api::status::{Creating, Identity};
use crate::api::user::Mode;
use crate::api::{ObjectKey, Reason};
use crate::plan::{
    Account, Changes, Fields, GroupSupport, Key, Rejection, Removal, Subject, Wish, alongside, matches_key, removal,
};
use crate::providers::{self, ErrorKind, Lane};

/// Instead of the id of an account that a create with unknown end may have made.
const MAYBE: &str = "which may have been made";

/// Takes the account of a going object away as its policy says, then lets the object go.
///
/// Errors: always; `Stop::Gone` is the good end.
pub async fn remove<K: Shelved>(context: &Context, object: &Arc<K>) -> Result<(), Stop> {
    let is_over = !context.preview && !K::shelf(context).shows(object);
    if is_over || !object.is_held() {
        return Err(Stop::Gone(None));
    }
    if !has_account(&**object) {
        return let_go(context, object, None).await;
    }
    let identity = object.identity();
    if let Some(heir) = heir::find(context, &**object) {
        return hand_over(context, object, heir).await;
    }
    match decide(context, &**object) {
        Ok(Removal::Orphan { stays }) => let_go(context, object, Some(orphaned(&identity, stays, ""))).await,
        _ if context.is_uninstalled::<K>().await? => {
            let why = ", because the CustomResourceDefinition is being deleted";
            let_go(context, object, Some(orphaned(&identity, true, why))).await
        }
        Ok(decided) => at_the_vendor(context, object, &identity, decided).await,
        Err(rejection) => Err(blocked(object, &rejection.message)),
    }
}

/// Whether there is, or may be, an account that is the object's.
pub fn has_account<K: Shelved>(object: &K) -> bool {
    let identity = object.identity();
    identity.known_id().is_some() || identity.creating.is_some()
}

async fn hand_over<K: Shelved>(context: &Context, object: &Arc<K>, heir: Arc<K>) -> Result<(), Stop> {
    let identity = object.identity();
    let id = identity.known_id().map_or(MAYBE, String::as_str);
    let note = format!("the account {id} passes on to {}; nothing was sent to the vendor", heir.key());
    if !context.preview {
        heir::pass_on(context, &**object, heir).await?;
    }
    let_go(context, object, Some(Farewell { deed: Deed::HandedOver, note, warns: false })).await
}

fn orphaned(identity: &Identity, stays: bool, why: &str) -> Farewell {
    let id = identity.known_id().map_or(MAYBE, String::as_str);
    let key = identity.key.as_deref().or(identity.creating.as_ref().map(|creating| creating.key.as_str()));
    let account = identity.account.as_deref().unwrap_or("the vendor");
    let note = format!("the account {id} ({}) stays at {account}{why}", key.unwrap_or_default());
    Farewell { deed: Deed::Orphaned, note, warns: stays }
}

/// What is to be done, before any vendor is spoken to.
///
/// Errors: a policy in the manifest that the vendor cannot carry out, or that cannot be read.
pub fn decide<K: Shelved>(context: &Context, object: &K) -> Result<Removal, Rejection> {
    if let Some(policy) = salvage::unread_policy(object) {
        let message = format!("spec.deletionPolicy: {policy} is none that usher knows");
        return Err(Rejection::new(Reason::Invalid, message));
    }
    let found = object.identity().adopted == Some(true) || object.external_id().is_some();
    let credential = access::credential(context, object);
    let vendor = credential.as_ref().map(|credential| credential.spec.provider.vendor());
    let fallback = credential.and_then(|credential| credential.spec.deletion_policy).map(user_wish);
    let Some(vendor) = vendor.or(object.status().and_then(|status| status.report.provider)) else {
        let orphan = object.wish().map_or(found, |wish| wish == Wish::Orphan);
        return Ok(if orphan { Removal::Orphan { stays: false } } else { Removal::Delete });
    };
    let capabilities = providers::capabilities(vendor);
    let read_only = K::SUBJECT == Subject::Group && capabilities.groups != GroupSupport::Managed;
    removal(capabilities, K::SUBJECT, object.wish(), found || read_only, fallback)
}

async fn at_the_vendor<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    identity: &Identity,
    decided: Removal,
) -> Result<(), Stop> {
    if let Some(mode) = salvage::unread_mode(&**object) {
        return Err(blocked(object, &format!("spec.mode: {mode} is none that usher knows")));
    }
    if let Some(by) = resolve::paused_by(context, &**object) {
        return Err(blocked(object, &format!("paused by {by}; lift that")));
    }
    let credential = access::credential(context, &**object).ok_or_else(|| {
        blocked(object, &format!("{} is not there or may not be used from here", object.credential_key()))
    })?;
    if !context.preview {
        brake::wait_for_heirs(&credential, &**object)?;
    }
    let connection = reachable(context, object)?;
    if preview::mode(context, &connection, &**object) != Mode::Enforce {
        let by = resolve::planned_by(context, &connection, &**object);
        return Err(blocked(object, &format!("mode Plan removes nothing, and {by} asks for it; set Enforce there")));
    }
    not_awaited(context, object)?;
    connection.gate.open()?;
    let _place = connection.gate.try_enter(Lane::Edit, &object.key()).ok_or(Stop::Parked)?;
    if !context.preview {
        resolve::still_says(context, &connection).await?;
        brake::admit(context, &credential, &**object).await?;
    }
    let (deed, what) = match look(context, object, &connection, identity).await? {
        None => {
            identity.external_id.iter().for_each(|id| connection.wrote(K::SUBJECT, id, None));
            (Deed::Deleted, nothing_there(&connection, identity))
        }
        Some(account) => {
            check(context, object, &connection, &account, identity)?;
            preview::not_for_real(context, || preview::removal(object, &connection, &account, decided))?;
            if !context.preview {
                still_stands(context, object, &connection, decided).await?;
                if let Some(heir) = heir::find(context, &**object) {
                    return hand_over(context, object, heir).await;
                }
            }
            let deed = take_away(context, object, &connection, &account, decided).await?;
            (deed, format!("the account {} at {}", account.id, connection.account))
        }
    };
    let_go(context, object, Some(Farewell { deed, note: what, warns: false })).await
}

/// Errors: credential or object were changed while the account was looked at; both are looked at anew.
async fn still_stands<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    decided: Removal,
) -> Result<(), Stop> {
    resolve::still_says(context, connection).await?;
    resolve::is_still(context, &**object).await?;
    // It was decided by the credential as it was before the connection was chosen.
    if decide(context, &**object).ok() == Some(decided) {
        return Ok(());
    }
    context.wake(object.key());
    Err(Stop::Parked)
}

/// What to say where there is nothing to remove.
fn nothing_there(connection: &Connection, identity: &Identity) -> String {
    let vendor = connection.vendor.title();
    match (identity.known_id(), &identity.creating) {
        (None, Some(Creating { key, .. })) => {
            format!(
                "the create of {key} with unknown end made nothing; whatever {vendor} has by that name is not this object's"
            )
        }
        _ => format!("{vendor} has no such account any more"),
    }
}

/// Errors: the credential is not ready, or leads to another account than the one bound.
fn reachable<K: Shelved>(context: &Context, object: &Arc<K>) -> Result<Arc<Connection>, Stop> {
    let credential = object.credential_key();
    let identity = object.identity();
    match context.connections.get(&credential) {
        Some(Link::Up(connection)) => match identity.tied_to().filter(|account| *account != connection.account) {
            Some(account) => Err(blocked(
                object,
                &format!("bound through {account}, but {credential} now leads to {}", connection.account),
            )),
            None => Ok(connection),
        },
        Some(Link::Down(down)) => Err(blocked(object, &format!("{credential} is not ready: {}", down.verdict.message))),
        None => Err(Stop::Parked),
    }
}

/// Errors: users that name a group and are going too come first.
fn not_awaited<K: Shelved>(context: &Context, object: &Arc<K>) -> Result<(), Stop> {
    if K::SUBJECT != Subject::Group {
        return Ok(());
    }
    let going = context.users.tagged(&[Tag::Group(object.key())], |user| user.is_going() && user.is_held());
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
    if identity.external_id.is_none() && identity.creating.is_some() {
        let made = lost(context, object, connection, identity).await?;
        if made.is_some() {
            return Ok(made);
        }
    }
    let Some(id) = identity.external_id.as_ref().or(identity.vanished.as_ref()) else { return Ok(None) };
    if identity.external_id.is_none() && rivals::not_held(context, &**object, connection, id).is_err() {
        return Ok(None);
    }
    match connection.provider.read(K::SUBJECT, id).await {
        Ok(Some(account)) => return Ok(Some(account)),
        Ok(None) if identity.external_id == identity.vanished => {
            let vendor = connection.vendor.title();
            let why = format!("{vendor} does not show {id}, though it is there: give usher's login sight of it");
            return Err(blocked(object, &why));
        }
        Ok(None) => {}
        // What cannot be seen can be blocked all the same.
        Err(error) if error.kind == ErrorKind::Unsupported && !connection.provider.capabilities().listable => {
            return Ok(Some(believed(id.clone(), identity, connection.table(K::SUBJECT), Fields::new())));
        }
        Err(error) => return Err(error.into()),
    }
    is_gone(context, object, connection, id).await?;
    Ok(None)
}

/// The account that a create with unknown end made, if it did.
async fn lost<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    identity: &Identity,
) -> Result<Option<Account>, Stop> {
    let Some(creating) = &identity.creating else { return Ok(None) };
    if let Some(until) = doubt::until(context, creating) {
        return Err(Stop::InDoubt(until));
    }
    let then = make::made_as(connection.table(K::SUBJECT), creating);
    let found = connection.find_for_sure(context, K::SUBJECT, &then).await?;
    match rivals::made_by(context, &**object, connection, found) {
        Err(Stop::Verdict(verdict)) => Err(blocked(object, &verdict.message)),
        found => found,
    }
}

/// A 404 alone may mask missing rights; together with a listing that lacks the account it is proof.
///
/// Errors: the account is listed.
async fn is_gone<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    id: &str,
) -> Result<(), Stop> {
    if connection.is_listed(context, K::SUBJECT, id).await? {
        let why = format!(
            "the vendor lists {id} but says \"not found\" when it is asked for or removed; the login may lack rights on it"
        );
        return Err(blocked(object, &why));
    }
    Ok(())
}

/// Errors: the account is another one than the object's, protected, or has rights that may not be touched.
fn check<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    account: &Account,
    identity: &Identity,
) -> Result<(), Stop> {
    let names: Vec<&str> = make::KEYS.iter().filter_map(|field| account.text(field)).collect();
    let table = connection.table(K::SUBJECT);
    let carries = |key: &String| {
        let mut keys = make::KEYS.iter().map(|field| Key { field, value: key.clone() });
        keys.any(|key| matches_key(table, account, &key)) || names.iter().any(|name| heir::same_key(name, key))
    };
    // A rename that was not recorded any more has given it the manifest's key. A create in doubt knows its own key alone.
    let catalog = connection.index().catalog.clone();
    let desired = object.desire(&*connection.provider, &catalog).ok().filter(|_| identity.creating.is_none());
    let renamed = desired.is_some_and(|desired| desired.keys.iter().any(|key| matches_key(table, account, key)));
    if !renamed && !identity.known_keys().any(carries) {
        let message = format!(
            "{} is {} at the vendor now, not {}",
            account.id,
            access::masked(connection, &**object, names.first().unwrap_or(&"someone else")),
            identity.known_keys().next().map_or("known to us by any name", String::as_str)
        );
        return Err(blocked(object, &message));
    }
    match rights::check(context, &**object, connection, account) {
        Err(Stop::Verdict(Verdict { message, .. })) => Err(blocked(object, &message)),
        other => other,
    }
}

async fn take_away<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    account: &Account,
    decided: Removal,
) -> Result<Deed, Stop> {
    let provider = &connection.provider;
    let deed = if let (Removal::Disable, Some(switch)) = (decided, provider.capabilities().switch) {
        let fields = [(switch.field.to_owned(), json!(switch.blocked))].into();
        let wanted = object.desire(&**provider, &connection.index().catalog.clone()).ok();
        let kept = wanted.map(|wanted| alongside(connection.table(K::SUBJECT), &wanted, &fields));
        let changes = Changes { fields, alongside: kept.unwrap_or_default(), ..Changes::default() };
        if account.fields.get(switch.field) != Some(&json!(switch.blocked)) {
            let password = password_beside(context, object, connection).await?;
            provider.update(K::SUBJECT, account, &changes, password.as_ref()).await?;
        }
        connection.wrote(K::SUBJECT, &account.id, Some(account.clone().with(&changes)));
        Deed::Disabled
    } else {
        if let Some(held) = &account.in_use {
            return Err(in_use(object, held));
        }
        match provider.delete(K::SUBJECT, &account.id).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                is_gone(context, object, connection, &account.id).await?;
            }
            other => other?,
        }
        connection.wrote(K::SUBJECT, &account.id, None);
        Deed::Deleted
    };
    info!(object = %object.key(), credential = %connection.key, account = account.id, operation = %deed, "vendor write");
    Ok(deed)
}

/// The user's password where no change is taken without it.
///
/// Errors: it cannot be had; taking away waits for it, and says so.
async fn password_beside<K: Shelved>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
) -> Result<Option<SecretString>, Stop> {
    if !connection.provider.capabilities().change_needs_password {
        return Ok(None);
    }
    password::present(context, &**object).await.map_err(|stop| match stop {
        Stop::Verdict(Verdict { message, .. }) => blocked(object, &message),
        other => other,
    })
}

/// The vendor holds on to a group that is not empty.
pub fn in_use<K: Shelved>(object: &Arc<K>, held: &str) -> Stop {
    blocked(object, &format!("the group still holds {held}; move them to another group"))
}

async fn let_go<K: Shelved>(context: &Context, object: &Arc<K>, farewell: Option<Farewell>) -> Result<(), Stop> {
    preview::not_for_real(context, || preview::release(&**object, farewell.as_ref()))?;
    record::let_go(context, &**object).await?;
    brake::forget(context, &**object).await;
    Err(Stop::Gone(farewell))
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
