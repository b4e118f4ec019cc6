//! Documents as they would be once applied, and objects as they would be once brought about; all of it pretended.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use crate::api::conditions::{self, Verdict};
use crate::api::status::{ObjectStatus, PendingCall};
use crate::api::{PlatformGroup, PlatformUser, ProviderCredential, Reason};
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object;

/// A document as it would be once applied.
pub struct Draft<K> {
    /// With the identity and status of what is stored.
    pub laid: K,
    /// What applying it would do to the cluster.
    pub effect: Effect,
}

/// What applying a document would do to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make an object.
    New,
    /// Change one.
    Changed,
    /// Nothing.
    None,
}

impl<K: Laid> Draft<K> {
    /// `document` over what is stored, if something is.
    pub fn new(document: K, stored: Option<&K>) -> Self {
        let Some(stored) = stored else { return Self { laid: document.fresh(), effect: Effect::New } };
        let laid = document.over(stored);
        let same =
            laid.same_spec(stored) && laid.labels() == stored.labels() && laid.annotations() == stored.annotations();
        Self { laid, effect: if same { Effect::None } else { Effect::Changed } }
    }
}

/// A kind of ours that can be laid over what is stored.
pub trait Laid: Object {
    /// Whether both specs are the same.
    fn same_spec(&self, other: &Self) -> bool;
    /// Takes the status of what is stored, which no document can set.
    fn take_status(&mut self, stored: Option<&Self>);

    /// It as it would be once applied over `stored`.
    fn over(mut self, stored: &Self) -> Self {
        let same = self.same_spec(stored);
        let mut metadata = stored.meta().clone();
        metadata.labels.get_or_insert_default().extend(self.labels().clone());
        metadata.annotations.get_or_insert_default().extend(self.annotations().clone());
        metadata.generation = metadata.generation.map(|generation| generation + i64::from(!same));
        *self.meta_mut() = metadata;
        self.take_status(Some(stored));
        self
    }

    /// It as it would be once applied for the first time.
    fn fresh(mut self) -> Self {
        let ObjectMeta { name, namespace, labels, annotations, .. } = self.meta().clone();
        // As if it were applied now, in the order of names.
        let place = format!("{}/{}", namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default());
        *self.meta_mut() = ObjectMeta {
            name,
            namespace,
            labels,
            annotations,
            generation: Some(1),
            uid: Some(place),
            creation_timestamp: Some(Time(Timestamp::now())),
            ..ObjectMeta::default()
        };
        self.take_status(None);
        self
    }
}

impl Laid for PlatformUser {
    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }

    fn take_status(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}

impl Laid for PlatformGroup {
    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }

    fn take_status(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}

impl Laid for ProviderCredential {
    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }

    fn take_status(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}

/// `object` as it would be once `calls` are made: bound and Ready, so that whoever names it can be looked at.
pub fn done<K: Managed + Finished>(object: &K, calls: &[PendingCall]) -> K {
    let mut status = object.status().cloned().unwrap_or_default();
    let first = calls.first();
    match first.map(|call| call.operation.as_str()) {
        Some("create") => {
            status.identity.external_id = Some(format!("(new) {}", object.name_any()));
            status.identity.key = first.map(|call| call.target.clone());
        }
        Some("adopt" | "bind") => status.identity.external_id = first.map(|call| call.target.clone()),
        _ => {}
    }
    let verdict = Verdict::new(Reason::Synced, "as if done");
    status.report.conditions = conditions::conditions(&[], &verdict, object.generation(), Timestamp::now());
    status.report.observed_generation = object.generation();
    let mut done = object.clone();
    done.finish(status);
    done
}

/// A kind whose status can be pretended.
pub trait Finished {
    /// Takes this status.
    fn finish(&mut self, status: ObjectStatus);
}

impl Finished for PlatformUser {
    fn finish(&mut self, status: ObjectStatus) {
        self.status = Some(status);
    }
}

impl Finished for PlatformGroup {
    fn finish(&mut self, status: ObjectStatus) {
        self.status = Some(status);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
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
    fn what_is_there_already_has_no_effect_whatever_others_wrote_beside_it() {
        let document = user(&json!({"metadata": {"name": "ada", "namespace": "identity"}, "status": {}}));
        let draft = Draft::new(document, Some(&user(&json!({}))));
        assert_eq!(draft.effect, Effect::None);
        assert_eq!(draft.laid.labels()["by"], "us");
        assert_eq!(draft.laid.identity().external_id.as_deref(), Some("17"));
    }

    #[test]
    fn a_document_mends_what_is_stored_and_cannot_be_read() {
        let broken =
            user(&json!({"spec": {"credentialRef": {"name": "main"}, "email": "ada@example.com", "groups": 1}}));
        assert!(lenient::unreadable(&broken).is_some());
        let draft = Draft::new(user(&json!({})), Some(&broken));
        assert_eq!(draft.effect, Effect::Changed);
        assert_eq!(lenient::unreadable(&draft.laid), None);
        assert_eq!(draft.laid.identity().external_id.as_deref(), Some("17"));
    }
}
