//! The programs' arguments: loopback only, and fast rather than durable. It does not check that they become ready.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::Error;
use super::access::{ADMIN_TOKEN, Access};
use super::assets::{Assets, Program};
use super::error::io;
use super::guarded::Guarded;

/// Ports of one control plane.
pub struct Ports {
    /// etcd's for clients.
    pub etcd: u16,
    /// etcd's for other members; there are none.
    pub peer: u16,
    /// The API server's.
    pub secure: u16,
}

impl Ports {
    /// Three ports that are free now.
    pub fn free() -> Result<Self, Error> {
        let bind = || TcpListener::bind("127.0.0.1:0").map_err(io("find a free port"));
        let port = |listener: &TcpListener| listener.local_addr().map(|it| it.port()).map_err(io("find a free port"));
        let (etcd, peer, secure) = (bind()?, bind()?, bind()?);
        Ok(Self { etcd: port(&etcd)?, peer: port(&peer)?, secure: port(&secure)? })
    }
}

/// Starts etcd. It never waits for the disk, because no data has to survive a crash.
pub fn start_etcd(assets: &Assets, dir: &Path, ports: &Ports) -> Result<Guarded, Error> {
    let (client, peer) = (format!("http://127.0.0.1:{}", ports.etcd), format!("http://127.0.0.1:{}", ports.peer));
    let arguments = [
        format!("--data-dir={}", dir.join("etcd").display()),
        "--unsafe-no-fsync".into(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".into(),
    ];
    start(Program::Etcd, assets, &arguments, dir)
}

/// Starts the API server with RBAC and one administrator; it makes its certificate in `<dir>/certs`.
pub fn start_api_server(assets: &Assets, dir: &Path, ports: &Ports) -> Result<Guarded, Error> {
    let key = dir.join("service-accounts.key");
    let pair = rcgen::KeyPair::generate().map_err(|error| Error::Config(error.to_string()))?;
    fs::write(&key, pair.serialize_pem()).map_err(io("write a key"))?;
    let public = dir.join("service-accounts.pub");
    fs::write(&public, pair.public_key_pem()).map_err(io("write a key"))?;
    let tokens = dir.join("tokens.csv");
    fs::write(&tokens, format!("{ADMIN_TOKEN},admin,admin,system:masters\n")).map_err(io("write tokens"))?;
    let arguments = [
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
        format!("--secure-port={}", ports.secure),
        "--bind-address=127.0.0.1".into(),
        format!("--cert-dir={}", dir.join("certs").display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", public.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--authorization-mode=RBAC".into(),
        format!("--token-auth-file={}", tokens.display()),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        // Disabled because it needs the default ServiceAccount of every namespace, which only a controller creates.
        "--disable-admission-plugins=ServiceAccount".into(),
        // Many tests share one server, so none should queue behind another.
        "--max-requests-inflight=2000".into(),
        "--max-mutating-requests-inflight=1000".into(),
    ];
    start(Program::ApiServer, assets, &arguments, dir)
}

/// Starts the controllers that remove a deleted namespace and its objects.
pub fn start_controllers(assets: &Assets, dir: &Path, access: &Access) -> Result<Guarded, Error> {
    let kubeconfig = dir.join("controllers.kubeconfig");
    access.write_kubeconfig(&kubeconfig, ADMIN_TOKEN)?;
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        "--controllers=namespace-controller,garbage-collector-controller".into(),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
    ];
    start(Program::ControllerManager, assets, &arguments, dir)
}

fn start(program: Program, assets: &Assets, arguments: &[String], dir: &Path) -> Result<Guarded, Error> {
    Guarded::start(program.name(), &assets.path(program), arguments, dir)
}
