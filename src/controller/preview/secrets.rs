//! Secrets and namespaces of files, over those of the cluster, as if they were applied; it shows nothing of what is in a Secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::{ObjectMeta, PartialObjectMeta, PartialObjectMetaExt};
use kube::{Client, ResourceExt};

use crate::controller::cluster::secrets::SecretReader;

/// Most questions to Kubernetes under way at a time.
pub const AT_A_TIME: usize = 8;
/// The version of a Secret that the cluster does not have yet.
const VERSION: &str = "given";
/// The label with its name that Kubernetes gives every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A Secret of a file. Its Debug says which it is, and nothing of what is in it.
#[derive(Clone)]
pub struct SecretDocument(pub Secret);

impl fmt::Debug for SecretDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{}", self.0.namespace().unwrap_or_default(), self.0.name_any())
    }
}

/// Namespace and name.
type Place = (String, String);

/// The Secrets of the cluster, with those that files change over them.
pub struct Given {
    client: Client,
    secrets: HashMap<Place, Changed>,
}

/// A Secret as it would be, and the entries that are other than they are.
struct Changed {
    secret: Secret,
    entries: BTreeSet<String>,
}

#[async_trait]
impl SecretReader for Given {
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error> {
        match self.get(namespace, name) {
            Some(changed) => Ok(Some(changed.secret.clone())),
            None => self.client.read(namespace, name).await,
        }
    }

    fn is_changed(&self, namespace: &str, name: &str, entry: &str) -> bool {
        self.get(namespace, name).is_some_and(|changed| changed.entries.contains(entry))
    }
}

impl Given {
    /// Lays `documents` over what is stored, whose metadata is `seen`. What cannot be applied is told in `notes`.
    ///
    /// Errors: Kubernetes failed us, other than by refusing to show a Secret.
    pub async fn new(
        client: &Client,
        documents: Vec<SecretDocument>,
        seen: &mut Vec<PartialObjectMeta<Secret>>,
        notes: &mut Vec<String>,
    ) -> Result<Self, kube::Error> {
        let known: BTreeSet<Place> = seen.iter().map(place).collect();
        let pairs = stream::iter(documents).map(|SecretDocument(document)| {
            let is_known = known.contains(&place(&document));
            async move { stored(client, &document, is_known).await.map(|stored| (document, stored)) }
        });
        let pairs: Vec<_> = pairs.buffered(AT_A_TIME).try_collect().await?;
        let mut secrets = HashMap::new();
        for (document, stored) in pairs {
            let place = place(&document);
            match laid(document, stored.as_ref()) {
                Ok(changed) if changed.entries.is_empty() && stored.is_some() => {}
                Ok(changed) => drop(secrets.insert(place, changed)),
                Err(why) => notes.push(format!("the files cannot change Secret {}/{}: {why}", place.0, place.1)),
            }
        }
        seen.retain(|one| !secrets.contains_key(&place(one)));
        seen.extend(secrets.values().map(|changed| changed.secret.metadata.clone().into_response_partial()));
        Ok(Self { client: client.clone(), secrets })
    }

    /// Whether files make or change this Secret.
    pub fn has(&self, namespace: &str, name: &str) -> bool {
        self.get(namespace, name).is_some()
    }

    fn get(&self, namespace: &str, name: &str) -> Option<&Changed> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }
}

fn place<K: ResourceExt>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// What is stored; nothing to who may not see it.
async fn stored(client: &Client, document: &Secret, is_known: bool) -> Result<Option<Secret>, kube::Error> {
    if !is_known {
        return Ok(None);
    }
    let (namespace, name) = place(document);
    match client.read(&namespace, &name).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        read => read,
    }
}

