//! Runs usher itself in this process, with exactly the permissions of deploy/.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usher::api::user::Mode;
use usher::api::{ObjectKey, Reason, Vendor};
use usher::controller::{Metrics, Settings};
use usher::providers::{AddressRules, Observer};

use super::Failure;

/// Namespace of usher in deploy/.
const NAMESPACE: &str = "usher-system";
/// Its ServiceAccount there.
const ACCOUNT: &str = "usher";
/// Lifetime of its token, in seconds, and so the longest time for `--keep`.
const TOKEN_SECONDS: i64 = 12 * 3600;

/// A running operator.
pub struct Operator {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Operator {
    /// Starts it with a real token of its ServiceAccount on the cluster of `kubeconfig`; `client` must have the right to create the
    /// token.
    ///
    /// Errors: there is no such ServiceAccount, or the file is not a kubeconfig.
    pub async fn start(client: &Client, kubeconfig: &Path) -> Result<Self, Failure> {
        let client = Client::try_from(config(kubeconfig, token(client).await?).await?)?;
        let stop = CancellationToken::new();
        let settings = Settings {
            call_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            read_lag: Duration::ZERO,
            reconcile_timeout: Duration::from_mins(1),
            mode: Mode::Enforce,
            namespace: NAMESPACE.into(),
            secret_finalizer: true,
            concurrency: 64,
            addresses: AddressRules { insecure: true, ..AddressRules::default() },
        };
        let running = usher::controller::run(client, settings, Arc::new(Uncounted), stop.clone(), Box::new(|_| {}));
        Ok(Self { stop, running: tokio::spawn(running) })
    }

    /// Stops it after its work in progress.
    ///
    /// Errors: it panicked.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.running.await.map_err(|error| format!("the operator died: {error}").into())
    }
}

async fn token(client: &Client) -> Result<String, Failure> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let made = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await?;
    made.status.map(|status| status.token).ok_or_else(|| "the API server created no token for usher".into())
}

/// The cluster of the kubeconfig with `token` instead of the kubeconfig's user.
async fn config(kubeconfig: &Path, token: String) -> Result<Config, Failure> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    config.default_retry = false;
    Ok(config)
}

/// The demo shows calls, not metrics.
struct Uncounted;

impl Observer for Uncounted {
    fn provider_request(&self, _: Vendor, _: &'static str, _: &str, _: Duration) {}
    fn limiter_waited(&self, _: Vendor, _: &'static str, _: Duration) {}
}

impl Metrics for Uncounted {
    fn reconciled(&self, _: &'static str, _: &'static str, _: Duration) {}
    fn object_state(&self, _: &ObjectKey, _: Option<Reason>) {}
    fn drift_repaired(&self, _: &'static str, _: Vendor) {}
    fn credential_ready(&self, _: Vendor, _: &ObjectKey, _: Option<bool>) {}
}
