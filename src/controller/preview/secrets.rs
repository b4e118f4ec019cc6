//! The Secrets and namespaces that the files of `usher plan -f` would leave in the cluster, computed in memory: usher reads
//! passwords and logins from them as if the files were applied. No value of a Secret is printed or sent to Kubernetes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::{ObjectMeta, PartialObjectMeta, PartialObjectMetaExt};
use kube::{Client, ResourceExt};

use crate::controller::cluster::secrets::SecretReader;

/// Most requests to Kubernetes at a time.
pub const CONCURRENCY: usize = 8;
/// The resource version of a Secret that the files change.
const VERSION: &str = "file";
/// The label that Kubernetes gives every namespace, with the name of the namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A Secret from a file. Its Debug text has namespace and name, and no value.
#[derive(Clone)]
pub struct SecretDocument(pub Secret);

impl fmt::Debug for SecretDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{}", self.0.namespace().unwrap_or_default(), self.0.name_any())
    }
}

/// Namespace and name.
type FullName = (String, String);

/// The Secrets of the cluster with the Secrets of the files merged onto them.
pub struct SecretOverlay {
    client: Client,
    /// The Secrets that the files create or change.
    secrets: HashMap<FullName, MergedSecret>,
    /// The Secrets of which the files name every entry, so that the author of the files knows all that is in them.
    whole: BTreeSet<FullName>,
}

/// A Secret as applying a file would leave it.
struct MergedSecret {
    secret: Secret,
    /// The entries whose values differ from those in the cluster.
    changed: BTreeSet<String>,
}

#[async_trait]
impl SecretReader for SecretOverlay {
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error> {
        match self.get(namespace, name) {
            Some(merged) => Ok(Some(merged.secret.clone())),
            None => self.client.read(namespace, name).await,
        }
    }

    fn is_changed(&self, namespace: &str, name: &str, entry: &str) -> bool {
        self.get(namespace, name).is_some_and(|merged| merged.changed.contains(entry))
    }
}

impl SecretOverlay {
    /// Merges `documents` onto the stored Secrets, whose metadata is `listed` and becomes that of the merged ones. A document
    /// that Kubernetes would refuse leads to one of the `notes`.
    ///
    /// Errors: Kubernetes did not answer. A Secret that the caller may not read counts as empty.
    pub async fn new(
        client: &Client,
        documents: Vec<SecretDocument>,
        listed: &mut Vec<PartialObjectMeta<Secret>>,
        notes: &mut Vec<String>,
    ) -> Result<Self, kube::Error> {
        let known: BTreeSet<FullName> = listed.iter().map(full_name).collect();
        let pairs = stream::iter(documents).map(|SecretDocument(document)| {
            let is_known = known.contains(&full_name(&document));
            async move { stored(client, &document, is_known).await.map(|stored| (document, stored)) }
        });
        let pairs: Vec<_> = pairs.buffered(CONCURRENCY).try_collect().await?;
        let (mut secrets, mut whole) = (HashMap::new(), BTreeSet::new());
        for (document, stored) in pairs {
            let name = full_name(&document);
            let is_whole = names_every_entry(&document, stored.as_ref());
            let merged = merge(document, stored.as_ref());
            // A document that Kubernetes would refuse leaves the stored values.
            if is_whole && merged.is_ok() {
                whole.insert(name.clone());
            }
            match merged {
                Ok(merged) if merged.changed.is_empty() && stored.is_some() => {}
                Ok(merged) => drop(secrets.insert(name, merged)),
                Err(why) => notes.push(format!("the files cannot change Secret {}/{}: {why}", name.0, name.1)),
            }
        }
        listed.retain(|secret| !secrets.contains_key(&full_name(secret)));
        listed.extend(secrets.values().map(|merged| merged.secret.metadata.clone().into_response_partial()));
        Ok(Self { client: client.clone(), secrets, whole })
    }

    /// Whether the files name every entry of this Secret.
    pub fn is_whole(&self, namespace: &str, name: &str) -> bool {
        self.whole.contains(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether the files create or change this Secret.
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        self.get(namespace, name).is_some()
    }

    fn get(&self, namespace: &str, name: &str) -> Option<&MergedSecret> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }
}

fn full_name<K: ResourceExt>(object: &K) -> FullName {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Whether `document` names every entry that `stored` has.
fn names_every_entry(document: &Secret, stored: Option<&Secret>) -> bool {
    let is_named = |entry: &String| {
        document.data.as_ref().is_some_and(|data| data.contains_key(entry))
            || document.string_data.as_ref().is_some_and(|texts| texts.contains_key(entry))
    };
    stored.and_then(|stored| stored.data.as_ref()).into_iter().flatten().all(|(entry, _)| is_named(entry))
}

/// The stored Secret; `None` if the caller may not read it.
async fn stored(client: &Client, document: &Secret, is_known: bool) -> Result<Option<Secret>, kube::Error> {
    if !is_known {
        return Ok(None);
    }
    let (namespace, name) = full_name(document);
    match client.read(&namespace, &name).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        read => read,
    }
}

