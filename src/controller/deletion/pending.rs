//! The decision about an object that is being deleted, as the calls that `usher plan` prints. It carries nothing out.

use super::decide::{Decision, decide};
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::status::PendingCall;
use crate::controller::cluster::lifecycle::Deleting;
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;
use crate::controller::hints::blocked;
use crate::controller::outcome::{Outcome, Stop};
use crate::plan::{NextDeletion, Release, Wait};

/// The calls that a removal of `object` would make.
///
/// Errors: those calls, as [`Stop::Pending`]; or why the removal could not proceed.
pub async fn pending<K: Managed>(context: &Context, object: &Deleting<K>) -> Result<Outcome, Stop> {
    let decision = decide(context, object).await?;
    let call = |operation: &str| Stop::Pending(vec![PendingCall::new(operation, target(object), Vec::new())]);
    Err(match &decision.next {
        NextDeletion::Finished | NextDeletion::Release(Release::NoAccount | Release::AlreadyGone) => {
            return Ok(Outcome::Released(None));
        }
        NextDeletion::Release(Release::Orphan { .. } | Release::Uninstalled) => call("orphan"),
        NextDeletion::Release(Release::AlreadyDisabled) => Stop::Pending(Vec::new()),
        NextDeletion::HandOver => call("hand over"),
        NextDeletion::Delete | NextDeletion::Disable => Stop::Pending(vec![removal(&decision)]),
        NextDeletion::Blocked(why) => blocked(&object.key(), why),
        NextDeletion::Held(why, until) => Stop::Until(Verdict::new(Reason::RemovalHeld, why.clone()), *until),
        NextDeletion::Wait(Wait::Users(count, one)) => {
            Stop::because(Reason::Deleting, format!("waiting for {count} users that are being deleted, e.g. {one}"))
        }
        NextDeletion::Wait(Wait::Permit) => Stop::AwaitsPermit,
        NextDeletion::Wait(Wait::Credential) => Stop::AwaitsCredential,
        NextDeletion::Wait(Wait::Successor(_) | Wait::Edit) | NextDeletion::Ask(_) => Stop::AwaitsEdit,
    })
}

fn target<K: Managed>(object: &Deleting<K>) -> String {
    let identity = object.identity();
    identity.external_id.or(identity.key).unwrap_or_default()
}

fn removal<K: Managed>(decision: &Decision<K>) -> PendingCall {
    let id = decision.account.as_ref().map(|account| account.id.clone()).unwrap_or_default();
    let capabilities = decision.connection.as_ref().map(|connection| connection.provider.capabilities());
    match capabilities.and_then(|capabilities| capabilities.switch).filter(|_| decision.next == NextDeletion::Disable) {
        Some(switch) => PendingCall::new("disable", id, vec![switch.field.to_owned()]),
        None => PendingCall::new("delete", id, Vec::new()),
    }
}
