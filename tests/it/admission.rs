//! The admission policies: which people may name a Secret, use another namespace's credential, or take an existing account.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use usher::api::{Kind, PlatformUser, ProviderCredential};
use usher_sandbox::controlplane::{self, ControlPlane, Options};
use usher_sandbox::vendors::{Options as VendorOptions, Vendor};

use crate::scene::{PATIENCE, Scene, merge};
use crate::world::world;

/// Someone with a namespace and rights of his own.
pub struct Tenant<'a> {
    plane: &'a ControlPlane,
    namespace: String,
    /// As him.
    pub client: Client,
}

impl<'a> Tenant<'a> {
    /// May write the three kinds in `namespace` and nothing else.
    pub async fn new(plane: &'a ControlPlane, namespace: &str) -> Self {
        let tenant = Self::without_rights(plane, namespace).await;
        tenant.may("write", namespace, &rule(&["get", "create", "patch"])).await;
        tenant
    }

    /// May do nothing in `namespace` yet.
    pub async fn without_rights(plane: &'a ControlPlane, namespace: &str) -> Self {
        let admin = plane.client().unwrap();
        let namespaced =
            |kind: &str, name: &str| json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}});
        let mut account = namespaced("ServiceAccount", "tenant");
        account["apiVersion"] = json!("v1");
        let namespace_itself = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        for document in [namespace_itself, account] {
            controlplane::apply(&admin, &document.to_string()).await.unwrap();
        }
        let client = plane.service_account_client(namespace, "tenant").await.unwrap();
        Self { plane, namespace: namespace.into(), client }
    }

    /// Gives the tenant a right in a namespace.
    pub async fn may(&self, name: &str, namespace: &str, rule: &Value) {
        let group = "rbac.authorization.k8s.io";
        let api = format!("{group}/v1");
        let metadata = json!({"name": name, "namespace": namespace});
        let role = json!({"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": [rule]});
        let binding = json!({
            "apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": self.namespace}],
        });
        let admin = self.plane.client().unwrap();
        for document in [role, binding] {
            controlplane::apply(&admin, &document.to_string()).await.unwrap();
        }
    }

    /// Gives the tenant the rights of a ClusterRole, in his namespace or, with `everywhere`, in all.
    pub async fn may_as(&self, cluster_role: &str, everywhere: bool) {
        let group = "rbac.authorization.k8s.io";
        let name = format!("{}-{cluster_role}", self.namespace);
        let mut binding = json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": cluster_role},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": self.namespace}],
        });
        if !everywhere {
            merge(&mut binding, json!({"kind": "RoleBinding", "metadata": {"namespace": self.namespace}}));
        }
        controlplane::apply(&self.plane.client().unwrap(), &binding.to_string()).await.unwrap();
    }

    /// The right to read one Secret of his namespace.
    pub async fn may_read(&self, secret: &str) {
        let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get"]});
        self.may(&format!("read-{secret}"), &self.namespace, &rule).await;
    }

    /// `kubectl apply --server-side` as the tenant; what the API server said if it refused.
    pub async fn apply(&self, kind: Kind, name: &str, spec: &Value, dry: bool) -> Result<(), String> {
        let resource = match kind {
            Kind::User => kube::api::ApiResource::erase::<PlatformUser>(&()),
            Kind::Group => kube::api::ApiResource::erase::<usher::api::PlatformGroup>(&()),
            Kind::Credential => kube::api::ApiResource::erase::<ProviderCredential>(&()),
        };
        let document = json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind.to_string(), "metadata": {"name": name}, "spec": spec});
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let params = PatchParams { dry_run: dry, ..PatchParams::apply("tenant").force() };
        let applied = api.patch(name, &params, &Patch::Apply(document)).await;
        applied.map(drop).map_err(|error| error.to_string())
    }

    /// Waits until a dry run is answered as wanted: rights and policies take a moment until they are known.
    async fn until(
        &self,
        kind: Kind,
        spec: &Value,
        wanted: impl Fn(&Result<(), String>) -> bool,
    ) -> Result<(), String> {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.apply(kind, "probe", spec, true).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{kind} with {spec} still gets {answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a dry run is refused with these words; returns all words.
    pub async fn refused(&self, kind: Kind, spec: &Value, words: &str) -> String {
        self.until(kind, spec, |answer| answer.as_ref().is_err_and(|said| said.contains(words))).await.unwrap_err()
    }

    /// Waits until a dry run is accepted.
    pub async fn accepted(&self, kind: Kind, spec: &Value) {
        self.until(kind, spec, Result::is_ok).await.unwrap();
    }
}

/// These verbs on the three kinds.
pub fn rule(verbs: &[&str]) -> Value {
    let kinds = [Kind::User, Kind::Group, Kind::Credential].map(Kind::plural);
    json!({"apiGroups": ["usher.dev"], "resources": kinds, "verbs": verbs})
}

/// The spec of a credential of the Secret `main`.
pub fn credential(url: &str) -> Value {
    json!({"provider": {"pegasus": {"url": url}}, "secretRef": {"name": "main"}, "allowInsecureHttp": true})
}

fn user(further: Value) -> Value {
    let mut spec = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com"});
    merge(&mut spec, further);
    spec
}

#[tokio::test]
async fn a_person_without_the_right_to_read_a_secret_cannot_have_usher_read_it() {
    let scene = Scene::without_credential(Vendor::Pegasus, VendorOptions::default()).await;
    scene.apply_secret("main").await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let tenant = Tenant::new(&world().plane, &scene.namespace).await;
    let spec = credential(&scene.vendor.url());
    let said = tenant.refused(Kind::Credential, &spec, "may not read Secret").await;
    assert!(said.contains(&format!("system:serviceaccount:{}:tenant", scene.namespace)), "{said}");
    assert!(said.contains("ask for the verb get"), "{said}");
    tenant.may_read("main").await;
    tenant.accepted(Kind::Credential, &spec).await;
    tenant.apply(Kind::Credential, "main", &spec, false).await.unwrap();

    let with_password = user(json!({"passwordSecretRef": {"name": "login"}}));
    tenant.refused(Kind::User, &with_password, "spec.passwordSecretRef: ").await;
    tenant.may_read("login").await;
    tenant.accepted(Kind::User, &with_password).await;
    tenant.apply(Kind::User, "ada", &with_password, false).await.unwrap();
    // The operator's finalizer, annotation and status writes pass: the whole way works under the policies.
    scene.user_ready("ada").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
}

#[tokio::test]
async fn an_edit_that_neither_names_nor_moves_a_secret_needs_no_right_to_read_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let named = user(json!({"passwordSecretRef": {"name": "login"}}));
    scene.user("ada", named.clone()).await;
    scene.user_ready("ada").await;
    let tenant = Tenant::new(&world().plane, &scene.namespace).await;
    let url = scene.vendor.url();
    tenant.refused(Kind::Credential, &credential(&url), "may not read Secret").await;

    let mut edited = named.clone();
    merge(&mut edited, json!({"phone": "7"}));
    tenant.apply(Kind::User, "ada", &edited, false).await.unwrap();
    scene.user_ready("ada").await;
    let mut calmer = credential(&url);
    merge(&mut calmer, json!({"resyncInterval": "20m"}));
    tenant.apply(Kind::Credential, "main", &calmer, false).await.unwrap();
    let moved = credential("http://127.0.0.1:1");
    let said = tenant.apply(Kind::Credential, "main", &moved, false).await.unwrap_err();
    assert!(said.contains("may not read Secret"), "{said}");
}

