//! One entry of the plan: the calls that usher would make for one object, or the reason why there are none. It turns the end of a
//! simulated reconcile into words and decides nothing.

use std::sync::Arc;

use crate::api::status::{Identity, PendingCall};
use crate::api::user::{Mode, UserDeletionPolicy};
use crate::api::{ObjectKey, ProviderCredential, Reason};
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::link::Link;
use crate::controller::context::Context;
use crate::controller::credential::{release, status};
use crate::controller::object::report;
use crate::controller::outcome::{Done, Outcome, Stop};
use crate::plan::{Account, Field, naming_fields};

/// The message on an object whose plan waits for something that passes, such as a rate limit.
const RUN_AGAIN: &str =
    "an answer of the vendor is still missing, perhaps because of its rate limit; run usher plan again";

/// The plan of one object.
#[derive(Clone, Debug)]
pub struct Item {
    /// The object.
    pub key: ObjectKey,
    /// Whether usher would make calls for the object.
    pub effect: Effect,
    /// The reason that the Ready condition would have, ChangesPending if there are calls, or Paused.
    pub reason: String,
    /// An explanation without secrets, or nothing.
    pub message: String,
    /// The calls in their order.
    pub calls: Vec<PendingCall>,
}

/// Whether usher would make calls for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No call.
    Nothing,
    /// At least one call.
    Changes,
    /// The object needs changes that usher cannot make, or its state cannot be determined.
    Blocked,
}

impl Item {
    fn new(key: ObjectKey, effect: Effect, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key, effect, reason: reason.into(), message: message.into(), calls: Vec::new() }
    }

    /// The item of an object that cannot be planned, for `reason`.
    pub fn blocked(key: ObjectKey, reason: Reason, message: impl Into<String>) -> Self {
        Self::new(key, Effect::Blocked, reason.label(), message)
    }

    fn nothing(key: ObjectKey, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(key, Effect::Nothing, reason, message)
    }

    fn changes(key: ObjectKey, calls: Vec<PendingCall>, message: impl Into<String>) -> Self {
        Self { calls, ..Self::new(key, Effect::Changes, Reason::ChangesPending.label(), message) }
    }

    /// Whether the first call binds the object to an account.
    pub fn is_binding(&self) -> bool {
        self.calls.first().is_some_and(|call| matches!(&*call.operation, "create" | "adopt" | "bind"))
    }

    /// The item with a message that its calls follow those of `groups`.
    #[must_use]
    pub fn after_groups(mut self, groups: &[String]) -> Self {
        if self.effect == Effect::Changes && !groups.is_empty() {
            let after = format!("after group {}", groups.join(", "));
            self.message = if self.message.is_empty() { after } else { format!("{after}; {}", self.message) };
        }
        self
    }
}

/// The item of a credential. It has no calls, because usher does not change logins.
pub fn of_credential(context: &Context, credential: &Arc<ProviderCredential>) -> Item {
    let key = credential.key();
    if let Some(by) = credential.paused_by() {
        return Item::nothing(key, "Paused", format!("paused by {by}"));
    }
    let orphans = credential.spec.deletion_policy == Some(UserDeletionPolicy::Orphan);
    if credential.metadata.deletion_timestamp.is_some() && (orphans || release::bound(context, credential) == 0) {
        return Item::nothing(
            key,
            Reason::Deleting.label(),
            "no object is bound through the credential, so usher removes its finalizer",
        );
    }
    let Some(link) = context.connections.get(&key) else {
        return Item::blocked(key, Reason::WaitingForCredential, "the credential was not checked");
    };
    let verdict = status::verdict(context, credential, &link);
    if verdict.reason.is_ready() {
        Item::nothing(key, verdict.reason.label(), verdict.message)
    } else {
        Item::blocked(key, verdict.reason, verdict.message)
    }
}