/// `document` merged onto `stored`. An entry that the document does not mention stays, because another field manager may own it.
///
/// Errors: the reason why the API server would refuse the document.
fn merge(document: Secret, stored: Option<&Secret>) -> Result<MergedSecret, String> {
    let before = stored.and_then(|stored| stored.data.clone()).unwrap_or_default();
    let written = document.string_data.into_iter().flatten();
    let written = written.map(|(entry, text)| (entry, ByteString(text.into_bytes())));
    let after: BTreeMap<String, ByteString> =
        before.clone().into_iter().chain(document.data.into_iter().flatten()).chain(written).collect();
    let differs = |(entry, value): &(&String, &ByteString)| before.get(*entry) != Some(*value);
    let changed: BTreeSet<String> = after.iter().filter(differs).map(|(entry, _)| entry.clone()).collect();
    let type_ = stored.and_then(|stored| stored.type_.clone());
    if let (Some(current), Some(wanted)) = (&type_, &document.type_)
        && current != wanted
    {
        return Err(format!("its type is {current} and cannot become {wanted}; delete it first"));
    }
    if stored.is_some_and(|stored| stored.immutable == Some(true)) && !changed.is_empty() {
        return Err("it is immutable; give the new Secret another name".into());
    }
    let metadata = ObjectMeta {
        resource_version: Some(VERSION.into()),
        ..stored.map_or(document.metadata, |stored| stored.metadata.clone())
    };
    let type_ = type_.or(document.type_);
    Ok(MergedSecret { secret: Secret { metadata, data: Some(after), type_, ..Secret::default() }, changed })
}

/// Merges the labels of `documents` onto `namespaces`, which gains the namespaces that the cluster does not have yet.
pub fn merge_labels(documents: Vec<Namespace>, namespaces: &mut Vec<PartialObjectMeta<Namespace>>) {
    for document in documents {
        let name = document.name_any();
        let labels = document.metadata.labels.into_iter().flatten().chain([(NAME_LABEL.to_owned(), name.clone())]);
        if let Some(namespace) = namespaces.iter_mut().find(|namespace| namespace.name_any() == name) {
            namespace.labels_mut().extend(labels);
        } else {
            let labels = Some(labels.collect());
            let metadata = ObjectMeta { name: Some(name), labels, ..ObjectMeta::default() };
            namespaces.push(metadata.into_response_partial());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(further: &Value) -> Secret {
        let mut secret = json!({"metadata": {"name": "login", "namespace": "identity"}});
        secret.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        serde_json::from_value(secret).unwrap()
    }

    fn text(merged: &MergedSecret, entry: &str) -> String {
        String::from_utf8(merged.secret.data.as_ref().unwrap()[entry].0.clone()).unwrap()
    }

    fn changed(merged: &MergedSecret) -> Vec<&str> {
        merged.changed.iter().map(String::as_str).collect()
    }

    #[test]
    fn string_data_wins_over_data_and_unmentioned_entries_stay() {
        let stored = secret(&json!({"data": {"a": "b2xk", "b": "b2xk", "c": "b2xk"}, "type": "Opaque"}));
        let document = secret(&json!({"data": {"b": "bmV3", "c": "bmV3"}, "stringData": {"c": "newest"}}));
        let merged = merge(document, Some(&stored)).unwrap();
        assert_eq!(["a", "b", "c"].map(|entry| text(&merged, entry)), ["old", "new", "newest"]);
        assert_eq!(changed(&merged), ["b", "c"]);
        assert_eq!(merged.secret.type_.as_deref(), Some("Opaque"));
    }

    #[test]
    fn an_entry_with_the_stored_value_is_no_change() {
        let stored = secret(&json!({"data": {"a": "b2xk"}, "immutable": true}));
        let merged = merge(secret(&json!({"stringData": {"a": "old"}})), Some(&stored)).unwrap();
        assert_eq!(changed(&merged), Vec::<&str>::new());
    }

    #[test]
    fn a_change_that_kubernetes_refuses_is_refused_without_a_value() {
        let stored = secret(&json!({"data": {"a": "b2xk"}, "immutable": true, "type": "Opaque"}));
        let document = secret(&json!({"stringData": {"a": "fake-value"}}));
        let refusal = merge(document, Some(&stored)).map(drop).unwrap_err();
        assert_eq!(refusal, "it is immutable; give the new Secret another name");
        let document = secret(&json!({"stringData": {"a": "fake-value"}, "type": "kubernetes.io/basic-auth"}));
        let refusal = merge(document, Some(&stored)).map(drop).unwrap_err();
        assert_eq!(refusal, "its type is Opaque and cannot become kubernetes.io/basic-auth; delete it first");
    }

    #[test]
    fn a_document_that_leaves_out_an_entry_does_not_know_the_whole_secret() {
        let stored = secret(&json!({"data": {"a": "b2xk", "b": "b2xk"}}));
        let all = secret(&json!({"data": {"a": "bmV3"}, "stringData": {"b": "new"}}));
        let part = secret(&json!({"data": {"a": "bmV3", "c": "bmV3"}}));
        assert!(names_every_entry(&all, Some(&stored)) && names_every_entry(&part, None));
        assert!(!names_every_entry(&part, Some(&stored)));
    }

    #[test]
    fn the_debug_text_has_the_name_and_no_value() {
        let shown = format!("{:?}", SecretDocument(secret(&json!({"stringData": {"a": "fake-value"}}))));
        assert_eq!(shown, "Secret identity/login");
    }

    #[test]
    fn labels_are_merged_onto_the_stored_labels() {
        let namespace = |name: &str, labels: Value| {
            serde_json::from_value::<Namespace>(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
        };
        let mut namespaces = vec![namespace("old", json!({"a": "1", "b": "1"})).metadata.into_response_partial()];
        merge_labels(vec![namespace("old", json!({"b": "2"})), namespace("new", json!({"a": "3"}))], &mut namespaces);
        let label = |at: usize, key: &str| namespaces[at].labels().get(key).map(String::as_str);
        assert_eq!([label(0, "a"), label(0, "b"), label(1, "a")], [Some("1"), Some("2"), Some("3")]);
        assert_eq!(label(1, NAME_LABEL), Some("new"));
    }
}
