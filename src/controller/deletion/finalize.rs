//! Carries out the decision about an object that is being deleted, and releases it.

use std::sync::Arc;

use super::decide::{Decision, decide};
use super::{budget, execute};
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::status::{Creating, Identity};
use crate::controller::cluster::finalizer;
use crate::controller::cluster::lifecycle::Deleting;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::hints::blocked;
use crate::controller::outcome::{Change, Finalized, Outcome, Stop};
use crate::controller::ownership::handover;
use crate::plan::{NextDeletion, Release, Wait};

/// Instead of the id of an account that a pending create may have made.
const MAYBE: &str = "which may have been made";

/// Takes the account of `object` away as its policy says, then lets the object go.
///
/// Errors: why the removal cannot proceed, or what it waits for.
pub async fn finalize<K: Managed>(context: &Context, object: &Deleting<K>) -> Result<Outcome, Stop> {
    let decision = decide(context, object).await?;
    let finalized = match &decision.next {
        NextDeletion::Finished => return Ok(Outcome::Released(None)),
        NextDeletion::Release(release) => released(object, &decision, *release),
        NextDeletion::HandOver => hand_over(context, object, decision.successor).await?,
        NextDeletion::Delete | NextDeletion::Disable => Some(take_away(context, object, decision).await?),
        NextDeletion::Blocked(why) => return Err(blocked(&object.key(), why)),
        NextDeletion::Held(why, until) => {
            return Err(Stop::Until(Verdict::new(Reason::RemovalHeld, why.clone()), *until));
        }
        NextDeletion::Wait(wait) => return Err(wait_for(wait)),
        // The decision is made only once every question is answered.
        NextDeletion::Ask(_) => return Err(Stop::AwaitsEdit),
    };
    finalizer::remove_finalizer(&context.cluster, &***object).await?;
    budget::note_gone(context, &***object).await;
    Ok(Outcome::Released(finalized))
}

fn wait_for(wait: &Wait) -> Stop {
    match wait {
        Wait::Successor(until) => {
            let message =
                format!("the account is taken away at {until:.0}, unless another object takes it over before");
            Stop::Until(Verdict::new(Reason::Deleting, message), *until)
        }
        Wait::Users(count, one) => {
            let message = format!("waiting for {count} users that are being deleted, e.g. {one}");
            Stop::because(Reason::Deleting, message)
        }
        Wait::Credential => Stop::AwaitsCredential,
        Wait::Permit => Stop::AwaitsPermit,
        Wait::Edit => Stop::AwaitsEdit,
    }
}

/// What became of the account of an object that goes without a call to the vendor.
fn released<K: Managed>(object: &Deleting<K>, decision: &Decision<K>, release: Release) -> Option<Finalized> {
    let identity = object.stated_identity();
    match release {
        Release::NoAccount => None,
        Release::Orphan { .. } if object.is_unsealed() => {
            Some(orphaned(&identity, true, ", because the status that names it has no seal of usher"))
        }
        Release::Orphan { unexpected } => Some(orphaned(&identity, unexpected, "")),
        Release::Uninstalled => {
            Some(orphaned(&identity, true, ", because the CustomResourceDefinition is being deleted"))
        }
        Release::AlreadyGone => {
            let connection = decision.connection.as_ref()?;
            identity.external_id.iter().for_each(|id| connection.record_write(K::ACCOUNT_KIND, id, None));
            Some(Finalized { change: Change::Deleted, note: nothing_there(connection, &identity), warns: false })
        }
        Release::AlreadyDisabled => {
            let (account, connection) = (decision.account.as_ref()?, decision.connection.as_ref()?);
            let note = format!("the account {} at {} was disabled already", account.id, connection.account);
            Some(Finalized { change: Change::Disabled, note, warns: false })
        }
    }
}

fn orphaned(identity: &Identity, warns: bool, why: &str) -> Finalized {
    let id = identity.known_id().map_or(MAYBE, String::as_str);
    let key = identity.key.as_deref().or(identity.creating.as_ref().map(|creating| creating.key.as_str()));
    let account = identity.account.as_deref().unwrap_or("the vendor");
    let note = format!("the account {id} ({}) stays at {account}{why}", key.unwrap_or_default());
    Finalized { change: Change::Orphaned, note, warns }
}

/// The note where there is nothing to remove.
fn nothing_there(connection: &Connection, identity: &Identity) -> String {
    let vendor = connection.vendor.title();
    match (identity.known_id(), &identity.creating) {
        (None, Some(Creating { key, .. })) => format!(
            "the pending create of {key} made nothing; an account of that name at {vendor} is not this object's"
        ),
        _ => format!("{vendor} has no such account any more"),
    }
}

async fn hand_over<K: Managed>(
    context: &Context,
    object: &Deleting<K>,
    successor: Option<Arc<K>>,
) -> Result<Option<Finalized>, Stop> {
    let Some(successor) = successor else { return Err(Stop::AwaitsEdit) };
    let identity = object.identity();
    let id = identity.known_id().map_or(MAYBE, String::as_str);
    let note = format!("the account {id} passes on to {}; nothing was sent to the vendor", successor.key());
    handover::transfer(context, &***object, successor).await?;
    Ok(Some(Finalized { change: Change::HandedOver, note, warns: false }))
}

async fn take_away<K: Managed>(
    context: &Context,
    object: &Deleting<K>,
    decision: Decision<K>,
) -> Result<Finalized, Stop> {
    let (Some(connection), Some(account)) = (&decision.connection, &decision.account) else {
        return Err(Stop::AwaitsEdit);
    };
    let switch = connection.provider.capabilities().switch.filter(|_| decision.next == NextDeletion::Disable);
    let change = match switch {
        Some(switch) => execute::disable(context, object, connection, account, switch).await?,
        None => execute::delete(object, connection, account).await?,
    };
    let note = format!("the account {} at {}", account.id, connection.account);
    Ok(Finalized { change, note, warns: false })
}