/// A cluster with the policies for many teams.
async fn many_teams() -> ControlPlane {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let admin = plane.client().unwrap();
    for manifests in [controlplane::crds(), controlplane::operator_manifests(), controlplane::tenancy()] {
        controlplane::apply(&admin, &manifests.unwrap()).await.unwrap();
    }
    plane
}

#[tokio::test]
async fn tenancy_asks_for_the_right_to_use_and_to_adopt() {
    let plane = &many_teams().await;
    let tenant = Tenant::new(plane, "team-a").await;
    let owners = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "owners"}});
    controlplane::apply(&plane.client().unwrap(), &owners.to_string()).await.unwrap();
    let right = |verb: &str| json!({"apiGroups": ["usher.dev"], "resources": ["providercredentials"], "verbs": [verb]});
    let elsewhere = json!({"credentialRef": {"name": "main", "namespace": "owners"}});

    for kind in [Kind::User, Kind::Group] {
        let spec = |further: Value| {
            if kind == Kind::User { user(further) } else { with_reference(further) }
        };
        tenant.accepted(kind, &spec(json!({}))).await;
        let said = tenant.refused(kind, &spec(elsewhere.clone()), "may not use the credential owners/main").await;
        assert!(said.contains("verb use"), "{said}");
        tenant.refused(kind, &spec(json!({"adoptionPolicy": "Adopt"})), "verb adopt").await;
        tenant.refused(kind, &spec(json!({"externalId": "17"})), "verb adopt").await;
    }
    tenant.may("use", "owners", &right("use")).await;
    tenant.accepted(Kind::User, &user(elsewhere.clone())).await;
    tenant.may("adopt", "team-a", &right("adopt")).await;
    tenant.accepted(Kind::User, &user(json!({"adoptionPolicy": "Adopt"}))).await;
    tenant.accepted(Kind::Group, &with_reference(json!({"externalId": "17"}))).await;
    // The right to use a credential is not the right to adopt through it.
    let mut both = elsewhere;
    merge(&mut both, json!({"adoptionPolicy": "Adopt"}));
    tenant.refused(Kind::User, &user(both), "owners/main: ask its owners for the verb adopt").await;
}

