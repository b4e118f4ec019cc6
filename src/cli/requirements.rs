//! What `usher run` needs of the cluster: definitions of the kinds that can hold all it writes, its namespace, and its rights. It starts
//! no reconcile before all is there, because it could not remember what it did. It changes nothing.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::crds;
use crate::api::names::API_GROUP;
use crate::runtime::admin::Readiness;
use crate::runtime::failure::describe;

/// Pause between two checks while something is missing.
const RETRY: Duration = Duration::from_secs(5);
/// Longest time for one check.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Most fields that a message names.
const MAX_FIELDS: usize = 5;
/// The command that brings the definitions of the kinds.
const APPLY_CRDS: &str = "kubectl apply -k crds";
/// The command that brings the namespace and the rights.
const APPLY_DEPLOY: &str = "kubectl apply -k deploy";

/// The name of the lease.
pub const LEASE: &str = "usher";

/// What depends on the flags of `usher run`.
pub struct Requirements<'a> {
    /// The operator's namespace.
    pub namespace: &'a str,
    /// Whether it takes a lease there.
    pub leader_elect: bool,
    /// Whether it puts a finalizer on Secrets.
    pub secret_finalizer: bool,
}

impl Requirements<'_> {
    /// Ends when nothing is missing, or on `stop`. Until then `readiness` and the log say what is missing, the log only once.
    pub async fn wait(&self, client: &Client, readiness: &Readiness, stop: &CancellationToken) {
        let mut said = String::new();
        while !stop.is_cancelled() {
            let missing = self.check(client).await;
            if missing.is_empty() {
                readiness.done("crds");
                if !said.is_empty() {
                    info!("nothing is missing any more");
                }
                return;
            }
            if missing != said {
                warn!("waiting, because {missing}");
                readiness.explain("crds", &missing);
                said = missing;
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// What is missing, with the commands that bring it; empty if nothing is.
    async fn check(&self, client: &Client) -> String {
        match tokio::time::timeout(TIMEOUT, self.missing(client)).await {
            Ok(Ok(missing)) => missing.join("; "),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => format!("{}: {APPLY_DEPLOY}", status.message),
            Ok(Err(failure)) => format!("Kubernetes does not answer: {}", describe(&failure)),
            Err(_) => "Kubernetes does not answer".to_owned(),
        }
    }

    async fn missing(&self, client: &Client) -> Result<Vec<String>, kube::Error> {
        let mut missing = definitions(client).await?;
        if Api::<Namespace>::all(client.clone()).get_opt(self.namespace).await?.is_none() {
            let namespace = self.namespace;
            missing.push(format!("there is no namespace {namespace}: {APPLY_DEPLOY}, or choose another --namespace"));
        }
        missing.extend(self.rights(client).await?);
        Ok(missing)
    }

    /// The rights that usher lacks.
    async fn rights(&self, client: &Client) -> Result<Option<String>, kube::Error> {
        let reviews = self.needed().into_iter().map(|right| async move {
            let text = right.to_string();
            right.is_granted(client).await.map(|is_granted| (!is_granted).then_some(text))
        });
        let lacking: Vec<String> = try_join_all(reviews).await?.into_iter().flatten().collect();
        Ok((!lacking.is_empty()).then(|| format!("usher may not {}: {APPLY_DEPLOY}", lacking.join(", "))))
    }

    /// The rights that deploy/rbac.yaml grants, as far as the flags need them.
    fn needed(&self) -> Vec<Right<'_>> {
        let of = |group, resource, namespace, verbs: &[&'static str]| {
            verbs.iter().map(|verb| Right { group, resource, namespace, verb, name: None }).collect::<Vec<_>>()
        };
        let kinds = ["platformusers", "platformgroups", "providercredentials"];
        let watched = ["get", "list", "watch"];
        let mut rights: Vec<Right> =
            kinds.iter().flat_map(|kind| of(API_GROUP, kind, None, &["get", "list", "watch", "patch"])).collect();
        let statuses = ["platformusers/status", "platformgroups/status", "providercredentials/status"];
        rights.extend(statuses.iter().flat_map(|status| of(API_GROUP, status, None, &["patch", "restore"])));
        rights.extend(of("", "secrets", None, &watched));
        rights.extend(of("", "namespaces", None, &watched));
        rights.extend(of("events.k8s.io", "events", None, &["create", "patch"]));
        rights.extend(of("", "secrets", Some(self.namespace), &["create"]));
        if self.secret_finalizer {
            rights.extend(of("", "secrets", None, &["patch"]));
        }
        if self.leader_elect {
            rights.extend(of("coordination.k8s.io", "leases", Some(self.namespace), &["create"]));
            let own = of("coordination.k8s.io", "leases", Some(self.namespace), &["get", "update"]);
            rights.extend(own.into_iter().map(|right| Right { name: Some(LEASE), ..right }));
        }
        rights
    }
}

/// The right to use a verb on a resource or one object of it, in one namespace or in all.
struct Right<'a> {
    group: &'static str,
    resource: &'static str,
    namespace: Option<&'a str>,
    name: Option<&'static str>,
    verb: &'static str,
}

impl std::fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        self.namespace.map_or(Ok(()), |namespace| write!(f, " in namespace {namespace}"))
    }
}

impl Right<'_> {
    /// Whether usher has it. One that cannot be reviewed counts as granted.
    async fn is_granted(&self, client: &Client) -> Result<bool, kube::Error> {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let attributes = ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()).filter(|subresource| !subresource.is_empty()),
            namespace: self.namespace.map(str::to_owned),
            name: self.name.map(str::to_owned),
            verb: Some(self.verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        match Api::all(client.clone()).create(&PostParams::default(), &review).await {
            Ok(reviewed) => Ok(reviewed.status.is_none_or(|status| status.allowed)),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// What the definitions of the kinds in the cluster lack.
async fn definitions(client: &Client) -> Result<Vec<String>, kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let needed = crds::definitions().map_err(kube::Error::SerdeError)?;
    let installed =
        join_all(needed.iter().map(|definition| api.get_opt(definition.metadata.name.as_deref().unwrap_or_default())));
    let mut missing = Vec::new();
    for (needed, installed) in needed.iter().zip(installed.await) {
        missing.extend(lacking(needed, installed?.as_ref()).map(|what| format!("{what}: {APPLY_CRDS}")));
    }
    Ok(missing)
}

/// What one definition lacks.
fn lacking(needed: &CustomResourceDefinition, installed: Option<&CustomResourceDefinition>) -> Option<String> {
    let name = needed.name_any();
    let Some(installed) = installed else { return Some(format!("there is no CustomResourceDefinition {name}")) };
    let mut fields = crds::lacking(needed, installed);
    if fields.is_empty() {
        let is_served = crds::is_established(installed);
        return (!is_served).then(|| format!("the CustomResourceDefinition {name} is not served yet"));
    }
    let more = fields.len().saturating_sub(MAX_FIELDS);
    fields.truncate(MAX_FIELDS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "the CustomResourceDefinition {name} is of another version of usher and lacks {}{more}",
        fields.join(", ")
    ))
}
