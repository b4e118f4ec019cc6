//! Builds a program of the control plane once, from ordinary Go modules; the caller decides which and where.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::Error;
use super::assets::{Program, workspace};
use super::error::io;

/// Pause between two progress lines of a long build.
const PROGRESS: Duration = Duration::from_secs(15);
/// The message when there is neither Go nor a folder of programs.
const NO_GO: &str = "no Go to build the control plane: install Go 1.26 or newer, \
    or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver";

/// Builds `program` to `path` unless it is there; a second process that wants the same waits for the first.
///
/// Errors: Go is missing, or its build failed; the message holds Go's output.
pub async fn build_once(program: Program, path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(io(format!("make {}", folder.display())))?;
    let lock = lock(&path.with_extension("lock"), program).await?;
    if !path.exists() {
        build(program, path).await?;
    }
    drop(lock);
    Ok(())
}

/// Locks builds of a program. Closing the file releases the lock, so the end of this process does too.
async fn lock(path: &Path, program: Program) -> Result<File, Error> {
    let file = File::create(path).map_err(io(format!("make {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            say(&format!("waiting for another process that builds {}", program.name()));
        }
        Err(TryLockError::Error(error)) => return Err(io("take the lock of builds")(error)),
    }
    let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    waiting.await.map_err(|error| Error::Assets(error.to_string()))?.map_err(io("take the lock of builds"))
}

async fn build(program: Program, path: &Path) -> Result<(), Error> {
    let (name, version) = (program.name(), program.version());
    say(&format!("building {name} {version} with Go, {}, once; it stays under target/", program.build_time()));
    let begun = Instant::now();
    // A file name of this process, because the compiler of a killed process may still write to its file.
    let unfinished = path.with_extension(format!("unfinished-{}", std::process::id()));
    let output = run(go_build(program, &unfinished), name, begun).await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Assets(format!("go build {} failed:\n{}", program.package(), said.trim_end())));
    }
    fs::rename(&unfinished, path).map_err(io(format!("move {name} into place")))?;
    say(&format!("built {name} in {} s", begun.elapsed().as_secs()));
    Ok(())
}

fn go_build(program: Program, output: &Path) -> Command {
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-ldflags", &linker_flags(program), "-o"]).arg(output).arg(program.package());
    go.env("CGO_ENABLED", "0").env("GOWORK", "off").current_dir(module());
    go.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    go
}

/// The folder of the Go module that requires the programs.
fn module() -> PathBuf {
    workspace().join("sandbox/controlplane")
}

/// Sets the version of Kubernetes programs, because they call themselves v0.0.0 otherwise.
fn linker_flags(program: Program) -> String {
    const STAMP: &str = "k8s.io/component-base/version";
    let version = program.version();
    let mut numbers = version.trim_start_matches('v').split('.');
    match (program, numbers.next(), numbers.next()) {
        (Program::ApiServer | Program::ControllerManager, Some(major), Some(minor)) => {
            format!("-s -w -X {STAMP}.gitVersion={version} -X {STAMP}.gitMajor={major} -X {STAMP}.gitMinor={minor}")
        }
        _ => "-s -w".into(),
    }
}

/// Waits for the compiler and prints progress now and then.
async fn run(mut go: Command, name: &str, begun: Instant) -> Result<Output, Error> {
    let running = go.spawn().map_err(|error| match error.kind() {
        // A missing folder is not reported as a missing compiler.
        ErrorKind::NotFound if module().exists() => Error::Assets(NO_GO.into()),
        _ => io(format!("run go in {}", module().display()))(error),
    })?;
    let output = running.wait_with_output();
    tokio::pin!(output);
    loop {
        match tokio::time::timeout(PROGRESS, &mut output).await {
            Ok(output) => return output.map_err(io("wait for go build")),
            Err(_) => say(&format!("still building {name}: {} s", begun.elapsed().as_secs())),
        }
    }
}

/// Prints progress to a person who waits for minutes. It bypasses the print macros, because a test run captures their output.
fn say(line: &str) {
    // Ignored because it fails only if standard error is closed.
    let _ = writeln!(std::io::stderr(), "control plane: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_gets_its_version_and_etcd_does_not() {
        let flags = linker_flags(Program::ApiServer);
        let version = Program::ApiServer.version();
        assert!(flags.contains(&format!("gitVersion={version} ")) && flags.contains("gitMajor=1 "), "{flags}");
        assert_eq!(linker_flags(Program::Etcd), "-s -w");
    }

    #[tokio::test]
    async fn without_go_one_sentence_says_what_to_install_or_set() {
        let said = run(Command::new("no-such-go"), "etcd", Instant::now()).await.unwrap_err().to_string();
        assert!(said.contains("install Go") && said.contains("KUBEBUILDER_ASSETS"), "{said}");
    }

    #[tokio::test]
    async fn an_existing_program_is_not_built_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd");
        fs::write(&path, "there").unwrap();
        build_once(Program::Etcd, &path).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "there");
    }

    #[tokio::test]
    #[ignore = "builds etcd, about a minute"]
    async fn two_callers_build_the_same_program_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd");
        let (first, second) = tokio::join!(build_once(Program::Etcd, &path), build_once(Program::Etcd, &path));
        first.unwrap();
        second.unwrap();
        let version = std::process::Command::new(&path).arg("--version").output().unwrap();
        assert!(String::from_utf8_lossy(&version.stdout).contains(Program::Etcd.version().trim_start_matches('v')));
    }
}
