//! What is printed when a command fails: one line, each cause once, no Debug text.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use usher::runtime::failure::describe;
use usher_sandbox::demo::{self, Args};

use crate::world::world;

/// Exit code and standard error of `usher` with these arguments and this kubeconfig.
fn usher(kubeconfig: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
    let output = command.args(arguments).env("KUBECONFIG", kubeconfig).env("USHER_LOG", "error").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Fails unless `line` is one line in which no cause is there twice, and none is Debug text.
fn printed_once(line: &str) {
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    let parts: Vec<&str> = line.trim_end().split(": ").collect();
    let different: BTreeSet<&str> = parts.iter().copied().collect();
    assert_eq!(parts.len(), different.len(), "{line}");
    for debug in ["Status {", "Some(", "ApiError", "Error {"] {
        assert!(!line.contains(debug), "{line}");
    }
}

#[tokio::test]
async fn a_refused_api_call_is_printed_once() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    world().plane.write_kubeconfig(&kubeconfig, "no-token").unwrap();
    let (code, line) = usher(&kubeconfig, &["plan", "--all"]);
    assert!(code == Some(1) && line.starts_with("usher: failed to list ") && line.contains("Unauthorized"), "{line}");
    printed_once(&line);
    let demo = Args { kubeconfig: Some(kubeconfig), ..Args::default() };
    let line = describe(&*demo::run(demo, &mut Vec::new()).await.unwrap_err());
    assert!(line.contains("Unauthorized"), "{line}");
    printed_once(&line);
}

/// A kubeconfig whose server does not exist.
const UNREACHABLE: &str = "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], \
    users: [{name: a, user: {token: fake}}], clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]}";

#[tokio::test]
async fn without_a_cluster_the_error_is_printed_once() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, UNREACHABLE).unwrap();
    let (code, line) = usher(&kubeconfig, &["plan", "--all"]);
    assert!(code == Some(1) && line.contains("Connection refused"), "{line}");
    printed_once(&line);
    let demo = Args { kubeconfig: Some(kubeconfig), ..Args::default() };
    let line = describe(&*demo::run(demo, &mut Vec::new()).await.unwrap_err());
    assert!(line.contains("Connection refused"), "{line}");
    printed_once(&line);
}

#[tokio::test]
async fn a_missing_file_is_printed_once() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let name = nowhere.to_str().unwrap();
    for arguments in [
        &["crds", "--check", name][..],
        &["plan", "-f", name],
        &["plan", "--all"],
        &["run", "--admin-address=127.0.0.1:0"],
    ] {
        let (code, line) = usher(&nowhere, arguments);
        assert!(code == Some(1) && line.contains("No such file"), "{line}");
        printed_once(&line);
    }
    let demo = Args { kubeconfig: Some(nowhere), ..Args::default() };
    let line = describe(&*demo::run(demo, &mut Vec::new()).await.unwrap_err());
    assert!(line.contains("No such file"), "{line}");
    printed_once(&line);
}

#[test]
fn an_occupied_admin_address_is_printed_once() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let (code, line) = usher(Path::new("unused"), &["run", "--admin-address", &address]);
    let expected = format!(
        "usher: failed to listen on {address}: choose another --admin-address: Address already in use (os error 98)\n"
    );
    assert_eq!((code, line), (Some(1), expected));
}

#[test]
fn help_is_printed_to_standard_output() {
    let output = Command::new(env!("CARGO_BIN_EXE_usher")).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && help.contains("--admin-address"), "{help}");
}
