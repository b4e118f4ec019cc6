//! Taking away: what is done to the account when its object goes, and why it may not proceed.

use std::sync::Arc;

use kube::ResourceExt;
use secrecy::SecretString;
use serde_json::json;
use tracing::info;

use super::budget as removal_budget;
use crate::api::conditions::Verdict;
use crate::api::status::{Creating, Identity};
use crate::api::user::Mode;
use crate::api::{ObjectKey, Reason};
use crate::controller::cluster::cache::IndexKey;
use crate::controller::cluster::managed::{Managed, deletion_policy_of};
use crate::controller::cluster::status::Cached;
use crate::controller::cluster::{lenient, status as record};
use crate::controller::connection::in_flight as pending_create;
use crate::controller::connection::link::{Connection, Link};
use crate::controller::context::Context;
use crate::controller::outcome::{Change, Finalized, Stop};
use crate::controller::ownership::{conflict, handover};
use crate::controller::preview;
use crate::controller::resolve::{access, object as resolve, password, rights};
use crate::controller::sync::create as make;
use crate::controller::sync::reconciliation::believed;
use crate::plan::{
    Account, AccountKind, Changes, DeletionPolicy, Fields, GroupSupport, Key, Rejection, Removal, alongside,
    matches_key, names, naming_fields, removal,
};
use crate::providers::{self, ErrorKind, Priority};

/// Instead of the id of an account that a create with unknown end may have made.
const MAYBE: &str = "which may have been made";

/// Takes the account of a going object away as its policy says, then lets the object go.
///
/// Errors: always; `Stop::Gone` is the good end.
pub async fn remove<K: Cached>(context: &Context, object: &Arc<K>) -> Result<(), Stop> {
    let is_over = !context.preview && !K::cache(context).shows(object);
    if is_over || !object.has_finalizer() {
        return Err(Stop::Gone(None));
    }
    if !has_account(&**object) {
        return remove_finalizer(context, object, None).await;
    }
    let identity = object.identity();
    if let Some(successor) = handover::find(context, &**object) {
        return hand_over(context, object, successor).await;
    }
    match decide(context, &**object) {
        Ok(Removal::Orphan { unexpected }) => {
            remove_finalizer(context, object, Some(orphaned(&identity, unexpected, ""))).await
        }
        _ if context.is_uninstalled::<K>().await? => {
            let why = ", because the CustomResourceDefinition is being deleted";
            remove_finalizer(context, object, Some(orphaned(&identity, true, why))).await
        }
        Ok(decided) => at_the_vendor(context, object, &identity, decided).await,
        Err(rejection) => Err(blocked(object, &rejection.message)),
    }
}

/// Whether there is, or may be, an account that is the object's.
pub fn has_account<K: Cached>(object: &K) -> bool {
    let identity = object.identity();
    identity.known_id().is_some() || identity.creating.is_some()
}

async fn hand_over<K: Cached>(context: &Context, object: &Arc<K>, successor: Arc<K>) -> Result<(), Stop> {
    let identity = object.identity();
    let id = identity.known_id().map_or(MAYBE, String::as_str);
    let note = format!("the account {id} passes on to {}; nothing was sent to the vendor", successor.key());
    if !context.preview {
        handover::transfer(context, &**object, successor).await?;
    }
    remove_finalizer(context, object, Some(Finalized { change: Change::HandedOver, note, warns: false })).await
}

fn orphaned(identity: &Identity, unexpected: bool, why: &str) -> Finalized {
    let id = identity.known_id().map_or(MAYBE, String::as_str);
    let key = identity.key.as_deref().or(identity.creating.as_ref().map(|creating| creating.key.as_str()));
    let account = identity.account.as_deref().unwrap_or("the vendor");
    let note = format!("the account {id} ({}) stays at {account}{why}", key.unwrap_or_default());
    Finalized { change: Change::Orphaned, note, warns: unexpected }
}

/// What is to be done, before any vendor is spoken to.
///
/// Errors: a policy in the manifest that the vendor cannot carry out, or that cannot be read.
pub fn decide<K: Cached>(context: &Context, object: &K) -> Result<Removal, Rejection> {
    if let Some(policy) = lenient::unread_policy(object) {
        let message = format!("spec.deletionPolicy: {policy} is none that usher knows");
        return Err(Rejection::new(Reason::Invalid, message));
    }
    let found = object.identity().adopted == Some(true) || object.external_id().is_some();
    let credential = access::credential(context, object);
    let vendor = credential.as_ref().map(|credential| credential.spec.provider.vendor());
    let fallback = credential.and_then(|credential| credential.spec.deletion_policy).map(deletion_policy_of);
    let Some(vendor) = vendor.or(object.status().and_then(|status| status.report.provider)) else {
        let orphan = object.wish().map_or(found, |wish| wish == DeletionPolicy::Orphan);
        return Ok(if orphan { Removal::Orphan { unexpected: false } } else { Removal::Delete });
    };
    let capabilities = providers::capabilities(vendor);
    let read_only = K::ACCOUNT_KIND == AccountKind::Group && capabilities.groups != GroupSupport::Managed;
    removal(capabilities, K::ACCOUNT_KIND, object.wish(), found || read_only, fallback)
}

