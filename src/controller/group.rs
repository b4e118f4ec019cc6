//! The reconcile of a PlatformGroup: resolve → validate → plan → apply → report.

use std::sync::Arc;

use kube::runtime::controller::Action;

use super::apply::Case;
use super::context::Context;
use super::managed::Managed;
use super::outcome::{Done, Stop};
use super::password::Password;
use super::report::{self, Scene};
use super::shelf::Tag;
use super::{record, removal, resolve, salvage};
use crate::api::PlatformGroup;
use crate::plan::Subject;

/// Brings one group and its counterpart together, says how that went, and wakes the users that wait for it.
///
/// Errors: Kubernetes failed us.
pub async fn reconcile(group: Arc<PlatformGroup>, context: &Context) -> Result<Action, kube::Error> {
    let mut group = context.groups.newest(group);
    let before = usable_as(&group);
    let mut scene = Scene::default();
    let result = attempt(&mut group, &mut scene, context).await;
    let action = {
        let group = context.groups.newest(group.clone());
        report::report(context, &group, scene, result).await?
    };
    let group = context.groups.newest(group);
    let now = usable_as(&group);
    if now.is_some() && now != before {
        wake_members(context, &group);
    }
    Ok(action)
}

/// One look at a group, up to how it ended; nothing is said of it yet.
pub(super) async fn attempt(
    group: &mut Arc<PlatformGroup>,
    scene: &mut Scene,
    context: &Context,
) -> Result<Done, Stop> {
    if group.is_going() {
        removal::remove(context, group).await?;
    }
    record::hold_again(context, group).await?;
    salvage::readable(&**group)?;
    // resolve (client required)
    resolve::not_paused(context, &**group)?;
    let connection = resolve::connection(context, &**group)?;
    scene.vendor = Some(connection.vendor);
    scene.mode = Some(resolve::mode(context, &connection, &**group));
    resolve::listed(context, &**group, &connection, Subject::Group)?;

    // validate (no client required)
    let catalog = connection.index().catalog.clone();
    let desired = group.desire(&*connection.provider, &catalog)?;

    // plan and apply (client required)
    let mode = resolve::mode(context, &connection, &**group);
    let (forced, identity) = (resolve::is_forced(&**group), group.identity());
    let mut case = Case {
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
    scene.compared = done.as_ref().map_or_else(Stop::is_comparison, |_| true);
    done
}

/// The id that users are put into, once the group is ready.
fn usable_as(group: &PlatformGroup) -> Option<String> {
    group.identity().external_id.filter(|_| resolve::is_settled(group))
}

fn wake_members(context: &Context, group: &PlatformGroup) {
    let members = context.users.tagged(&[Tag::Group(group.key())], |_| true);
    members.iter().for_each(|user| context.wake(user.key()));
}
