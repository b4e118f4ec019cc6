//! A real etcd and kube-apiserver for tests, the demo and the benchmark; it imitates nothing and leaves no process running.

mod access;
mod apply;
mod assets;
mod build;
mod error;
mod guarded;
mod manifests;
mod processes;
mod reuse;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use access::client_from;
pub use apply::{apply, documents};
pub use assets::workspace;
pub use error::Error;
pub use manifests::{crds, deploy, operator_manifests, tenancy};
pub use reuse::clear;

use access::Access;
use assets::{Assets, Program};
use error::io;
use guarded::Guarded;
use processes::Ports;

/// Longest time until the API server answers.
const READY: Duration = Duration::from_mins(1);
/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// Programs to start beside etcd and kube-apiserver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also kube-controller-manager with the namespace controller and the garbage collector.
    pub controllers: bool,
}

/// A running control plane. It ends when it is dropped or when this process ends.
pub struct ControlPlane {
    access: Access,
    // None if another process runs it.
    _processes: Option<Processes>,
    folder: TempDir,
    // Held while another process's control plane is used.
    _lock: Option<File>,
}

/// Dropped in this order, so that each program ends before the store that it writes to.
struct Processes {
    controllers: Option<Guarded>,
    api_server: Guarded,
    etcd: Guarded,
}

impl ControlPlane {
    /// Starts one in a fresh folder on free ports.
    ///
    /// Errors: no binaries and no Go to build them, or a process that does not become ready.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let needed = [Program::Etcd, Program::ApiServer, Program::ControllerManager];
        let needed = if options.controllers { &needed[..] } else { &needed[..2] };
        let assets = Assets::find_or_build(needed).await?;
        match Self::launch(&assets, options).await {
            // Another process may take a port between the search for free ports and their use.
            Err(Error::Ended { .. }) => Self::launch(&assets, options).await,
            other => other,
        }
    }

    async fn launch(assets: &Assets, options: Options) -> Result<Self, Error> {
        let dir = folder()?;
        let ports = Ports::free()?;
        let access = Access {
            url: format!("https://127.0.0.1:{}", ports.secure),
            certificate: dir.path().join("certs/apiserver.crt"),
        };
        let mut processes = Processes {
            controllers: None,
            etcd: processes::start_etcd(assets, dir.path(), &ports)?,
            api_server: processes::start_api_server(assets, dir.path(), &ports)?,
        };
        processes.wait_until_ready(&access).await?;
        if options.controllers {
            processes.controllers = Some(processes::start_controllers(assets, dir.path(), &access)?);
        }
        Ok(Self { access, _processes: Some(processes), folder: dir, _lock: None })
    }

    /// Its folder, for kubeconfigs and the like; removed with it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }
}

/// A fresh folder under target/.
fn folder() -> Result<TempDir, Error> {
    let base = workspace().join("target/tmp");
    fs::create_dir_all(&base).map_err(io("make target/tmp"))?;
    tempfile::Builder::new().prefix("controlplane-").tempdir_in(base).map_err(io("make a folder"))
}

impl Processes {
    async fn wait_until_ready(&mut self, access: &Access) -> Result<(), Error> {
        let begun = Instant::now();
        while begun.elapsed() < READY {
            // Checked first, because another control plane may answer on a port that this one did not get.
            for (name, process) in [("etcd", &mut self.etcd), ("kube-apiserver", &mut self.api_server)] {
                if process.has_ended() {
                    return Err(Error::Ended { name, log: process.log() });
                }
            }
            if access.is_ready().await {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::NotReady { name: "kube-apiserver", log: self.api_server.log() })
    }
}