/// The item of a user or group whose simulated reconcile ended with `result`.
///
/// Errors: Kubernetes did not answer.
pub fn of_object<K: Managed>(
    context: &Context,
    object: &K,
    result: Result<Outcome, Stop>,
) -> Result<Item, kube::Error> {
    let key = object.key();
    Ok(match result {
        Ok(Outcome::Done(Done { verdict, change: _ })) => Item::nothing(key, verdict.reason.label(), verdict.message),
        Err(Stop::Pending(calls)) if calls.is_empty() => {
            Item::nothing(key, Reason::Synced.label(), "no call to the vendor is needed")
        }
        Err(Stop::Pending(calls)) => Item::changes(key, calls, mode_note(context, object)),
        Err(Stop::Verdict(verdict)) if verdict.reason == Reason::Deleting => {
            Item::changes(key, vec![call("delete", &object.identity(), Vec::new())], verdict.message)
        }
        Err(Stop::Verdict(verdict) | Stop::Until(verdict, _)) => Item::blocked(key, verdict.reason, verdict.message),
        Err(Stop::Provider(error)) => Item::blocked(key, report::reason_of(&error), error.message),
        Err(Stop::Paused(by)) => Item::nothing(key, "Paused", format!("paused by {by}")),
        Ok(Outcome::Released(_)) => {
            Item::nothing(key, Reason::Deleting.label(), "the object has no account, so usher removes its finalizer")
        }
        Ok(Outcome::Again) => Item::blocked(key, Reason::ProviderUnavailable, RUN_AGAIN),
        Err(Stop::Unchanged) => Item::blocked(key, Reason::WaitingForCredential, why_not_compared(context, object)),
        Err(Stop::CreatePending(until) | Stop::KeyLocked(until) | Stop::Unsettled(until)) => {
            let message =
                format!("an earlier create may still be under way until {until:.0}; run usher plan again then");
            Item::blocked(key, Reason::ProviderUnavailable, message)
        }
        Err(Stop::AwaitsPermit | Stop::AwaitsListing | Stop::AwaitsCredential | Stop::AwaitsEdit) => {
            Item::blocked(key, Reason::ProviderUnavailable, RUN_AGAIN)
        }
        Err(Stop::Kube(kube::Error::Api(status))) if status.is_forbidden() => {
            Item::blocked(key, Reason::PermissionDenied, format!("Kubernetes: {}", status.message))
        }
        Err(Stop::Kube(error)) => return Err(error),
    })
}

/// A message that mode Plan keeps `usher run` from making the calls; empty in mode Enforce.
fn mode_note<K: Managed>(context: &Context, object: &K) -> String {
    let key = object.credential_key();
    let by_credential =
        context.cluster.credentials.get(&key.namespace, &key.name).and_then(|credential| credential.spec.mode);
    if object.mode() == Some(Mode::Plan) {
        "spec.mode: Plan keeps usher from making these calls".into()
    } else if by_credential == Some(Mode::Plan) {
        format!("spec.mode: Plan of the credential {} keeps usher from making these calls", key.name)
    } else {
        String::new()
    }
}

/// The message on an object that was in sync and cannot be compared now.
fn why_not_compared<K: Managed>(context: &Context, object: &K) -> String {
    let key = object.credential_key();
    let why = match context.connections.get(&key) {
        Some(Link::Down(down)) => down.verdict.message,
        Some(Link::Up(connection)) => {
            connection.last_failure().map_or_else(String::new, |last_failure| last_failure.error.message)
        }
        None => "there is no such credential".into(),
    };
    format!("the object was in sync and cannot be compared now: {key}: {why}")
}

fn call(operation: &str, identity: &Identity, fields: Vec<String>) -> PendingCall {
    let target = identity.external_id.as_ref().or(identity.key.as_ref());
    PendingCall::new(operation, target.cloned().unwrap_or_default(), fields)
}

/// The account that a create among `calls` would make, with the fields of `table` by which other objects find it.
pub fn new_account(table: &[Field], calls: &[PendingCall], identity: &Identity) -> Option<Account> {
    let create = calls.first().filter(|call| call.operation == "create")?;
    let names = naming_fields(table).map(|field| (field.to_owned(), create.target.clone().into()));
    Some(Account { id: identity.external_id.clone()?, fields: names.collect(), ..Account::default() })
}
