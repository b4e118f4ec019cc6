//! The reconcile of a PlatformUser.

use std::sync::Arc;

use super::reconcile;
use crate::api::PlatformUser;
use crate::controller::backoff::Action;
use crate::controller::context::Context;

/// Brings one user and its account together, and reports how that went.
///
/// Errors: Kubernetes did not answer.
pub async fn reconcile(user: Arc<PlatformUser>, context: &Context) -> Result<Action, kube::Error> {
    reconcile::reconcile(user, context).await
}
