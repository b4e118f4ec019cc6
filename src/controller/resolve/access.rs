//! Which objects may use a credential, and which may take accounts that exist already. It calls no vendor.

use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use crate::api::credential::{AllowExisting, NamespacesFrom};
use crate::api::{ObjectKey, ProviderCredential, ProviderCredentialSpec, Reason};
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;

/// The credential of `object`, if it exists and may be used from the namespace of `object`.
pub fn credential<K: Managed>(context: &Context, object: &K) -> Option<std::sync::Arc<ProviderCredential>> {
    let key = object.credential_key();
    let credential = context.cluster.credentials.get(&key.namespace, &key.name)?;
    may_use(context, &key, &credential.spec, &object.namespace().unwrap_or_default()).then_some(credential)
}

/// Whether objects in `namespace` may use the credential `key`.
pub fn may_use(context: &Context, key: &ObjectKey, spec: &ProviderCredentialSpec, namespace: &str) -> bool {
    if key.namespace == namespace {
        return true;
    }
    let Some(allowed) = &spec.allowed_namespaces else { return false };
    match allowed.from {
        NamespacesFrom::Same => false,
        NamespacesFrom::All => true,
        NamespacesFrom::Selector => {
            let selector = allowed.selector.clone().and_then(|selector| Selector::try_from(selector).ok());
            let labels = context.cluster.namespace(namespace).map(|namespace| namespace.labels().clone());
            selector.zip(labels).is_some_and(|(selector, labels)| selector.matches(&labels))
        }
    }
}

/// Errors: the credential may not be used from the object's namespace. The message does not reveal whether it exists.
pub fn only_if_allowed<K: Managed>(context: &Context, object: &K) -> Result<(), Stop> {
    let key = object.credential_key();
    let namespace = object.namespace().unwrap_or_default();
    if key.namespace == namespace || credential(context, object).is_some() {
        return Ok(());
    }
    let message = format!(
        "spec.credentialRef: {key} may not be used from here: name a ProviderCredential of this namespace, or ask the owner of {} to include {namespace} in its spec.allowedNamespaces",
        key.namespace
    );
    Err(Stop::because(Reason::NamespaceNotAllowed, message))
}

/// Whether objects in `namespace` may take accounts that exist already at the vendor.
pub fn may_take_existing(key: &ObjectKey, spec: &ProviderCredentialSpec, namespace: &str) -> bool {
    match spec.allow_existing.unwrap_or_default() {
        AllowExisting::None => false,
        AllowExisting::Same => key.namespace == namespace,
        AllowExisting::All => true,
    }
}

/// The name of an account that is not the object's, masked outside the credential's own namespace.
pub fn masked<K: Managed>(connection: &Connection, object: &K, name: &str) -> String {
    if object.namespace().as_ref() == Some(&connection.key.namespace) {
        return name.to_owned();
    }
    format!("{}…", name.chars().take(1).collect::<String>())
}

/// Errors: objects of this namespace may not take existing accounts, which `field` asks for.
pub fn only_if_existing_allowed<K: Managed>(connection: &Connection, object: &K, field: &str) -> Result<(), Stop> {
    let namespace = object.namespace().unwrap_or_default();
    if may_take_existing(&connection.key, &connection.spec, &namespace) {
        return Ok(());
    }
    let message = format!(
        "{field}: {} does not let objects of {namespace} take existing accounts; ask its owner to widen spec.allowExisting (now {:?})",
        connection.key,
        connection.spec.allow_existing.unwrap_or_default()
    );
    Err(Stop::because(Reason::NamespaceNotAllowed, message))
}
