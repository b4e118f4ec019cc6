//! Finds the programs of the control plane in `KUBEBUILDER_ASSETS`, or under target/, where it has missing ones built. It starts
//! none of them.

use std::env;
use std::path::{Path, PathBuf};

use futures::future::try_join;

use super::{Error, build};

/// The Go modules of the programs, with their versions.
const GO_MOD: &str = include_str!("../../controlplane/go.mod");

/// A program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The database.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers.
    ControllerManager,
}

impl Program {
    /// Its usual file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
        }
    }

    /// The Go package that builds it.
    pub fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
        }
    }

    /// How long a build takes on two cores.
    pub fn build_time(self) -> &'static str {
        match self {
            Self::Etcd => "under a minute",
            Self::ApiServer => "about three minutes",
            // Short, because the API server's build has compiled most of it.
            Self::ControllerManager => "about a minute",
        }
    }

    /// Its version in go.mod, such as `v1.36.3`.
    pub fn version(self) -> &'static str {
        match self {
            Self::Etcd => required_version("go.etcd.io/etcd/server/v3"),
            Self::ApiServer | Self::ControllerManager => required_version("k8s.io/kubernetes"),
        }
    }
}

/// The version that go.mod requires of a module.
fn required_version(module: &str) -> &'static str {
    let version = |line: &'static str| line.trim().strip_prefix(module)?.strip_prefix(' ')?.split_whitespace().next();
    GO_MOD.lines().find_map(version).unwrap_or("unknown")
}

/// A folder that holds the programs.
#[derive(Debug)]
pub struct Assets {
    dir: PathBuf,
}

impl Assets {
    /// The folder `KUBEBUILDER_ASSETS`, or one under target/ in which missing programs are built.
    ///
    /// Errors: a program is missing; the message says what to install or set.
    pub async fn find_or_build(programs: &[Program]) -> Result<Self, Error> {
        if let Some(dir) = env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()) {
            return Self::given(PathBuf::from(dir), programs);
        }
        let versions = format!("kubernetes-{}-etcd-{}", Program::ApiServer.version(), Program::Etcd.version());
        let assets = Self { dir: workspace().join("target/controlplane").join(versions) };
        // etcd beside the others, which have most of their packages in common.
        let (etcd, kubernetes): (Vec<_>, Vec<_>) = programs.iter().partition(|program| **program == Program::Etcd);
        try_join(assets.build(&etcd), assets.build(&kubernetes)).await?;
        Ok(assets)
    }

    async fn build(&self, programs: &[&Program]) -> Result<(), Error> {
        for program in programs {
            build::build_once(**program, &self.path(**program)).await?;
        }
        Ok(())
    }

    fn given(dir: PathBuf, programs: &[Program]) -> Result<Self, Error> {
        let assets = Self { dir };
        match programs.iter().map(|program| assets.path(*program)).find(|path| !path.exists()) {
            Some(path) => Err(Error::Assets(format!(
                "KUBEBUILDER_ASSETS is set, but {} is not there: put it there, or unset KUBEBUILDER_ASSETS to build it with Go",
                path.display()
            ))),
            None => Ok(assets),
        }
    }

    /// The path of a program.
    pub fn path(&self, program: Program) -> PathBuf {
        self.dir.join(program.name())
    }
}

/// The root of this workspace; the current folder if the sources are no longer where they were compiled.
#[must_use]
pub fn workspace() -> PathBuf {
    match Path::new(env!("CARGO_MANIFEST_DIR")).parent() {
        Some(root) if root.exists() => root.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_go_mod() {
        for program in [Program::Etcd, Program::ApiServer, Program::ControllerManager] {
            let version = program.version();
            assert!(version.starts_with('v') && version.split('.').count() == 3, "{program:?}: {version}");
            assert!(GO_MOD.contains(program.package()), "{program:?} is a tool of go.mod");
        }
    }

    #[test]
    fn a_given_folder_without_a_program_is_an_error_that_names_it_and_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("etcd"), "").unwrap();
        let needed = [Program::Etcd, Program::ApiServer];
        let said = Assets::given(dir.path().to_path_buf(), &needed).unwrap_err().to_string();
        assert!(said.contains("kube-apiserver is not there") && said.contains("unset KUBEBUILDER_ASSETS"), "{said}");
    }
}
