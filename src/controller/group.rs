//! The reconcile of a PlatformGroup: resolve → validate → plan → apply → report.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::apply::Case;
use super::context::Context;
use super::managed::Managed;
use super::outcome::{Done, Stop};
use super::password::Password;
use super::report::{self, Scene};
use super::{removal, resolve, salvage};
use crate::api::user::GroupEntry;
use crate::api::{PlatformGroup, PlatformUser};
use crate::plan::Subject;

/// Brings one group and its counterpart together, says how that went, and wakes the users that wait for it.
///
/// Errors: Kubernetes failed us.
pub async fn reconcile(group: Arc<PlatformGroup>, context: &Context) -> Result<Action, kube::Error> {
    let mut group = context.groups.newest(group);
    let was_ready = resolve::is_settled(&*group);
    let mut scene = Scene::default();
    let result = attempt(&mut group, &mut scene, context).await;
    let action = {
        let group = context.groups.newest(group.clone());
        report::report(context, &group, scene, result).await?
    };
    let group = context.groups.newest(group);
    if !was_ready && resolve::is_settled(&*group) {
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
        blind: false,
        identity,
    };
    case.check_desired()?;
    let done = case.converge().await;
    *group = case.object;
    scene.compared = done.is_ok();
    done
}

/// Whether `user` names the PlatformGroup `name` of its namespace.
pub fn names_group(user: &PlatformUser, name: &str) -> bool {
    let mut entries = user.spec.groups.iter().flatten();
    entries.any(|entry| matches!(entry, GroupEntry::GroupRef(reference) if reference.name == name))
}

fn wake_members(context: &Context, group: &PlatformGroup) {
    let (namespace, name) = (group.namespace(), group.name_any());
    let members = context.users.all(|user| user.namespace() == namespace && names_group(user, &name));
    members.iter().for_each(|user| context.wake(user.key()));
}
