//! Where one run is played: namespaces and a vendor of its own, and operators with deploy/'s permissions there. It must not know any story.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use usher_sandbox::controlplane;
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use super::Clients;
use super::operator::Operator;
use crate::scene::{PATIENCE, Scene, merge};

/// Everything one run has.
pub struct Stage {
    operators: Client,
    /// Where the credential, its Secret and usher itself are.
    pub scene: Scene,
    /// Where users and groups are: the same namespace, unless they are apart.
    pub people: Scene,
    /// How late operators are told what they watch.
    pub lag: Duration,
}

impl Stage {
    /// A namespace and a vendor of their own, without an operator.
    pub async fn new(clients: &Clients, vendor: Vendor) -> Self {
        Self::with(clients, vendor, Options::default(), false).await
    }

    /// The same with vendor options, and with users and groups in a namespace apart from the credential's if so wished.
    pub async fn with(clients: &Clients, vendor: Vendor, options: Options, apart: bool) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let own = format!("{}-{}", vendor.name(), COUNT.fetch_add(1, Ordering::Relaxed));
        let others = if apart { format!("{own}-people") } else { own.clone() };
        let vendor = Arc::new(Simulator::start_with(vendor, options).await.unwrap());
        let place = |namespace| Scene { client: clients.admin.clone(), namespace, vendor: vendor.clone() };
        let stage = Self {
            operators: clients.operators.clone(),
            scene: place(own),
            people: place(others),
            lag: Duration::ZERO,
        };
        stage.furnish().await;
        stage
    }

    async fn furnish(&self) {
        for namespace in [&self.scene.namespace, &self.people.namespace] {
            self.scene.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
        }
        controlplane::apply(&self.scene.client, &rules_of_our_own(&self.scene.namespace)).await.unwrap();
        let granted = async {
            while !may_make_secrets(&self.operators, &self.scene.namespace).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, granted).await.expect("the API server takes the rules to heart");
    }

    /// A new operator.
    pub fn operator(&self) -> Operator {
        let Self { operators, scene, people, lag } = self;
        Operator::start(operators, (&scene.namespace, &people.namespace), &scene.vendor, *lag)
    }

    /// Whether users and groups are in a namespace of their own.
    pub fn is_apart(&self) -> bool {
        self.scene.namespace != self.people.namespace
    }

    /// A user; one in a namespace of its own has no password, because its Secret would be in a third place.
    pub async fn user(&self, name: &str, mut spec: Value) {
        self.refer(&mut spec);
        if self.is_apart() {
            spec.as_object_mut().unwrap().remove("passwordSecretRef");
            if self.scene.vendor.vendor() == Vendor::Pegasus {
                merge(&mut spec, json!({"provider": {"pegasus": {"sendEmail": true}}}));
            }
        }
        self.people.user(name, spec).await;
    }

    /// A group.
    pub async fn group(&self, name: &str, mut spec: Value) {
        self.refer(&mut spec);
        self.people.group(name, spec).await;
    }

    fn refer(&self, spec: &mut Value) {
        if self.is_apart() {
            merge(spec, json!({"credentialRef": {"namespace": self.scene.namespace}}));
        }
    }

    /// Everything usher has emitted, as text.
    pub async fn emitted(&self) -> String {
        let apart = if self.is_apart() { self.people.emitted().await } else { String::new() };
        self.scene.emitted().await + &apart
    }
}

/// What deploy/ grants in usher's own namespace, granted in `namespace`.
fn rules_of_our_own(namespace: &str) -> String {
    let mut rules = controlplane::documents(&controlplane::operator_manifests().unwrap()).unwrap();
    rules.retain(|rule| rule["kind"] == "Role" || rule["kind"] == "RoleBinding");
    rules.iter_mut().for_each(|rule| rule["metadata"]["namespace"] = namespace.into());
    rules.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// Whether the API server knows of the rules by now.
async fn may_make_secrets(client: &Client, namespace: &str) -> bool {
    let secrets = ResourceAttributes {
        namespace: Some(namespace.into()),
        verb: Some("create".into()),
        resource: Some("secrets".into()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(secrets), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await.unwrap();
    answer.status.is_some_and(|status| status.allowed)
}
