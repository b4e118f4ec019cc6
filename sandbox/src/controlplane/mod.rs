//! A real etcd and kube-apiserver for tests, the demo and the benchmark; it must not imitate anything and leaves nothing running.

mod apply;
mod assets;
mod guarded;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use kube::{Api, Client, Config};
use tempfile::TempDir;

pub use apply::{apply, documents};
pub use assets::workspace;

use assets::Assets;
use guarded::Guarded;

/// Longest time until the API server answers.
const READY: Duration = Duration::from_secs(60);
/// The administrator's token; the server listens on loopback only and lives for one test.
const ADMIN_TOKEN: &str = "fake-admin-token";

/// Why the control plane did not come up, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither binaries nor a way to build them.
    #[error("{0}")]
    Assets(String),
    /// A file or process of ours failed.
    #[error("failed to {what}: {source}")]
    Io {
        /// What we were doing.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A process did not become ready.
    #[error("{name} did not become ready; its log ends with:\n{log}")]
    NotReady {
        /// Which process.
        name: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The API server refused something.
    #[error("the API server refused: {0}")]
    Kube(#[from] kube::Error),
    /// A manifest is none.
    #[error("not a manifest: {0}")]
    Manifest(String),
    /// A configuration could not be made.
    #[error("no client: {0}")]
    Config(String),
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// What to start beside etcd and kube-apiserver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also kube-controller-manager with the namespace controller and the garbage collector.
    pub controllers: bool,
}

/// A running control plane; dropping it, or the death of this process, ends it.
pub struct ControlPlane {
    url: String,
    ca: Vec<u8>,
    api_server: Guarded,
    etcd: Guarded,
    controllers: Option<Guarded>,
    dir: TempDir,
}

impl ControlPlane {
    /// Starts one in a fresh folder on free ports.
    ///
    /// Errors: no binaries and no Go to build them, or a process that does not become ready.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let assets = Assets::find_or_build(options.controllers).await?;
        match Self::launch(&assets, options).await {
            // Between looking for free ports and using them someone else may have taken one.
            Err(Error::NotReady { .. }) => Self::launch(&assets, options).await,
            other => other,
        }
    }

    async fn launch(assets: &Assets, options: Options) -> Result<Self, Error> {
        let base = workspace().join("target/tmp");
        fs::create_dir_all(&base).map_err(io("make target/tmp"))?;
        let dir = tempfile::Builder::new().prefix("controlplane-").tempdir_in(base).map_err(io("make a folder"))?;
        let [client, peer, secure] = free_ports()?;
        let etcd = start_etcd(assets, dir.path(), client, peer)?;
        let api_server = start_api_server(assets, dir.path(), client, secure)?;
        let url = format!("https://127.0.0.1:{secure}");
        let mut plane = Self { url, ca: Vec::new(), api_server, etcd, controllers: None, dir };
        plane.wait_until_ready().await?;
        if options.controllers {
            plane.controllers = Some(plane.start_controllers(assets)?);
        }
        Ok(plane)
    }

    async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        let certificate = self.dir.path().join("certs/apiserver.crt");
        while begun.elapsed() < READY {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Ok(ca) = fs::read(&certificate) {
                self.ca = ca;
                let ready = match self.client() {
                    Ok(client) => client.request_text(request("/readyz")).await.is_ok(),
                    Err(_) => false,
                };
                if ready {
                    return Ok(());
                }
            }
            for (name, process) in [("etcd", &mut self.etcd), ("kube-apiserver", &mut self.api_server)] {
                if process.has_ended() {
                    return Err(Error::NotReady { name, log: process.log() });
                }
            }
        }
        Err(Error::NotReady { name: "kube-apiserver", log: self.api_server.log() })
    }

    fn start_controllers(&self, assets: &Assets) -> Result<Guarded, Error> {
        let kubeconfig = self.dir.path().join("controllers.kubeconfig");
        self.write_kubeconfig(&kubeconfig, ADMIN_TOKEN)?;
        let arguments = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--controllers=namespace-controller,garbage-collector-controller".into(),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
        ];
        Guarded::start("kube-controller-manager", &assets.controller_manager, &arguments, self.dir.path())
    }

    /// A client configuration for the bearer of `token`.
    ///
    /// Errors: the certificate authority cannot be used.
    pub fn config(&self, token: &str) -> Result<Config, Error> {
        let url = self.url.parse().map_err(|error| Error::Config(format!("{error}")))?;
        let mut config = Config::new(url);
        config.root_cert = Some(pem_to_der(&self.ca)?);
        config.auth_info.token = Some(token.to_owned().into());
        config.default_retry = false;
        Ok(config)
    }

    /// A client of the administrator.
    ///
    /// Errors: see `config`.
    pub fn client(&self) -> Result<Client, Error> {
        Ok(Client::try_from(self.config(ADMIN_TOKEN)?)?)
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        ADMIN_TOKEN
    }

    /// A real token of a ServiceAccount, so that its RBAC is what counts.
    ///
    /// Errors: there is no such ServiceAccount.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let made = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        Ok(made.status.map(|status| status.token).unwrap_or_default())
    }

    /// Writes a kubeconfig for the bearer of `token`.
    ///
    /// Errors: the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<(), Error> {
        let text =
            serde_saphyr::to_string(&self.kubeconfig(token)).map_err(|error| Error::Config(error.to_string()))?;
        fs::write(path, text).map_err(io(format!("write {}", path.display())))
    }

    fn kubeconfig(&self, token: &str) -> Kubeconfig {
        let name = "usher-sandbox".to_owned();
        let certificate = self.dir.path().join("certs/apiserver.crt");
        Kubeconfig {
            api_version: Some("v1".into()),
            kind: Some("Config".into()),
            current_context: Some(name.clone()),
            clusters: vec![NamedCluster {
                name: name.clone(),
                cluster: Some(Cluster {
                    server: Some(self.url.clone()),
                    certificate_authority: Some(certificate.display().to_string()),
                    ..Cluster::default()
                }),
                ..NamedCluster::default()
            }],
            auth_infos: vec![NamedAuthInfo {
                name: name.clone(),
                auth_info: Some(AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() }),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext {
                name: name.clone(),
                context: Some(Context { cluster: name.clone(), user: Some(name), ..Context::default() }),
                ..NamedContext::default()
            }],
            ..Kubeconfig::default()
        }
    }
}

