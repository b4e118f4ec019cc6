//! The cluster's objects with documents laid over them, as if those were applied; it only lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::ListParams;
use kube::core::{DeserializeGuard, ObjectList, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::dry_run::Answer;
use super::error::Error;
use super::item::Item;
use super::merged::{Draft, Laid};
use super::secrets::{AT_A_TIME, Given, SecretDocument};
use super::{dry_run as trial, secrets as given};
use crate::api::{ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason};
use crate::controller::cluster::lenient::Lenient;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object;
use crate::controller::cluster::secrets::SecretReader;

/// Most objects of one answer.
const PAGE: u32 = 500;

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
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The documents' objects, and those whose Secrets they change.
    Documents,
    /// All objects, or those of one namespace.
    Cluster(Option<String>),
}

impl Documents {
    /// Keys of all documents of our kinds.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        let users = self.users.iter().map(Object::key);
        let groups = self.groups.iter().map(Object::key);
        users.chain(groups).chain(self.credentials.iter().map(Object::key)).collect()
    }

    /// The namespaces that matter to them: their own and their credentials'.
    fn places(&self) -> BTreeSet<String> {
        let users = self.users.iter().map(Managed::credential_key);
        let groups = self.groups.iter().map(Managed::credential_key);
        let ours = users.chain(groups).chain(self.keys()).map(|key| key.namespace);
        ours.chain(self.secrets.iter().filter_map(|SecretDocument(secret)| secret.namespace())).collect()
    }
}

/// All that a look needs to know of the cluster.
pub struct Listed {
    pub users: Vec<PlatformUser>,
    pub groups: Vec<PlatformGroup>,
    pub credentials: Vec<ProviderCredential>,
    pub secrets: Vec<PartialObjectMeta<Secret>>,
    pub given: Given,
    /// For the labels; empty to who may not list them.
    pub namespaces: Vec<PartialObjectMeta<Namespace>>,
    pub told: Told,
}

/// What turned out on the way.
#[derive(Default)]
pub struct Told {
    /// What is to be said of stored objects that cannot be read, and of documents that would not be taken.
    pub blocked: Vec<Item>,
    /// Why the API server could not be asked about some documents.
    pub untold: BTreeSet<String>,
    /// What else a person has to know.
    pub notes: Vec<String>,
}

impl Listed {
    /// Keys of the objects that name a Secret which the documents make or change.
    pub fn touched(&self) -> BTreeSet<ObjectKey> {
        let users = self.users.iter().filter(|user| {
            let entry = user.spec.password_secret_ref.as_ref().map(|reference| (&reference.name, reference.entry()));
            let namespace = user.namespace().unwrap_or_default();
            entry.is_some_and(|(name, entry)| self.given.is_changed(&namespace, name, entry))
        });
        let credentials = self.credentials.iter().filter(|credential| {
            self.given.has(&credential.namespace().unwrap_or_default(), &credential.spec.secret_ref.name)
        });
        users.map(Object::key).chain(credentials.map(Object::key)).collect()
    }
}

/// Lists all that matters and lays `documents` over it.
///
/// Errors: the cluster cannot be listed, or does not say whether it would take a document.
pub async fn list(client: &Client, documents: Documents, scope: &Scope) -> Result<Listed, Error> {
    let mut namespaces = documents.places();
    if let Scope::Cluster(Some(namespace)) = scope {
        namespaces.insert(namespace.clone());
    }
    let mut told = Told::default();
    let users = objects(client, &namespaces, documents.users, &mut told).await?;
    let groups = objects(client, &namespaces, documents.groups, &mut told).await?;
    let credentials = objects(client, &namespaces, documents.credentials, &mut told).await?;
    let secrets = everywhere(client, &namespaces, metadata::<Secret>).await;
    let mut secrets = secrets.map_err(|source| Error::list("secrets", source))?;
    let given = Given::new(client, documents.secrets, &mut secrets, &mut told.notes).await?;
    let mut namespaces = pages(Api::all(client.clone()), metadata::<Namespace>).await.unwrap_or_default();
    given::lay_labels(documents.namespaces, &mut namespaces);
    Ok(Listed { users, groups, credentials, secrets, given, namespaces, told })
}

/// Objects by namespace and name.
type Places<K> = BTreeMap<(Option<String>, String), K>;

/// All objects of a kind, with those documents over them that the API server would take.
async fn objects<K: Laid>(
    client: &Client,
    namespaces: &BTreeSet<String>,
    documents: Vec<K>,
    told: &mut Told,
) -> Result<Vec<K>, Error> {
    let mut live = stored(client, namespaces, &mut told.blocked).await?;
    let drafts = documents.into_iter().map(|document| {
        let stored = live.get(&place(&document));
        Draft::new(document, stored)
    });
    let drafts: Vec<Draft<K>> = drafts.collect();
    let answers = stream::iter(&drafts).map(|draft| trial::ask(client, draft)).buffered(AT_A_TIME);
    let answers: Vec<Answer> = answers.try_collect().await.map_err(Error::trial)?;
    for (Draft { laid, .. }, answer) in drafts.into_iter().zip(answers) {
        let key = ObjectKey::new(K::KIND, laid.namespace().unwrap_or_default(), laid.name_any());
        told.blocked.retain(|item| item.key != key);
        match answer {
            // The cluster keeps what it has.
            Answer::Refused(verdict) => told.blocked.push(Item::blocked(key, verdict.reason, verdict.message)),
            Answer::Taken => drop(live.insert(place(&laid), laid)),
            Answer::Untold(why) => {
                told.untold.insert(why);
                live.insert(place(&laid), laid);
            }
        }
    }
    Ok(live.into_values().collect())
}

fn place<K: Resource>(object: &K) -> (Option<String>, String) {
    (object.namespace(), object.name_any())
}

/// All objects of a kind as they are stored; what cannot be read at all is `blocked`.
async fn stored<K: Laid>(
    client: &Client,
    namespaces: &BTreeSet<String>,
    blocked: &mut Vec<Item>,
) -> Result<Places<K>, Error> {
    let whole = async |api: &Api<DeserializeGuard<Lenient<K>>>, params: &ListParams| api.list(params).await;
    let all = everywhere(client, namespaces, whole).await;
    let mut live = Places::new();
    for DeserializeGuard(object) in all.map_err(|source| Error::list(K::KIND.plural(), source))? {
        match object {
            Ok(Lenient(object)) => drop(live.insert(place(&object), object)),
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                let key = ObjectKey::new(K::KIND, invalid.metadata.namespace.unwrap_or_default(), name);
                let message = format!("the stored object does not fit its schema: {}; correct it", invalid.error);
                blocked.push(Item::blocked(key, Reason::Invalid, message));
            }
        }
    }
    Ok(live)
}

/// All objects of the cluster, or of the namespaces alone if only those may be listed.
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

/// A page with nothing but metadata: what is in Secrets is not even sent.
async fn metadata<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    params: &ListParams,
) -> kube::Result<ObjectList<PartialObjectMeta<K>>> {
    api.list_metadata(params).await
}
