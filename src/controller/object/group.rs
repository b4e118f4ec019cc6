//! The reconcile of a PlatformGroup. It enqueues the users that wait for the group.

use std::sync::Arc;

use super::reconcile;
use crate::api::PlatformGroup;
use crate::controller::backoff::Action;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object;
use crate::controller::context::Context;
use crate::controller::resolve::groups::is_usable;

/// Brings one group and its counterpart together, reports how that went, and enqueues the users that wait for it.
///
/// Errors: Kubernetes did not answer.
pub async fn reconcile(group: Arc<PlatformGroup>, context: &Context) -> Result<Action, kube::Error> {
    let before = usable_as(&context.cluster.groups.latest(group.clone()));
    let action = reconcile::reconcile(group.clone(), context).await?;
    let now = usable_as(&context.cluster.groups.latest(group.clone()));
    if now.is_some() && now != before {
        let members = context.cluster.users.by_index(&[IndexKey::Group(group.key())], |_| true);
        members.iter().for_each(|user| context.cluster.enqueue(user.key()));
    }
    Ok(action)
}

/// The id that users are put into, once the group is there.
fn usable_as(group: &PlatformGroup) -> Option<String> {
    group.identity().external_id.filter(|_| !group.is_deleting() && is_usable(group))
}