#[tokio::test]
async fn tenancy_asks_for_the_right_to_adopt_where_a_credential_lets_others() {
    let plane = &many_teams().await;
    let tenant = Tenant::new(plane, "team-c").await;
    tenant.may_read("main").await;
    let spec = |further: Value| {
        let mut spec = credential("http://127.0.0.1:1");
        merge(&mut spec, further);
        spec
    };
    tenant.accepted(Kind::Credential, &spec(json!({"adoptionPolicy": "Never", "allowExisting": "Same"}))).await;
    for wider in [json!({"adoptionPolicy": "Adopt"}), json!({"allowExisting": "All"})] {
        let said = tenant.refused(Kind::Credential, &spec(wider), "verb adopt").await;
        assert!(said.contains("the credential team-c/probe"), "{said}");
    }
    let adopt = json!({"apiGroups": ["usher.dev"], "resources": ["providercredentials"], "verbs": ["adopt"]});
    tenant.may("adopt", "team-c", &adopt).await;
    tenant.accepted(Kind::Credential, &spec(json!({"adoptionPolicy": "Adopt", "allowExisting": "All"}))).await;
}

fn with_reference(further: Value) -> Value {
    let mut spec = json!({"credentialRef": {"name": "main"}});
    merge(&mut spec, further);
    spec
}

#[tokio::test]
async fn tenancy_leaves_alone_what_exists_and_what_usher_writes() {
    let plane = &many_teams().await;
    let tenant = Tenant::new(plane, "team-b").await;
    let admin = plane.client().unwrap();
    let adopting = user(json!({"adoptionPolicy": "Adopt"}));
    tenant.refused(Kind::User, &adopting, "verb adopt").await;
    let document = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": "ada", "namespace": "team-b"}, "spec": adopting});
    controlplane::apply(&admin, &document.to_string()).await.unwrap();
    let mut edited = adopting.clone();
    merge(&mut edited, json!({"phone": "7"}));
    tenant.apply(Kind::User, "ada", &edited, false).await.unwrap();

    let operator = plane.service_account_client("usher-system", "usher").await.unwrap();
    let users: Api<PlatformUser> = Api::namespaced(operator, "team-b");
    let metadata = json!({"metadata": {"finalizers": ["usher.dev/finalizer"], "annotations": {"velero.io/restore-status": "true"}}});
    users.patch("ada", &PatchParams::default(), &Patch::Merge(metadata)).await.unwrap();
    let status = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "status": {"externalId": "17"}});
    let params = PatchParams::apply("usher-identity").force();
    users.patch_status("ada", &params, &Patch::Apply(status)).await.unwrap();
    let released = json!({"metadata": {"finalizers": null}});
    users.patch("ada", &PatchParams::default(), &Patch::Merge(released)).await.unwrap();
}
