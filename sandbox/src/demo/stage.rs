//! Everything the story needs, set up and cleared away; it tells nothing but progress.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usher::api::user::Mode;
use usher::api::{ObjectKey, PlatformGroup, PlatformUser, Reason, Vendor as UsherVendor};
use usher::controller::{Settings, Tally};
use usher::providers::Observer;

use super::waiting::PATIENCE;
use super::{Failure, Out};
use crate::controlplane::{self, ControlPlane, Options};
use crate::vendors::{Simulator, Vendor};

/// Namespace of the examples.
pub const NAMESPACE: &str = "identity";

/// A cluster, the vendors and the operator.
pub struct Stage {
    /// As the administrator.
    pub client: Client,
    kubeconfig: PathBuf,
    vendors: BTreeMap<&'static str, Simulator>,
    stop: CancellationToken,
    operator: JoinHandle<()>,
    plane: Option<ControlPlane>,
}

/// Kind and name of an object that was applied.
pub type Applied = (String, String);

impl Stage {
    /// Starts everything; with `existing`, on that cluster.
    ///
    /// Errors: no control plane, or it refuses what is applied.
    pub async fn set(existing: Option<&Path>, out: Out<'_>) -> Result<Self, Failure> {
        let (plane, kubeconfig) = if let Some(path) = existing {
            (None, path.to_owned())
        } else {
            let plane = ControlPlane::start(Options::default()).await?;
            let path = plane.dir().join("kubeconfig");
            plane.write_kubeconfig(&path, plane.admin_token())?;
            (Some(plane), path)
        };
        let client = controlplane::client_from(&kubeconfig).await?;
        let version = client.apiserver_version().await?;
        writeln!(out, "kube-apiserver {} answers.", version.git_version)?;
        controlplane::apply(&client, &controlplane::crds()?).await?;
        controlplane::apply(&client, &controlplane::operator_manifests()?).await?;
        let mut vendors = BTreeMap::new();
        for vendor in Vendor::ALL {
            let simulator = Simulator::start(vendor).await?;
            writeln!(out, "{:<13} at {}", vendor.name(), simulator.url())?;
            vendors.insert(vendor.name(), simulator);
        }
        let stop = CancellationToken::new();
        let operator = start_operator(&client, &kubeconfig, stop.clone()).await?;
        writeln!(out, "usher runs as ServiceAccount usher-system/usher, with the permissions of deploy/rbac.yaml.")?;
        Ok(Self { client, kubeconfig, vendors, stop, operator, plane })
    }

    /// Stops the operator; on a cluster of others also removes what the story made there.
    ///
    /// Errors: the cluster does not let go of it.
    pub async fn clear(self, is_existing: bool, out: Out<'_>) -> Result<(), Failure> {
        if is_existing {
            writeln!(out, "\nRemoving the namespace {NAMESPACE}.")?;
            let users: Api<PlatformUser> = Api::namespaced(self.client.clone(), NAMESPACE);
            let groups: Api<PlatformGroup> = Api::namespaced(self.client.clone(), NAMESPACE);
            users.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await?;
            groups.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await?;
            Api::<Namespace>::all(self.client.clone()).delete(NAMESPACE, &DeleteParams::default()).await?;
        }
        self.stop.cancel();
        self.operator.await?;
        drop(self.plane);
        Ok(())
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// All vendors.
    pub fn vendors(&self) -> impl Iterator<Item = &Simulator> {
        self.vendors.values()
    }

    /// One vendor.
    ///
    /// Errors: none; all five are there.
    pub fn vendor(&self, vendor: Vendor) -> Result<&Simulator, Failure> {
        self.vendors.get(vendor.name()).ok_or_else(|| format!("no {} on the stage", vendor.name()).into())
    }

    /// Applies deploy/examples as it is, but for the vendors' addresses and logins.
    ///
    /// Errors: a file cannot be read, or the API server refuses it.
    pub async fn apply_examples(&self, out: Out<'_>) -> Result<Vec<Applied>, Failure> {
        let examples = controlplane::workspace().join("deploy/examples");
        let mut applied = Vec::new();
        controlplane::apply(&self.client, &std::fs::read_to_string(examples.join("namespace.yaml"))?).await?;
        for (name, vendor) in &self.vendors {
            for file in ["credential.yaml", "groups.yaml", "users.yaml"] {
                let text = std::fs::read_to_string(examples.join(name).join(file))?;
                for mut document in controlplane::documents(&text)? {
                    point_at(vendor, &mut document);
                    controlplane::apply(&self.client, &document.to_string()).await?;
                    let (kind, name) = (text_of(&document["kind"]), text_of(&document["metadata"]["name"]));
                    if kind != "Secret" {
                        applied.push((kind, name));
                    }
                }
            }
            writeln!(out, "deploy/examples/{name}")?;
        }
        Ok(applied)
    }

    /// `kubectl patch --type merge` of a user.
    ///
    /// Errors: the API server refuses it.
    pub async fn patch(&self, user: &str, patch: Value) -> Result<(), Failure> {
        let users: Api<PlatformUser> = Api::namespaced(self.client.clone(), NAMESPACE);
        users.patch(user, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// `kubectl delete`, waiting until it is gone.
    ///
    /// Errors: it does not go.
    pub async fn delete<K>(&self, name: &str) -> Result<(), Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.delete(name, &DeleteParams::default()).await?;
        let gone = await_condition(api, name, |object: Option<&K>| object.is_none());
        tokio::time::timeout(PATIENCE, gone).await.map_err(|_| format!("{name} is still there"))??;
        Ok(())
    }
}

/// The operator in this process, with a real token of its own ServiceAccount.
async fn start_operator(
    client: &Client,
    kubeconfig: &Path,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, Failure> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "usher-system");
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(12 * 3600), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let made = accounts.create_token_request("usher", &PostParams::default(), &request).await?;
    let token = made.status.map(|status| status.token).ok_or("no token for the ServiceAccount")?;
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let settings = Settings {
        call_timeout: Duration::from_secs(10),
        reconcile_timeout: Duration::from_mins(1),
        mode: Mode::Enforce,
        namespace: "usher-system".into(),
        concurrency: 64,
    };
    Ok(tokio::spawn(usher::controller::run(client, settings, Arc::new(Uncounted), stop, |_| {})))
}

/// Replaces a vendor's address and login by the simulated one's.
fn point_at(vendor: &Simulator, document: &mut Value) {
    let name = vendor.vendor().name();
    if document["kind"] == "ProviderCredential" {
        document["spec"]["provider"][name]["url"] = json!(vendor.url());
        document["spec"]["allowInsecureHttp"] = json!(true);
    }
    if document["kind"] == "Secret" && document["metadata"]["name"] == format!("{name}-api") {
        document["stringData"] = json!(vendor.secret());
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The demo shows calls, not metrics.
struct Uncounted;

impl Observer for Uncounted {
    fn provider_request(&self, _: UsherVendor, _: &'static str, _: &str, _: Duration) {}
    fn gate_waited(&self, _: UsherVendor, _: &'static str, _: Duration) {}
}

impl Tally for Uncounted {
    fn reconciled(&self, _: &'static str, _: &'static str, _: Duration) {}
    fn object_state(&self, _: &ObjectKey, _: Option<Reason>) {}
    fn drift_repaired(&self, _: &'static str, _: UsherVendor) {}
    fn credential_ready(&self, _: UsherVendor, _: &ObjectKey, _: Option<bool>) {}
}