/// A client from a kubeconfig file, without retries that would hide an outage.
///
/// Errors: the file is none, or leads nowhere.
pub async fn client_from(path: &Path) -> Result<Client, Error> {
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| Error::Config(error.to_string()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| Error::Config(error.to_string()))?;
    Ok(Client::try_from(config)?)
}

/// Everything of deploy/ that the operator needs beside its Deployment: namespace, ServiceAccount and RBAC, as they are.
///
/// Errors: a file cannot be read.
pub fn operator_manifests() -> Result<String, Error> {
    let deploy = workspace().join("deploy");
    let read = |name: &str| fs::read_to_string(deploy.join(name)).map_err(io(format!("read deploy/{name}")));
    Ok(["namespace.yaml", "serviceaccount.yaml", "rbac.yaml"]
        .map(read)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .join("\n---\n"))
}

/// The committed CustomResourceDefinitions.
///
/// Errors: a file cannot be read.
pub fn crds() -> Result<String, Error> {
    let dir = workspace().join("crds");
    let read = |plural: &str| {
        let path: PathBuf = dir.join(format!("usher.dev_{plural}.yaml"));
        fs::read_to_string(&path).map_err(io(format!("read {}", path.display())))
    };
    let kinds = ["platformusers", "platformgroups", "providercredentials"];
    Ok(kinds.map(read).into_iter().collect::<Result<Vec<_>, _>>()?.join("\n---\n"))
}

fn request(path: &str) -> http::Request<Vec<u8>> {
    let mut request = http::Request::new(Vec::new());
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    request
}

fn pem_to_der(pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let parsed = pem::parse_many(pem).map_err(|error| Error::Config(error.to_string()))?;
    Ok(parsed.into_iter().map(pem::Pem::into_contents).collect())
}

/// Three ports that are free now.
fn free_ports() -> Result<[u16; 3], Error> {
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(io("find a free port"));
    let listeners = [bind()?, bind()?, bind()?];
    let port =
        |listener: &TcpListener| listener.local_addr().map(|address| address.port()).map_err(io("find a free port"));
    Ok([port(&listeners[0])?, port(&listeners[1])?, port(&listeners[2])?])
}

fn start_etcd(assets: &Assets, dir: &Path, client: u16, peer: u16) -> Result<Guarded, Error> {
    let arguments = [
        format!("--data-dir={}", dir.join("etcd").display()),
        "--unsafe-no-fsync".into(),
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
        "--log-level=warn".into(),
    ];
    Guarded::start("etcd", &assets.etcd, &arguments, dir)
}

fn start_api_server(assets: &Assets, dir: &Path, etcd: u16, port: u16) -> Result<Guarded, Error> {
    let key = dir.join("service-accounts.key");
    let pair = rcgen::KeyPair::generate().map_err(|error| Error::Config(error.to_string()))?;
    fs::write(&key, pair.serialize_pem()).map_err(io("write a key"))?;
    let public = dir.join("service-accounts.pub");
    fs::write(&public, pair.public_key_pem()).map_err(io("write a key"))?;
    let tokens = dir.join("tokens.csv");
    fs::write(&tokens, format!("{ADMIN_TOKEN},admin,admin,system:masters\n")).map_err(io("write tokens"))?;
    let arguments = [
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        format!("--cert-dir={}", dir.join("certs").display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", public.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--authorization-mode=RBAC".into(),
        format!("--token-auth-file={}", tokens.display()),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        "--disable-admission-plugins=ServiceAccount".into(),
        "--max-requests-inflight=2000".into(),
        "--max-mutating-requests-inflight=1000".into(),
    ];
    Guarded::start("kube-apiserver", &assets.api_server, &arguments, dir)
}
