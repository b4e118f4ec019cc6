//! Where etcd and kube-apiserver come from: `KUBEBUILDER_ASSETS`, or built once from ordinary Go modules; nothing is started here.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::{Error, io};

/// Version of Kubernetes in sandbox/controlplane/go.mod, stamped into the API server.
const VERSION: &str = "1.36.3";
/// How often a long build says that it goes on.
const PROGRESS: Duration = Duration::from_secs(15);

/// Paths of the binaries.
pub struct Assets {
    /// etcd
    pub etcd: PathBuf,
    /// kube-apiserver
    pub api_server: PathBuf,
    /// kube-controller-manager, if it was asked for.
    pub controller_manager: PathBuf,
}

/// The root of this workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

impl Assets {
    /// The binaries of `KUBEBUILDER_ASSETS`, or those built under target/, building what is missing.
    ///
    /// Errors: a sentence that says what to install or set.
    pub async fn find_or_build(controllers: bool) -> Result<Self, Error> {
        if let Some(dir) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
            return Self::given(&dir, controllers);
        }
        let dir = workspace().join("target/controlplane").join(format!("v{VERSION}"));
        let assets = Self::in_dir(&dir);
        let programs = [
            (&assets.etcd, "go.etcd.io/etcd/server/v3", "under a minute", true),
            (&assets.api_server, "k8s.io/kubernetes/cmd/kube-apiserver", "about three minutes", true),
            (
                &assets.controller_manager,
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                "about a minute",
                controllers,
            ),
        ];
        for (path, package, time, needed) in programs {
            if needed && !path.exists() {
                build_once(&dir, path, package, time).await?;
            }
        }
        Ok(assets)
    }

    fn in_dir(dir: &Path) -> Self {
        Self {
            etcd: dir.join("etcd"),
            api_server: dir.join("kube-apiserver"),
            controller_manager: dir.join("kube-controller-manager"),
        }
    }

    fn given(dir: &Path, controllers: bool) -> Result<Self, Error> {
        let assets = Self::in_dir(dir);
        let needed = [(&assets.etcd, true), (&assets.api_server, true), (&assets.controller_manager, controllers)];
        match needed.iter().find(|(path, needed)| *needed && !path.exists()) {
            Some((path, _)) => Err(Error::Assets(format!(
                "KUBEBUILDER_ASSETS is set, but {} is not there: put it there, or unset KUBEBUILDER_ASSETS to build it with Go",
                path.display()
            ))),
            None => Ok(assets),
        }
    }
}

/// Builds one program unless another process does so first.
async fn build_once(dir: &Path, path: &Path, package: &str, time: &str) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(io("make target/controlplane"))?;
    let lock = File::create(dir.join("lock")).map_err(io("make a lock"))?;
    let waiting = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let lock = waiting.await.map_err(|error| Error::Assets(error.to_string()))?.map_err(io("take the lock"))?;
    if !path.exists() {
        build(path, package, time).await?;
    }
    drop(lock);
    Ok(())
}

async fn build(path: &Path, package: &str, time: &str) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    say(&format!("building {name} with Go ({time} on two cores, once; then cached under target/)"));
    let version = "k8s.io/component-base/version";
    let flags = format!("-s -w -X {version}.gitVersion=v{VERSION} -X {version}.gitMajor=1 -X {version}.gitMinor=36");
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-ldflags", &flags, "-o"]).arg(&unfinished).arg(package);
    go.env("CGO_ENABLED", "0").current_dir(workspace().join("sandbox/controlplane"));
    go.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let begun = Instant::now();
    let running = go.spawn().map_err(|_| {
        Error::Assets(
            "no Go and no control plane: install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver"
                .into(),
        )
    })?;
    let output = async { running.wait_with_output().await.map_err(io("wait for go build")) };
    tokio::pin!(output);
    let output = loop {
        tokio::select! {
            output = &mut output => break output?,
            () = tokio::time::sleep(PROGRESS) => say(&format!("still building {name}: {} s", begun.elapsed().as_secs())),
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Assets(format!("go build {package} failed:\n{said}")));
    }
    say(&format!("built {name} in {} s", begun.elapsed().as_secs()));
    fs::rename(&unfinished, path).map_err(io(format!("move {name} into place")))
}

/// Progress goes to standard error: a person waits.
#[expect(clippy::print_stderr, reason = "progress of minutes that a person waits for")]
fn say(line: &str) {
    eprintln!("control plane: {line}");
}
