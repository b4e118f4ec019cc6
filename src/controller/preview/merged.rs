//! The objects that `kubectl apply` and usher would leave behind, computed in memory for `usher plan`: a manifest merged onto the
//! stored object, and an object as usher's calls to the vendor would leave it. It stores nothing and calls nothing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::core::object::{HasSpec, HasStatus};

use crate::api::Reason;
use crate::api::conditions::{self, Verdict};
use crate::api::status::{ObjectStatus, PendingCall};
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object;

/// A manifest merged onto the stored object.
pub struct Merged<K> {
    /// The object as it would be stored, with the identity and status of the stored one.
    pub object: K,
    /// The write that applying the manifest would make.
    pub write: Write,
}

/// The write that applying a manifest would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The cluster does not have the object yet.
    Create,
    /// The manifest differs from the stored object, or the stored object cannot be decoded.
    Update,
    /// The stored object is the same already.
    Nothing,
}

impl<K: Merge> Merged<K> {
    /// `manifest` merged onto `stored`, or as a new object if there is none. A stored object that could not be decoded differs from
    /// every manifest.
    pub fn new(manifest: K, stored: Option<&K>) -> Self {
        let Some(stored) = stored else { return Self { object: manifest.as_new(), write: Write::Create } };
        let object = manifest.merge_onto(stored);
        let is_same = object.spec() == stored.spec()
            && object.labels() == stored.labels()
            && object.annotations() == stored.annotations();
        Self { object, write: if is_same { Write::Nothing } else { Write::Update } }
    }
}

/// An object whose manifest can be merged onto the stored object.
pub trait Merge: Object + HasSpec<Spec: PartialEq> + HasStatus<Status: Clone> {
    /// The manifest as it would be stored after it was applied to `stored`.
    fn merge_onto(mut self, stored: &Self) -> Self {
        let is_same = self.spec() == stored.spec();
        let mut metadata = stored.meta().clone();
        metadata.labels.get_or_insert_default().extend(self.labels().clone());
        metadata.annotations.get_or_insert_default().extend(self.annotations().clone());
        metadata.generation = metadata.generation.map(|generation| generation + i64::from(!is_same));
        *self.meta_mut() = metadata;
        // A manifest cannot set the status.
        *self.status_mut() = stored.status().cloned();
        self
    }

    /// The manifest as it would be stored after it was applied for the first time.
    fn as_new(mut self) -> Self {
        let ObjectMeta { name, namespace, labels, annotations, .. } = self.meta().clone();
        // Unique and sorted by name, because usher settles conflicts between objects of one age by uid.
        let uid = format!("{}/{}", namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
        *self.meta_mut() = ObjectMeta {
            name,
            namespace,
            labels,
            annotations,
            generation: Some(1),
            uid: Some(uid),
            creation_timestamp: Some(Time(Timestamp::now())),
            ..ObjectMeta::default()
        };
        *self.status_mut() = None;
        self
    }
}

impl<K> Merge for K where K: Object + HasSpec<Spec: PartialEq> + HasStatus<Status: Clone> {}

/// `object` as `calls` would leave it: bound and Ready, so that objects that refer to it can be planned.
pub fn after_calls<K>(object: &K, calls: &[PendingCall]) -> K
where
    K: Managed + HasStatus<Status = ObjectStatus>,
{
    let mut status = Managed::status(object).cloned().unwrap_or_default();
    let first = calls.first();
    match first.map(|call| call.operation.as_str()) {
        Some("create") => {
            status.identity.external_id = Some(format!("(new) {}", object.name_any()));
            status.identity.key = first.map(|call| call.target.clone());
        }
        Some("adopt" | "bind") => status.identity.external_id = first.map(|call| call.target.clone()),
        _ => {}
    }
    let verdict = Verdict::new(Reason::Synced, "as planned");
    status.report.conditions = conditions::conditions(&[], &verdict, object.generation(), Timestamp::now());
    status.report.observed_generation = object.generation();
    let mut object = object.clone();
    *object.status_mut() = Some(status);
    object
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::PlatformUser;
    use crate::controller::cluster::lenient::{self, Lenient};

    fn user(further: &Value) -> PlatformUser {
        let mut user = json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser",
            "metadata": {"name": "ada", "namespace": "identity", "labels": {"by": "us"}},
            "spec": {"credentialRef": {"name": "main"}, "email": "ada@example.com"}, "status": {"externalId": "17"},
        });
        user.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        serde_json::from_value::<Lenient<PlatformUser>>(user).unwrap().0
    }

    #[test]
    fn a_manifest_that_the_stored_object_contains_causes_no_write() {
        let manifest = user(&json!({"metadata": {"name": "ada", "namespace": "identity"}, "status": {}}));
        let merged = Merged::new(manifest, Some(&user(&json!({}))));
        assert_eq!(merged.write, Write::Nothing);
        assert_eq!(merged.object.labels()["by"], "us");
        assert_eq!(merged.object.identity().external_id.as_deref(), Some("17"));
    }

    #[test]
    fn a_manifest_repairs_a_stored_object_that_cannot_be_decoded() {
        let broken =
            user(&json!({"spec": {"credentialRef": {"name": "main"}, "email": "ada@example.com", "groups": 1}}));
        assert!(lenient::unreadable(&broken).is_some());
        let merged = Merged::new(user(&json!({})), Some(&broken));
        assert_eq!(merged.write, Write::Update);
        assert_eq!(lenient::unreadable(&merged.object), None);
        assert_eq!(merged.object.identity().external_id.as_deref(), Some("17"));
    }
}
