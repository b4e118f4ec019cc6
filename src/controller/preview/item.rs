//! How a look that must not do anything ended, in words; and what a removal says instead of being carried out.

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

/// The message on an object that waits for something passing.
const ASK_AGAIN: &str = "the vendor has no room now; ask again";

/// What would be done about one object.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which object.
    pub key: ObjectKey,
    /// Whether there is something to do.
    pub effect: Effect,
    /// The reason its Ready condition would have, ChangesPending if there are calls, or Paused.
    pub reason: String,
    /// What else there is to say; never a secret.
    pub message: String,
    /// The calls, in order.
    pub calls: Vec<PendingCall>,
}

/// Whether there is something to do about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Calls.
    Changes,
    /// Something, but it cannot be done.
    Blocked,
}

impl Item {
    fn new(key: ObjectKey, effect: Effect, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key, effect, reason: reason.into(), message: message.into(), calls: Vec::new() }
    }

    /// An object that nothing can be done about.
    pub fn blocked(key: ObjectKey, reason: Reason, message: impl Into<String>) -> Self {
        Self::new(key, Effect::Blocked, reason.label(), message)
    }

    fn quiet(key: ObjectKey, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(key, Effect::Nothing, reason, message)
    }

    fn changes(key: ObjectKey, calls: Vec<PendingCall>, message: impl Into<String>) -> Self {
        Self { calls, ..Self::new(key, Effect::Changes, Reason::ChangesPending.label(), message) }
    }

    /// Whether its first call gives it an account.
    pub fn is_binding(&self) -> bool {
        self.calls.first().is_some_and(|call| matches!(&*call.operation, "create" | "adopt" | "bind"))
    }

    /// It with a word on the groups that come first.
    pub fn after(mut self, groups: &[String]) -> Self {
        if self.effect == Effect::Changes && !groups.is_empty() {
            let after = format!("after group {}", groups.join(", "));
            self.message = if self.message.is_empty() { after } else { format!("{after}; {}", self.message) };
        }
        self
    }
}

/// What is to be said of a credential, for which no call is ever made.
pub fn of_credential(context: &Context, credential: &Arc<ProviderCredential>) -> Item {
    let key = credential.key();
    if let Some(by) = credential.paused_by() {
        return Item::quiet(key, "Paused", format!("paused by {by}"));
    }
    let orphans = credential.spec.deletion_policy == Some(UserDeletionPolicy::Orphan);
    if credential.metadata.deletion_timestamp.is_some() && (orphans || release::bound(context, credential) == 0) {
        return Item::quiet(key, Reason::Deleting.label(), "nothing is bound through it: it goes");
    }
    let Some(link) = context.connections.get(&key) else {
        return Item::blocked(key, Reason::WaitingForCredential, "not looked at");
    };
    let verdict = status::verdict(context, credential, &link);
    if verdict.reason.is_ready() {
        Item::quiet(key, verdict.reason.label(), verdict.message)
    } else {
        Item::blocked(key, verdict.reason, verdict.message)
    }
}

/// What is to be said of a user or group.
///
/// Errors: Kubernetes failed us, other than by refusing.
pub fn of_object<K: Managed>(
    context: &Context,
    object: &K,
    result: Result<Outcome, Stop>,
) -> Result<Item, kube::Error> {
    let key = object.key();
    Ok(match result {
        Ok(Outcome::Done(Done { verdict, change: _ })) => Item::quiet(key, verdict.reason.label(), verdict.message),
        Err(Stop::Pending(calls)) if calls.is_empty() => {
            Item::quiet(key, Reason::Synced.label(), "no call to the vendor is needed")
        }
        Err(Stop::Pending(calls)) => Item::changes(key, calls, held_back(context, object)),
        Err(Stop::Verdict(verdict)) if verdict.reason == Reason::Deleting => {
            Item::changes(key, vec![call("delete", &object.identity(), Vec::new())], verdict.message)
        }
        Err(Stop::Verdict(verdict) | Stop::Until(verdict, _)) => Item::blocked(key, verdict.reason, verdict.message),
        Err(Stop::Provider(error)) => Item::blocked(key, report::reason_of(&error), error.message),
        Err(Stop::Paused(by)) => Item::quiet(key, "Paused", format!("paused by {by}")),
        Ok(Outcome::Released(_)) => Item::quiet(key, Reason::Deleting.label(), "nothing is bound to it: it goes"),
        Ok(Outcome::Again) => Item::blocked(key, Reason::ProviderUnavailable, ASK_AGAIN),
        Err(Stop::Unchanged) => Item::blocked(key, Reason::WaitingForCredential, why_not(context, object)),
        Err(Stop::CreatePending(until) | Stop::KeyLocked(until)) => {
            let message = format!("an earlier create may still be under way until {until:.0}; ask again then");
            Item::blocked(key, Reason::ProviderUnavailable, message)
        }
        Err(Stop::AwaitsPermit | Stop::AwaitsListing | Stop::AwaitsCredential | Stop::AwaitsEdit) => {
            Item::blocked(key, Reason::ProviderUnavailable, ASK_AGAIN)
        }
        Err(Stop::Kube(kube::Error::Api(status))) if status.is_forbidden() => {
            Item::blocked(key, Reason::PermissionDenied, format!("Kubernetes: {}", status.message))
        }
        Err(Stop::Kube(error)) => return Err(error),
    })
}

/// What keeps usher itself from making the calls, if anything does.
fn held_back<K: Managed>(context: &Context, object: &K) -> String {
    let key = object.credential_key();
    let by_credential =
        context.cluster.credentials.get(&key.namespace, &key.name).and_then(|credential| credential.spec.mode);
    if object.mode() == Some(Mode::Plan) {
        "spec.mode: Plan holds this back".into()
    } else if by_credential == Some(Mode::Plan) {
        format!("spec.mode: Plan of the credential {} holds this back", key.name)
    } else {
        String::new()
    }
}

/// Why an object that was in sync cannot be compared now.
fn why_not<K: Managed>(context: &Context, object: &K) -> String {
    let key = object.credential_key();
    let why = match context.connections.get(&key) {
        Some(Link::Down(down)) => down.verdict.message,
        Some(Link::Up(connection)) => {
            connection.last_failure().map_or_else(String::new, |last_failure| last_failure.error.message)
        }
        None => "there is none".into(),
    };
    format!("it was in sync, and cannot be compared now: {key}: {why}")
}

fn call(operation: &str, identity: &Identity, fields: Vec<String>) -> PendingCall {
    let target = identity.external_id.as_ref().or(identity.key.as_ref());
    PendingCall::new(operation, target.cloned().unwrap_or_default(), fields)
}

/// The account that a create among `calls` would make, as far as others can see it.
pub fn new_account(table: &[Field], calls: &[PendingCall], identity: &Identity) -> Option<Account> {
    let create = calls.first().filter(|call| call.operation == "create")?;
    let names = naming_fields(table).map(|field| (field.to_owned(), create.target.clone().into()));
    Some(Account { id: identity.external_id.clone()?, fields: names.collect(), ..Account::default() })
}