async fn at_the_vendor<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    identity: &Identity,
    decided: Removal,
) -> Result<(), Stop> {
    if let Some(mode) = lenient::unread_mode(&**object) {
        return Err(blocked(object, &format!("spec.mode: {mode} is none that usher knows")));
    }
    if let Some(by) = resolve::paused_by(context, &**object) {
        return Err(blocked(object, &format!("paused by {by}; lift that")));
    }
    let credential = access::credential(context, &**object).ok_or_else(|| {
        blocked(object, &format!("{} is not there or may not be used from here", object.credential_key()))
    })?;
    if !context.preview {
        removal_budget::wait_for_successor(&credential, &**object)?;
    }
    let connection = reachable(context, object)?;
    if preview::mode(context, &connection, &**object) != Mode::Enforce {
        let by = resolve::planned_by(context, &connection, &**object);
        return Err(blocked(object, &format!("mode Plan removes nothing, and {by} asks for it; set Enforce there")));
    }
    not_awaited(context, object)?;
    connection.limiter.open()?;
    let _place = connection.limiter.try_enter(Priority::Edit, &object.key()).ok_or(Stop::Queued)?;
    if !context.preview {
        resolve::ensure_credential_current(context, &connection).await?;
        removal_budget::admit(context, &credential, &**object).await?;
    }
    let (change, what) = match look(context, object, &connection, identity).await? {
        None => {
            identity.external_id.iter().for_each(|id| connection.wrote(K::ACCOUNT_KIND, id, None));
            (Change::Deleted, nothing_there(&connection, identity))
        }
        Some(account) => {
            check(context, object, &connection, &account, identity)?;
            preview::not_for_real(context, || preview::removal(object, &connection, &account, decided))?;
            if !context.preview {
                recheck(context, object, &connection, decided).await?;
                if let Some(successor) = handover::find(context, &**object) {
                    return hand_over(context, object, successor).await;
                }
            }
            let change = take_away(context, object, &connection, &account, decided).await?;
            (change, format!("the account {} at {}", account.id, connection.account))
        }
    };
    remove_finalizer(context, object, Some(Finalized { change, note: what, warns: false })).await
}

/// Errors: credential or object were changed while the account was looked at; both are looked at anew.
async fn recheck<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    decided: Removal,
) -> Result<(), Stop> {
    resolve::ensure_credential_current(context, connection).await?;
    resolve::ensure_object_current(context, &**object).await?;
    // It was decided by the credential as it was before the connection was chosen.
    if decide(context, &**object).ok() == Some(decided) {
        return Ok(());
    }
    context.enqueue(object.key());
    Err(Stop::Queued)
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
fn reachable<K: Cached>(context: &Context, object: &Arc<K>) -> Result<Arc<Connection>, Stop> {
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
        None => Err(Stop::Queued),
    }
}

/// Errors: users that name a group and are going too come first.
fn not_awaited<K: Cached>(context: &Context, object: &Arc<K>) -> Result<(), Stop> {
    if K::ACCOUNT_KIND != AccountKind::Group {
        return Ok(());
    }
    let going =
        context.users.by_index(&[IndexKey::Group(object.key())], |user| user.is_deleting() && user.has_finalizer());
    match going.first() {
        Some(user) => Err(Stop::because(
            Reason::Deleting,
            format!("waiting for {} users that are being deleted, e.g. {}", going.len(), user.name_any()),
        )),
        None => Ok(()),
    }
}

/// The account as it is now; `None` when there is none any more.
async fn look<K: Cached>(
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
    let Some(id) = identity.external_id.as_ref().or(identity.missing.as_ref()) else { return Ok(None) };
    if identity.external_id.is_none() && conflict::ensure_unbound(context, &**object, connection, id).is_err() {
        return Ok(None);
    }
    match connection.provider.read(K::ACCOUNT_KIND, id).await {
        Ok(Some(account)) => return Ok(Some(account)),
        Ok(None) if identity.external_id == identity.missing => {
            let vendor = connection.vendor.title();
            let why = format!("{vendor} does not show {id}, though it is there: give usher's login sight of it");
            return Err(blocked(object, &why));
        }
        Ok(None) => {}
        // What cannot be seen can be blocked all the same.
        Err(error)
            if error.kind == ErrorKind::Unsupported && !connection.provider.capabilities().lists(K::ACCOUNT_KIND) =>
        {
            return Ok(Some(believed(id.clone(), identity, connection.table(K::ACCOUNT_KIND), Fields::new())));
        }
        Err(error) => return Err(error.into()),
    }
    is_gone(context, object, connection, id).await?;
    Ok(None)
}

