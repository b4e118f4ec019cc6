//! The cluster as applying the files of `usher plan -f` would leave it: all objects that a plan needs, with the manifests of the
//! files merged onto them. It lists objects and sends dry runs, and stores nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::ListParams;
use kube::core::{ObjectList, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::dry_run::{self, Answer};
use super::error::Error;
use super::item::Item;
use super::merged::{Merge, Merged};
use super::secrets::{self, CONCURRENCY, SecretDocument, SecretOverlay};
use crate::api::{ObjectKey, PlatformGroup, PlatformUser, ProviderCredential};
use crate::controller::cluster::PAGE;
use crate::controller::cluster::lenient::Lenient;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object;
use crate::controller::cluster::secrets::SecretReader;
use crate::controller::credential::connect::destination;

/// Manifests that are not applied yet, each with its namespace.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// Users.
    pub users: Vec<PlatformUser>,
    /// Groups.
    pub groups: Vec<PlatformGroup>,
    /// Credentials.
    pub credentials: Vec<ProviderCredential>,
    /// Secrets, for passwords and logins.
    pub secrets: Vec<SecretDocument>,
    /// Namespaces, for their labels.
    pub namespaces: Vec<Namespace>,
    /// Whether a login that the cluster has may be sent where these documents say.
    pub are_trusted: bool,
}

/// The objects that a plan shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The objects of the documents, and those that refer to a Secret of the documents.
    Documents,
    /// All objects, or those of one namespace.
    Cluster(Option<String>),
}

impl Documents {
    /// The keys of all users, groups and credentials.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        let users = self.users.iter().map(Object::key);
        let groups = self.groups.iter().map(Object::key);
        users.chain(groups).chain(self.credentials.iter().map(Object::key)).collect()
    }

    /// The names of the namespaces of the documents and of their credentials.
    fn namespace_names(&self) -> BTreeSet<String> {
        let users = self.users.iter().map(Managed::credential_key);
        let groups = self.groups.iter().map(Managed::credential_key);
        let objects = users.chain(groups).chain(self.keys()).map(|key| key.namespace);
        objects.chain(self.secrets.iter().filter_map(|SecretDocument(secret)| secret.namespace())).collect()
    }
}

/// The objects that a plan needs, with the documents merged onto them.
pub struct Snapshot {
    pub users: Vec<PlatformUser>,
    pub groups: Vec<PlatformGroup>,
    pub credentials: Vec<ProviderCredential>,
    pub secrets: Vec<PartialObjectMeta<Secret>>,
    pub secret_overlay: SecretOverlay,
    /// For their labels; empty if the caller may not list namespaces.
    pub namespaces: Vec<PartialObjectMeta<Namespace>>,
    pub findings: Findings,
    /// Credentials by which the documents would lead a login of the cluster to where the cluster's own credential does not.
    pub diverted: BTreeSet<ObjectKey>,
}

/// Problems with documents and stored objects.
#[derive(Default)]
pub struct Findings {
    /// Documents that the API server would refuse.
    pub blocked: Vec<Item>,
    /// The reasons why the API server did not check some documents.
    pub unchecked: BTreeSet<String>,
    /// Further notes for the reader of the plan.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// The keys of the objects that refer to a Secret which the documents create or change.
    pub fn affected(&self) -> BTreeSet<ObjectKey> {
        let users = self.users.iter().filter(|user| {
            let entry = user.spec.password_secret_ref.as_ref().map(|reference| (&reference.name, reference.entry()));
            let namespace = user.namespace().unwrap_or_default();
            entry.is_some_and(|(name, entry)| self.secret_overlay.is_changed(&namespace, name, entry))
        });
        let credentials = self.credentials.iter().filter(|credential| {
            self.secret_overlay.contains(&credential.namespace().unwrap_or_default(), &credential.spec.secret_ref.name)
        });
        users.map(Object::key).chain(credentials.map(Object::key)).collect()
    }
}

