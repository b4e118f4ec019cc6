//! The removal that the policies of object and credential ask for, decided before any vendor is called.

use super::access;
use crate::api::Reason;
use crate::controller::cluster::lenient;
use crate::controller::cluster::managed::{Managed, deletion_policy_of};
use crate::controller::cluster::object::Object as _;
use crate::controller::context::Context;
use crate::plan::{AccountKind, DeletionPolicy, GroupSupport, Rejection, Removal};
use crate::{plan, providers};

/// The removal that the policies ask for.
///
/// Errors: the vendor cannot carry out the policy in the manifest, or the policy cannot be read.
pub fn decide<K: Managed>(context: &Context, object: &K) -> Result<Removal, Rejection> {
    if object.is_unsealed() {
        // Whose the account is that the status names is not known, so that it stays; the person is told.
        return Ok(Removal::Orphan { unexpected: true });
    }
    if let Some(policy) = lenient::unread_policy(object) {
        let message = format!("spec.deletionPolicy: {policy} is none that usher knows");
        return Err(Rejection::new(Reason::Invalid, message));
    }
    let pre_existing = object.identity().adopted == Some(true) || object.external_id().is_some();
    let credential = access::credential(context, object);
    let vendor = credential.as_ref().and_then(|credential| credential.vendor());
    let fallback = credential.and_then(|credential| credential.spec.deletion_policy).map(deletion_policy_of);
    let Some(vendor) = vendor.or(object.status().and_then(|status| status.report.provider)) else {
        let orphan = object.deletion_policy().map_or(pre_existing, |policy| policy == DeletionPolicy::Orphan);
        return Ok(if orphan { Removal::Orphan { unexpected: false } } else { Removal::Delete });
    };
    let capabilities = providers::capabilities(vendor);
    let read_only = K::ACCOUNT_KIND == AccountKind::Group && capabilities.groups != GroupSupport::Managed;
    plan::removal(capabilities, K::ACCOUNT_KIND, object.deletion_policy(), pre_existing || read_only, fallback)
}