/// The Secret as it would be. An entry that the document does not mention stays, as it does for whoever did not write it.
///
/// Errors: why the API server would not take it.
fn laid(document: Secret, stored: Option<&Secret>) -> Result<Changed, String> {
    let before = stored.and_then(|stored| stored.data.clone()).unwrap_or_default();
    let written = document.string_data.into_iter().flatten();
    let written = written.map(|(entry, text)| (entry, ByteString(text.into_bytes())));
    let after: BTreeMap<String, ByteString> =
        before.clone().into_iter().chain(document.data.into_iter().flatten()).chain(written).collect();
    let is_other = |(entry, value): &(&String, &ByteString)| before.get(*entry) != Some(*value);
    let entries: BTreeSet<String> = after.iter().filter(is_other).map(|(entry, _)| entry.clone()).collect();
    let type_ = stored.and_then(|stored| stored.type_.clone());
    if let (Some(is), Some(shall)) = (&type_, &document.type_)
        && is != shall
    {
        return Err(format!("its type is {is} and cannot become {shall}; delete it first"));
    }
    if stored.is_some_and(|stored| stored.immutable == Some(true)) && !entries.is_empty() {
        return Err("it is immutable; give the new one another name".into());
    }
    let metadata = ObjectMeta {
        resource_version: Some(VERSION.into()),
        ..stored.map_or(document.metadata, |stored| stored.metadata.clone())
    };
    let type_ = type_.or(document.type_);
    Ok(Changed { secret: Secret { metadata, data: Some(after), type_, ..Secret::default() }, entries })
}

/// Lays the labels of `documents` over the namespaces that are there.
pub fn lay_labels(documents: Vec<Namespace>, namespaces: &mut Vec<PartialObjectMeta<Namespace>>) {
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

    fn text(changed: &Changed, entry: &str) -> String {
        String::from_utf8(changed.secret.data.as_ref().unwrap()[entry].0.clone()).unwrap()
    }

    fn entries(changed: &Changed) -> Vec<&str> {
        changed.entries.iter().map(String::as_str).collect()
    }

    #[test]
    fn text_wins_over_data_and_entries_of_others_stay() {
        let stored = secret(&json!({"data": {"a": "b2xk", "b": "b2xk", "c": "b2xk"}, "type": "Opaque"}));
        let document = secret(&json!({"data": {"b": "bmV3", "c": "bmV3"}, "stringData": {"c": "newest"}}));
        let changed = laid(document, Some(&stored)).unwrap();
        assert_eq!(["a", "b", "c"].map(|entry| text(&changed, entry)), ["old", "new", "newest"]);
        assert_eq!(entries(&changed), ["b", "c"]);
        assert_eq!(changed.secret.type_.as_deref(), Some("Opaque"));
    }

    #[test]
    fn what_is_there_already_is_no_change() {
        let stored = secret(&json!({"data": {"a": "b2xk"}, "immutable": true}));
        let changed = laid(secret(&json!({"stringData": {"a": "old"}})), Some(&stored)).unwrap();
        assert_eq!(entries(&changed), Vec::<&str>::new());
    }

    #[test]
    fn what_kubernetes_refuses_is_refused_without_a_value() {
        let stored = secret(&json!({"data": {"a": "b2xk"}, "immutable": true, "type": "Opaque"}));
        let document = secret(&json!({"stringData": {"a": "fake-value"}}));
        let said = laid(document, Some(&stored)).map(drop).unwrap_err();
        assert_eq!(said, "it is immutable; give the new one another name");
        let document = secret(&json!({"stringData": {"a": "fake-value"}, "type": "kubernetes.io/basic-auth"}));
        let said = laid(document, Some(&stored)).map(drop).unwrap_err();
        assert_eq!(said, "its type is Opaque and cannot become kubernetes.io/basic-auth; delete it first");
    }

    #[test]
    fn debug_shows_which_secret_it_is_and_no_value() {
        let shown = format!("{:?}", SecretDocument(secret(&json!({"stringData": {"a": "fake-value"}}))));
        assert_eq!(shown, "Secret identity/login");
    }

    #[test]
    fn labels_are_laid_over_those_that_are_there() {
        let namespace = |name: &str, labels: Value| {
            serde_json::from_value::<Namespace>(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
        };
        let mut there = vec![namespace("old", json!({"a": "1", "b": "1"})).metadata.into_response_partial()];
        lay_labels(vec![namespace("old", json!({"b": "2"})), namespace("new", json!({"a": "3"}))], &mut there);
        let label = |at: usize, key: &str| there[at].labels().get(key).map(String::as_str);
        assert_eq!([label(0, "a"), label(0, "b"), label(1, "a")], [Some("1"), Some("2"), Some("3")]);
        assert_eq!(label(1, NAME_LABEL), Some("new"));
    }
}