/// Lists the objects that a plan of `scope` needs and merges `documents` onto them.
///
/// Errors: the cluster cannot be listed, or the API server does not answer a dry run.
pub async fn snapshot(client: &Client, documents: Documents, scope: &Scope) -> Result<Snapshot, Error> {
    let mut namespaces = documents.namespace_names();
    if let Scope::Cluster(Some(namespace)) = scope {
        namespaces.insert(namespace.clone());
    }
    let mut findings = Findings::default();
    let users = stored(client, &namespaces).await?;
    let users = merge_all(client, users, documents.users, &mut findings).await?;
    let groups = stored(client, &namespaces).await?;
    let groups = merge_all(client, groups, documents.groups, &mut findings).await?;
    let credentials = stored::<ProviderCredential>(client, &namespaces).await?;
    let live: BTreeMap<ObjectKey, Value> =
        credentials.iter().map(|(key, credential)| (key.clone(), destination(&credential.spec))).collect();
    let credentials = merge_all(client, credentials, documents.credentials, &mut findings).await?;
    let secrets = everywhere(client, &namespaces, metadata::<Secret>).await;
    let mut secrets = secrets.map_err(|source| Error::list("secrets", source))?;
    let secret_overlay = SecretOverlay::new(client, documents.secrets, &mut secrets, &mut findings.notes).await?;
    let mut namespaces = pages(Api::all(client.clone()), metadata::<Namespace>).await.unwrap_or_default();
    secrets::merge_labels(documents.namespaces, &mut namespaces);
    let mut diverted = diverted(&credentials, &live, &secret_overlay);
    diverted.retain(|_| !documents.are_trusted);
    Ok(Snapshot { users, groups, credentials, secrets, secret_overlay, namespaces, findings, diverted })
}

/// Those of `credentials` that lead to where the `live` ones do not, with a Secret that is not in the files as a whole.
fn diverted(
    credentials: &[ProviderCredential],
    live: &BTreeMap<ObjectKey, Value>,
    secrets: &SecretOverlay,
) -> BTreeSet<ObjectKey> {
    let is_diverted = |credential: &&ProviderCredential| {
        let key = credential.key();
        live.get(&key) != Some(&destination(&credential.spec))
            && !secrets.is_whole(&key.namespace, &credential.spec.secret_ref.name)
    };
    credentials.iter().filter(is_diverted).map(Object::key).collect()
}

/// The stored `objects` of a kind, with the manifests merged onto them that the API server does not refuse.
async fn merge_all<K: Merge>(
    client: &Client,
    mut objects: BTreeMap<ObjectKey, K>,
    manifests: Vec<K>,
    findings: &mut Findings,
) -> Result<Vec<K>, Error> {
    let merged = manifests.into_iter().map(|manifest| {
        let stored = objects.get(&manifest.key());
        Merged::new(manifest, stored)
    });
    let merged: Vec<Merged<K>> = merged.collect();
    let answers = stream::iter(&merged).map(|merged| dry_run::check(client, merged)).buffered(CONCURRENCY);
    let answers: Vec<Answer> = answers.try_collect().await.map_err(Error::DryRun)?;
    for (Merged { object, .. }, answer) in merged.into_iter().zip(answers) {
        let key = object.key();
        match answer {
            // The stored object, if there is one, remains in the cluster.
            Answer::Refused(verdict) => findings.blocked.push(Item::blocked(key, verdict.reason, verdict.message)),
            Answer::Accepted => drop(objects.insert(key, object)),
            Answer::Unchecked(why) => {
                findings.unchecked.insert(why);
                objects.insert(key, object);
            }
        }
    }
    Ok(objects.into_values().collect())
}

/// All stored objects of a kind, decoded as far as possible.
async fn stored<K: Merge>(client: &Client, namespaces: &BTreeSet<String>) -> Result<BTreeMap<ObjectKey, K>, Error> {
    let list = async |api: &Api<Lenient<K>>, params: &ListParams| api.list(params).await;
    let all = everywhere(client, namespaces, list).await.map_err(|source| Error::list(K::KIND.plural(), source))?;
    Ok(all.into_iter().map(|Lenient(object)| (object.key(), object)).collect())
}

/// All objects of the cluster, or only those of `namespaces` if the caller may not list the whole cluster.
async fn everywhere<K, L>(
    client: &Client,
    namespaces: &BTreeSet<String>,
    list: impl AsyncFn(&Api<K>, &ListParams) -> kube::Result<ObjectList<L>>,
) -> kube::Result<Vec<L>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    L: Clone,
{
    match pages(Api::all(client.clone()), &list).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() && !namespaces.is_empty() => {
            let mut all = Vec::new();
            for namespace in namespaces {
                all.extend(pages(Api::namespaced(client.clone(), namespace), &list).await?);
            }
            Ok(all)
        }
        other => other,
    }
}

/// All objects, page by page.
async fn pages<K, L: Clone>(
    api: Api<K>,
    list: impl AsyncFn(&Api<K>, &ListParams) -> kube::Result<ObjectList<L>>,
) -> kube::Result<Vec<L>> {
    let (mut all, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = list(&api, &params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// A page of metadata without contents, so that the API server does not send the values of Secrets.
async fn metadata<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    params: &ListParams,
) -> kube::Result<ObjectList<PartialObjectMeta<K>>> {
    api.list_metadata(params).await
}
