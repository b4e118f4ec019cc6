//! Access to the API server: configurations, clients and kubeconfigs; it starts nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use kube::{Api, Client, Config};

use super::error::io;
use super::{ControlPlane, Error};

/// The administrator's token; the server listens on loopback only and lives for one test.
pub(super) const ADMIN_TOKEN: &str = "fake-admin-token";
/// Name of the one cluster, user and context of a kubeconfig.
const NAME: &str = "usher-sandbox";
/// How long a `ServiceAccount`'s token lasts, in seconds.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// Address of the API server, and its self-signed certificate.
pub(super) struct Access {
    pub url: String,
    pub certificate: PathBuf,
}

impl Access {
    /// A configuration for the bearer of `token`, trusting that one certificate only.
    pub fn config(&self, token: &str) -> Result<Config, Error> {
        let url = self.url.parse().map_err(|error| Error::Config(format!("{error}")))?;
        let pem = fs::read(&self.certificate).map_err(io("read the API server's certificate"))?;
        let chain = pem::parse_many(pem).map_err(|error| Error::Config(error.to_string()))?;
        let mut config = Config::new(url);
        config.root_cert = Some(chain.into_iter().map(pem::Pem::into_contents).collect());
        config.auth_info.token = Some(token.to_owned().into());
        config.default_retry = false;
        Ok(config)
    }

    /// A client of the administrator.
    pub fn admin(&self) -> Result<Client, Error> {
        Ok(Client::try_from(self.config(ADMIN_TOKEN)?)?)
    }

    /// Whether the API server says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let (Ok(client), Ok(request)) = (self.admin(), http::Request::get("/readyz").body(Vec::new())) else {
            return false;
        };
        let asked = tokio::time::timeout(Duration::from_secs(5), client.request_text(request));
        matches!(asked.await, Ok(Ok(_)))
    }

    /// Writes a kubeconfig for the bearer of `token`.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<(), Error> {
        let text =
            serde_saphyr::to_string(&self.kubeconfig(token)).map_err(|error| Error::Config(error.to_string()))?;
        fs::write(path, text).map_err(io(format!("write {}", path.display())))
    }

    fn kubeconfig(&self, token: &str) -> Kubeconfig {
        let cluster = Cluster {
            server: Some(self.url.clone()),
            certificate_authority: Some(self.certificate.display().to_string()),
            ..Cluster::default()
        };
        let user = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        let context = Context { cluster: NAME.into(), user: Some(NAME.into()), ..Context::default() };
        Kubeconfig {
            api_version: Some("v1".into()),
            kind: Some("Config".into()),
            current_context: Some(NAME.into()),
            clusters: vec![NamedCluster { name: NAME.into(), cluster: Some(cluster), ..NamedCluster::default() }],
            auth_infos: vec![NamedAuthInfo { name: NAME.into(), auth_info: Some(user), ..NamedAuthInfo::default() }],
            contexts: vec![NamedContext { name: NAME.into(), context: Some(context), ..NamedContext::default() }],
            ..Kubeconfig::default()
        }
    }
}

impl ControlPlane {
    /// A client configuration for the bearer of `token`.
    ///
    /// Errors: the certificate of the API server cannot be used.
    pub fn config(&self, token: &str) -> Result<Config, Error> {
        self.access.config(token)
    }

    /// A client of the administrator.
    ///
    /// Errors: see `config`.
    pub fn client(&self) -> Result<Client, Error> {
        self.access.admin()
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        ADMIN_TOKEN
    }

    /// A real token of a `ServiceAccount`, so that its RBAC applies.
    ///
    /// Errors: there is no such `ServiceAccount`.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let made = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        Ok(made.status.map(|status| status.token).unwrap_or_default())
    }

    /// A client with the permissions of a `ServiceAccount`.
    ///
    /// Errors: there is no such `ServiceAccount`.
    pub async fn service_account_client(&self, namespace: &str, name: &str) -> Result<Client, Error> {
        let token = self.service_account_token(namespace, name).await?;
        Ok(Client::try_from(self.config(&token)?)?)
    }

    /// Writes a kubeconfig for the bearer of `token`, usable while the control plane runs.
    ///
    /// Errors: the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<(), Error> {
        self.access.write_kubeconfig(path, token)
    }
}

/// A client from a kubeconfig file, without retries that would hide an outage.
///
/// Errors: the file is not a kubeconfig, or is not valid for a client.
pub async fn client_from(path: &Path) -> Result<Client, Error> {
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| Error::Config(error.to_string()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| Error::Config(error.to_string()))?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