/// The account that a create with unknown end made, if it did.
async fn lost<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    identity: &Identity,
) -> Result<Option<Account>, Stop> {
    let Some(creating) = &identity.creating else { return Ok(None) };
    if let Some(until) = pending_create::until(context, creating) {
        return Err(Stop::CreatePending(until));
    }
    let then = make::made_as(connection.table(K::ACCOUNT_KIND), creating);
    let found = connection.find_for_sure(context, K::ACCOUNT_KIND, &then).await?;
    match conflict::made_by(context, &**object, connection, found) {
        Err(Stop::Verdict(verdict)) => Err(blocked(object, &verdict.message)),
        found => found,
    }
}

/// A 404 alone may mask missing rights; together with a listing that lacks the account it is proof.
///
/// Errors: the account is listed.
async fn is_gone<K: Cached>(context: &Context, object: &Arc<K>, connection: &Connection, id: &str) -> Result<(), Stop> {
    if connection.is_listed(context, K::ACCOUNT_KIND, id).await? {
        let why = format!(
            "the vendor lists {id} but says \"not found\" when it is asked for or removed; the login may lack rights on it"
        );
        return Err(blocked(object, &why));
    }
    Ok(())
}

/// Errors: the account is another one than the object's, protected, or has rights that may not be touched.
fn check<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    account: &Account,
    identity: &Identity,
) -> Result<(), Stop> {
    let table = connection.table(K::ACCOUNT_KIND);
    let names: Vec<&str> = names(table, account).collect();
    let carries = |key: &String| {
        let mut keys = naming_fields(table).map(|field| Key { field, value: key.clone() });
        keys.any(|key| matches_key(table, account, &key)) || names.iter().any(|name| handover::same_key(name, key))
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

async fn take_away<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    connection: &Connection,
    account: &Account,
    decided: Removal,
) -> Result<Change, Stop> {
    let provider = &connection.provider;
    let change = if let (Removal::Disable, Some(switch)) = (decided, provider.capabilities().switch) {
        let fields = [(switch.field.to_owned(), json!(switch.blocked))].into();
        let wanted = object.desire(&**provider, &connection.index().catalog.clone()).ok();
        let kept = wanted.map(|wanted| alongside(connection.table(K::ACCOUNT_KIND), &wanted, &fields));
        let changes = Changes { fields, alongside: kept.unwrap_or_default(), ..Changes::default() };
        if account.fields.get(switch.field) != Some(&json!(switch.blocked)) {
            let password = password_beside(context, object, connection).await?;
            provider.update(K::ACCOUNT_KIND, account, &changes, password.as_ref()).await?;
        }
        connection.wrote(K::ACCOUNT_KIND, &account.id, Some(account.clone().with(&changes)));
        Change::Disabled
    } else {
        if let Some(held) = &account.in_use {
            return Err(in_use(object, held));
        }
        match provider.delete(K::ACCOUNT_KIND, &account.id).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                is_gone(context, object, connection, &account.id).await?;
            }
            other => other?,
        }
        connection.wrote(K::ACCOUNT_KIND, &account.id, None);
        Change::Deleted
    };
    info!(object = %object.key(), credential = %connection.key, account = account.id, operation = %change, "vendor write");
    Ok(change)
}

/// The user's password where no change is taken without it.
///
/// Errors: it cannot be had; taking away waits for it, and says so.
async fn password_beside<K: Cached>(
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
pub fn in_use<K: Cached>(object: &Arc<K>, held: &str) -> Stop {
    blocked(object, &format!("the group still holds {held}; move them to another group"))
}

async fn remove_finalizer<K: Cached>(
    context: &Context,
    object: &Arc<K>,
    finalized: Option<Finalized>,
) -> Result<(), Stop> {
    preview::not_for_real(context, || preview::release(&**object, finalized.as_ref()))?;
    record::remove_finalizer(context, &**object).await?;
    removal_budget::forget(context, &**object).await;
    Err(Stop::Gone(finalized))
}

/// Removal cannot proceed because of `why`; the message carries the command that gives the account up.
pub fn blocked<K: Cached>(object: &Arc<K>, why: &str) -> Stop {
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
