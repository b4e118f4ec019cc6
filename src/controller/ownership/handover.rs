//! Hand-over: when the holder of an account is deleted and another live object asks for the account, the account passes on instead of
//! being removed.

use std::sync::Arc;

use kube::ResourceExt;
use tracing::info;

use crate::api::status::Identity;
use crate::api::user::AdoptionPolicy;
use crate::api::{ObjectKey, ProviderCredentialSpec, Vendor};
use crate::controller::cluster::finalizer;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::cluster::status::write_identity;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::controller::resolve::{access, mode};
use crate::plan::same_key;

/// The live object that takes over the account of `holder`, which is being deleted: it is bound to that account already, or asks for it
/// by key or id. Of several the older one, then the one with the lower uid.
pub fn find<K: Managed>(context: &Context, holder: &K) -> Option<Arc<K>> {
    let identity = holder.identity();
    let credential = access::credential(context, holder)?;
    let keys = identity.known_keys().map(|key| IndexKey::key(key));
    let index_keys: Vec<IndexKey> =
        keys.chain(identity.known_id().cloned().into_iter().map(IndexKey::Account)).collect();
    let mut successors = K::cache(&context.cluster).by_index(&index_keys, |other| {
        !other.is_deleting()
            && other.uid() != holder.uid()
            && asks_for(context, other, &identity, credential.vendor())
            && may_take_over(context, &credential.spec, holder, other)
            && mode::is_enforced(context, other)
    });
    successors.sort_by_key(|successor| seniority(&**successor));
    successors.into_iter().next()
}

/// The order of objects that are not bound: by age, then by uid.
pub fn seniority<K: Managed>(object: &K) -> (Option<jiff::Timestamp>, Option<String>) {
    (object.creation_timestamp().map(|time| time.0), object.uid())
}

fn asks_for<K: Managed>(context: &Context, other: &K, identity: &Identity, vendor: Option<Vendor>) -> bool {
    let own = other.identity();
    if own.creating.is_some() {
        return own.creating == identity.creating;
    }
    // An object whose missing account is another one is as free as an object that never had any.
    let bound = own.known_id().filter(|id| own.external_id.is_some() || Some(*id) == identity.known_id());
    match (bound, identity.known_id()) {
        (Some(bound), id) => {
            Some(bound) == id && is_same_account(context, other, own.account.as_ref(), identity.account.as_ref())
        }
        (None, Some(id)) if other.external_id().is_some() => other.external_id() == Some(id.as_str()),
        (None, _) => {
            // Without a vendor no key counts, because each vendor ignores other keys.
            let wanted = vendor.map(|vendor| other.keys_at(vendor)).unwrap_or_default();
            identity.known_keys().any(|key| wanted.iter().any(|own| same_key(own, key)))
        }
    }
}

/// Whether two statuses name the same account: as text, or both by the credential of `other`, because earlier builds wrote it in
/// another form.
fn is_same_account<K: Managed>(context: &Context, other: &K, one: Option<&String>, two: Option<&String>) -> bool {
    let connection = || context.connections.up(&other.credential_key());
    let leads_to_both =
        |(one, two): (&String, &String)| connection().is_some_and(|c| c.leads_to(one) && c.leads_to(two));
    one == two || one.zip(two).is_some_and(leads_to_both)
}

/// Whether `successor` may take the account over. Within a namespace and a credential a manifest may be renamed. From elsewhere, the
/// successor has to be allowed to take existing accounts by the credential of `holder`, whose spec is `spec`; and where its own
/// credential is another one, which has to be known to lead to the same account, by that one too.
fn may_take_over<K: Managed>(context: &Context, spec: &ProviderCredentialSpec, holder: &K, successor: &K) -> bool {
    let (namespace, key) = (successor.namespace().unwrap_or_default(), successor.credential_key());
    let holders_key = holder.credential_key();
    let is_same = key == holders_key;
    if is_same && successor.namespace() == holder.namespace() {
        return true;
    }
    let account = holder.identity().account.unwrap_or_default();
    let other = context.connections.up(&key).filter(|other| other.shares(&holders_key, &account));
    let own_spec = match &other {
        _ if is_same => spec,
        Some(other) => &other.spec,
        None => return false,
    };
    let asks = successor.external_id().is_some()
        || successor.adoption().or(own_spec.adoption_policy) == Some(AdoptionPolicy::Adopt);
    let allows = |key: &ObjectKey, spec: &ProviderCredentialSpec| {
        access::may_use(context, key, spec, &namespace) && access::may_take_existing(key, spec, &namespace)
    };
    asks && allows(&key, own_spec) && (is_same || allows(&holders_key, spec))
}

/// Binds `successor` to the account of `holder`, with all that is known of it. Its reconcile goes on once the holder is gone. A second
/// transfer changes nothing.
///
/// Errors: Kubernetes did not answer, or the successor was written meanwhile.
pub async fn transfer<K: Managed>(context: &Context, holder: &K, successor: Arc<K>) -> Result<(), Stop> {
    let identity = Identity { cluster: context.cluster.id(), ..holder.identity() };
    let own = successor.identity();
    if (own.known_id(), &own.creating) != (identity.known_id(), &identity.creating) {
        let held = finalizer::add_finalizer(&context.cluster, successor.clone()).await?;
        write_identity(&context.cluster, &*held, &identity, true).await?;
        info!(object = %holder.key(), successor = %successor.key(), account = identity.known_id(), "the account passes on");
    }
    Ok(())
}
