//! The cluster's objects with documents laid over them, as if those were applied; it only lists.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, ObjectMeta};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::super::credential;
use super::super::managed::Managed;
use super::Error;
use super::item::Item;
use crate::api::conditions::{self, Verdict};
use crate::api::status::{ObjectStatus, PendingCall};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason};

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
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The documents' objects.
    Documents,
    /// All objects, or those of one namespace.
    Cluster(Option<String>),
}

impl Documents {
    /// Keys of all documents.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        let users = self.users.iter().map(Managed::key);
        let groups = self.groups.iter().map(Managed::key);
        users.chain(groups).chain(self.credentials.iter().map(credential::key)).collect()
    }

    /// The namespaces that matter to them: their own and their credentials'.
    fn namespaces(&self) -> BTreeSet<String> {
        let users = self.users.iter().map(Managed::credential_key);
        let groups = self.groups.iter().map(Managed::credential_key);
        users.chain(groups).chain(self.keys()).map(|key| key.namespace).collect()
    }
}

/// All that a look needs to know of the cluster.
pub struct Listed {
    pub users: Vec<PlatformUser>,
    pub groups: Vec<PlatformGroup>,
    pub credentials: Vec<ProviderCredential>,
    pub secrets: Vec<PartialObjectMeta<Secret>>,
    /// For the labels; empty to who may not list them.
    pub namespaces: Vec<PartialObjectMeta<Namespace>>,
    /// Stored objects that cannot be read.
    pub broken: Vec<Item>,
}

/// Lists all that matters and lays `documents` over it.
///
/// Errors: the cluster cannot be listed.
pub async fn list(client: &Client, documents: Documents, scope: &Scope) -> Result<Listed, Error> {
    let mut namespaces = documents.namespaces();
    if let Scope::Cluster(Some(namespace)) = scope {
        namespaces.insert(namespace.clone());
    }
    let mut broken = Vec::new();
    let users = objects(client, &namespaces, documents.users, Kind::User, &mut broken).await?;
    let groups = objects(client, &namespaces, documents.groups, Kind::Group, &mut broken).await?;
    let credentials = objects(client, &namespaces, documents.credentials, Kind::Credential, &mut broken).await?;
    let secrets = everywhere::<PartialObjectMeta<Secret>>(client, &namespaces).await;
    let secrets = secrets.map_err(|source| refused("secrets", source))?;
    let all = Api::<Namespace>::all(client.clone()).list_metadata(&ListParams::default()).await;
    let namespaces = all.map(|list| list.items).unwrap_or_default();
    Ok(Listed { users, groups, credentials, secrets, namespaces, broken })
}

fn refused(what: &'static str, source: kube::Error) -> Error {
    let code = match &source {
        kube::Error::Api(status) => status.code,
        _ => 0,
    };
    let help = match code {
        403 => "you need the rights to get and list it; -n NAMESPACE asks for less than the whole cluster",
        404 => "the kinds are not there yet; kubectl apply -k crds",
        401 => "log in to the cluster again",
        _ => "is the cluster of your kubeconfig reachable?",
    };
    Error::List { what, help, source }
}

/// All objects of a kind, documents first.
async fn objects<K: Laid>(
    client: &Client,
    namespaces: &BTreeSet<String>,
    documents: Vec<K>,
    kind: Kind,
    broken: &mut Vec<Item>,
) -> Result<Vec<K>, Error> {
    let listed = everywhere::<DeserializeGuard<K>>(client, namespaces).await;
    let mut live = HashMap::new();
    for DeserializeGuard(object) in listed.map_err(|source| refused(kind.plural(), source))? {
        match object {
            Ok(object) => drop(live.insert((object.namespace(), object.name_any()), object)),
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                let key = ObjectKey::new(kind, invalid.metadata.namespace.unwrap_or_default(), name);
                let message = format!("the stored object does not fit its schema: {}; correct it", invalid.error);
                broken.push(Item::blocked(key, Reason::Invalid, message));
            }
        }
    }
    for document in documents {
        let place = (document.namespace(), document.name_any());
        let laid = match live.remove(&place) {
            Some(object) => document.over(&object),
            None => document.fresh(),
        };
        live.insert(place, laid);
    }
    let mut all: Vec<K> = live.into_values().collect();
    all.sort_by_key(|object| (object.namespace(), object.name_any()));
    Ok(all)
}

/// All objects of the cluster, or of the namespaces alone if only those may be listed.
async fn everywhere<K>(client: &Client, namespaces: &BTreeSet<String>) -> kube::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    match pages(Api::all(client.clone())).await {
        Err(kube::Error::Api(status)) if status.code == 403 && !namespaces.is_empty() => {
            let mut all = Vec::new();
            for namespace in namespaces {
                all.extend(pages(Api::namespaced(client.clone(), namespace)).await?);
            }
            Ok(all)
        }
        other => other,
    }
}

async fn pages<K: Clone + Debug + DeserializeOwned>(api: Api<K>) -> kube::Result<Vec<K>> {
    let (mut all, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// A kind of ours that can be laid over what is stored.
pub trait Laid:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static
{
    /// Whether both specs are the same.
    fn same_spec(&self, other: &Self) -> bool;
    /// Takes the status of what is stored, which no document can set.
    fn take_status(&mut self, stored: Option<&Self>);

    /// It as it would be once applied over `stored`.
    fn over(mut self, stored: &Self) -> Self {
        let same = self.same_spec(stored);
        let mut metadata = stored.meta().clone();
        metadata.labels.clone_from(&self.meta().labels);
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
