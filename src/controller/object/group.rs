//! The reconcile of a PlatformGroup: resolve → validate → plan → apply → report.

use std::sync::Arc;

use kube::runtime::controller::Action;

use super::report::ReportContext;
use super::{account, report};
use crate::api::PlatformGroup;
use crate::controller::cluster::cache::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::{lenient, status as record};
use crate::controller::context::Context;
use crate::controller::deletion::finalize as removal;
use crate::controller::outcome::{Done, Stop};
use crate::controller::resolve::object as resolve;
use crate::controller::resolve::password::Password;
use crate::controller::sync::reconciliation::Reconciliation;
use crate::plan::AccountKind;

/// Brings one group and its counterpart together, says how that went, and wakes the users that wait for it.
///
/// Errors: Kubernetes failed us.
pub async fn reconcile(group: Arc<PlatformGroup>, context: &Context) -> Result<Action, kube::Error> {
    let mut group = context.groups.latest(group);
    let before = usable_as(&group);
    let mut report_context = ReportContext::default();
    let result = attempt(&mut group, &mut report_context, context).await;
    let action = {
        let group = context.groups.latest(group.clone());
        report::report(context, &group, report_context, result).await?
    };
    let group = context.groups.latest(group);
    let now = usable_as(&group);
    if now.is_some() && now != before {
        enqueue_members(context, &group);
    }
    Ok(action)
}

/// One look at a group, up to how it ended; nothing is said of it yet.
pub async fn attempt(
    group: &mut Arc<PlatformGroup>,
    report_context: &mut ReportContext,
    context: &Context,
) -> Result<Done, Stop> {
    if group.is_deleting() {
        removal::remove(context, group).await?;
    }
    record::ensure_finalizer(context, group).await?;
    lenient::readable(&**group)?;
    // resolve (client required)
    resolve::not_paused(context, &**group)?;
    let connection = resolve::connection(context, &**group)?;
    account::renew(context, group, &connection).await?;
    report_context.vendor = Some(connection.vendor);
    report_context.mode = Some(resolve::mode(context, &connection, &**group));
    resolve::listed(context, &**group, &connection, AccountKind::Group)?;

    // validate (no client required)
    let catalog = connection.index().catalog.clone();
    let desired = group.desire(&*connection.provider, &catalog)?;

    // plan and apply (client required)
    let mode = resolve::mode(context, &connection, &**group);
    let (forced, identity) = (resolve::is_forced(&**group), group.identity());
    let mut case = Reconciliation {
        context,
        object: group.clone(),
        connection,
        desired,
        password: Password::Unmanaged,
        mode,
        releases_groups: false,
        forced,
        resolved: None,
        blind: false,
        identity,
    };
    case.check_desired()?;
    let done = case.converge().await;
    *group = case.object;
    report_context.compared = done.as_ref().map_or_else(Stop::is_comparison, |_| true);
    done
}

/// The id that users are put into, once the group is ready.
fn usable_as(group: &PlatformGroup) -> Option<String> {
    group.identity().external_id.filter(|_| resolve::is_unchanged(group))
}

fn enqueue_members(context: &Context, group: &PlatformGroup) {
    let members = context.users.by_index(&[IndexKey::Group(group.key())], |_| true);
    members.iter().for_each(|user| context.enqueue(user.key()));
}
