//! The reconcile of a PlatformUser: resolve → validate → plan → apply → report.

use std::sync::Arc;

use kube::runtime::controller::Action;

use super::report;
use super::report::ReportContext;
use crate::api::PlatformUser;
use crate::api::status::Identity;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::{lenient, status as record};
use crate::controller::context::Context;
use crate::controller::deletion::finalize as removal;
use crate::controller::outcome::{Done, Stop};
use crate::controller::resolve::password::Password;
use crate::controller::resolve::{object as resolve, password};
use crate::controller::sync::reconciliation::Reconciliation;
use crate::plan::AccountKind;

/// Brings one user and its account together, and says how that went.
///
/// Errors: Kubernetes failed us.
pub async fn reconcile(user: Arc<PlatformUser>, context: &Context) -> Result<Action, kube::Error> {
    let mut user = context.users.latest(user);
    let mut report_context = ReportContext::default();
    let result = attempt(&mut user, &mut report_context, context).await;
    let user = context.users.latest(user);
    report::report(context, &user, report_context, result).await
}

/// One look at a user, up to how it ended; nothing is said of it yet.
pub async fn attempt(
    user: &mut Arc<PlatformUser>,
    report_context: &mut ReportContext,
    context: &Context,
) -> Result<Done, Stop> {
    if user.is_deleting() {
        removal::remove(context, user).await?;
    }
    record::ensure_finalizer(context, user).await?;
    lenient::readable(&**user)?;
    // resolve (client required)
    resolve::not_paused(context, &**user)?;
    let connection = resolve::connection(context, &**user)?;
    report_context.vendor = Some(connection.vendor);
    report_context.mode = Some(resolve::mode(context, &connection, &**user));
    resolve::listed(context, &**user, &connection, AccountKind::User)?;
    let identity = user.identity();
    let is_bound = identity.external_id.is_some();
    let (membership, resolved, missing) = resolve::membership(context, user, &connection);
    let (password, unread) = password(context, user, &identity).await?;

    // validate (no client required)
    let catalog = connection.index().catalog.clone();
    let mut desired = user.desire(&*connection.provider, &catalog)?;
    let blind = !connection.provider.capabilities().shows_accounts();
    let late = match missing {
        Some(stop) if !is_bound || blind || matches!(stop, Stop::Queued) => return Err(stop),
        missing => missing.or(unread).or_else(|| never_sent(&password, &identity)),
    };
    desired.groups = membership;

    // plan and apply (client required)
    let mode = resolve::mode(context, &connection, &**user);
    let forced = resolve::is_forced(&**user);
    let releases_groups = user.spec.groups.is_none();
    let object = user.clone();
    let mut case = Reconciliation {
        context,
        object,
        connection,
        desired,
        password,
        mode,
        releases_groups,
        resolved,
        forced,
        blind,
        identity,
    };
    case.check_desired()?;
    let done = case.converge().await;
    *user = case.object;
    report_context.compared = done.as_ref().map_or_else(Stop::is_comparison, |_| true);
    match (done, late) {
        (Ok(_), Some(stop)) => Err(stop),
        (done, _) => done,
    }
}

/// The password. Someone who is bound never waits for a Secret that cannot be read to lose what he shall lose: that is said later.
async fn password(
    context: &Context,
    user: &PlatformUser,
    identity: &Identity,
) -> Result<(Password, Option<Stop>), Stop> {
    // What another account was sent is not known to the one that is to take its place.
    let known = identity.password_version.as_deref().filter(|_| !identity.is_missing());
    match password::resolve(context, user, known).await {
        Ok(password) => Ok((password, None)),
        Err(stop) if identity.external_id.is_some() => Ok((Password::Unmanaged, Some(stop))),
        Err(stop) => Err(stop),
    }
}

/// What is missing to send a first password to someone who is bound already.
fn never_sent(password: &Password, identity: &Identity) -> Option<Stop> {
    match password {
        Password::Missing(verdict) if identity.external_id.is_some() && identity.password_version.is_none() => {
            Some(Stop::Verdict(verdict.clone()))
        }
        _ => None,
    }
}
