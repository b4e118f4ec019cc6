//! Tests of the control plane: real permissions, real namespaces, and no process left behind.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use usher::api::PlatformUser;

use super::{ControlPlane, Options, apply, client_from, crds, deploy, documents};

/// Set in the process that the test kills.
const VICTIM: &str = "USHER_SANDBOX_VICTIM";

fn status(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

#[tokio::test]
async fn the_api_server_takes_all_of_deploy_and_grants_exactly_its_permissions() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let admin = plane.client().unwrap();
    apply(&admin, &crds().unwrap()).await.unwrap();
    apply(&admin, &deploy().unwrap()).await.unwrap();
    apply(&admin, &deploy().unwrap()).await.expect("applying twice is no conflict");
    its_pods_keep_to_the_restricted_standard(&admin).await;

    let operator = plane.service_account_client("usher-system", "usher").await.unwrap();
    Api::<Secret>::all(operator.clone()).list_metadata(&ListParams::default()).await.expect("may watch Secrets");
    let configs: Api<ConfigMap> = Api::default_namespaced(operator.clone());
    assert_eq!(status(&configs.list(&ListParams::default()).await.unwrap_err()), 403);
    let secrets: Api<Secret> = Api::namespaced(operator, "usher-system");
    assert_eq!(status(&secrets.delete("any", &DeleteParams::default()).await.unwrap_err()), 403);
    let stranger = Client::try_from(plane.config("no-token").unwrap()).unwrap();
    assert_eq!(status(&stranger.apiserver_version().await.unwrap_err()), 401);

    let kubeconfig = plane.dir().join("kubeconfig");
    plane.write_kubeconfig(&kubeconfig, plane.admin_token()).unwrap();
    let version = client_from(&kubeconfig).await.unwrap().apiserver_version().await.unwrap();
    assert_eq!(version.major, "1");

    let dir = plane.dir().to_path_buf();
    assert!(!processes_of(&dir).is_empty());
    drop(plane);
    assert_eq!((processes_of(&dir), dir.exists()), (Vec::new(), false));
}

/// Tries to create a Pod of the Deployment, because Pod Security checks it only when the controller creates it.
async fn its_pods_keep_to_the_restricted_standard(admin: &Client) {
    let all = documents(&deploy().unwrap()).unwrap();
    let deployment = all.iter().find(|document| document["kind"] == "Deployment").unwrap();
    let mut pod: Pod = serde_json::from_value(deployment["spec"]["template"].clone()).unwrap();
    pod.metadata.name = Some("usher".into());
    let pods: Api<Pod> = Api::namespaced(admin.clone(), "usher-system");
    let try_only = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&try_only, &pod).await.expect("admitted");
    pod.spec.as_mut().unwrap().containers[0].security_context = None;
    assert_eq!(status(&pods.create(&try_only, &pod).await.unwrap_err()), 403, "the namespace enforces the standard");
}

#[tokio::test]
async fn a_control_plane_that_runs_is_used_again_without_objects_of_earlier_runs() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let (admin, kubeconfig) = (plane.client().unwrap(), plane.dir().join("kubeconfig"));
    plane.write_kubeconfig(&kubeconfig, plane.admin_token()).unwrap();
    drop(ControlPlane::reuse(&kubeconfig).await.expect("before the kinds are there"));
    apply(&admin, &crds().unwrap()).await.unwrap();
    let user = "{apiVersion: usher.dev/v1alpha1, kind: PlatformUser, metadata: {name: ada, namespace: default, \
        finalizers: [usher.dev/finalizer]}, spec: {credentialRef: {name: main}, email: ada@example.com}}";
    apply(&admin, user).await.unwrap();
    let again = ControlPlane::reuse(&kubeconfig).await.unwrap();
    let users: Api<PlatformUser> = Api::all(again.client().unwrap());
    assert!(users.list(&ListParams::default()).await.unwrap().items.is_empty());
    let second = ControlPlane::reuse(&kubeconfig).await.err().expect("one test run at a time").to_string();
    assert!(second.contains("another test run uses the control plane"), "{second}");
    drop(again);
    admin.apiserver_version().await.expect("it goes on");
}

/// Builds kube-controller-manager, which takes minutes: run with `--ignored` to test the deletion of namespaces.
#[tokio::test]
#[ignore = "builds kube-controller-manager"]
async fn with_controllers_a_deleted_namespace_is_removed() {
    let plane = ControlPlane::start(Options { controllers: true }).await.unwrap();
    let admin = plane.client().unwrap();
    apply(&admin, "{apiVersion: v1, kind: Namespace, metadata: {name: short-lived}}").await.unwrap();
    let inside = "{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: short-lived}}";
    apply(&admin, inside).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(admin);
    namespaces.delete("short-lived", &DeleteParams::default()).await.unwrap();
    let begun = Instant::now();
    while namespaces.get_opt("short-lived").await.unwrap().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the namespace stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_process() {
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["controlplane::tests::victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let neighbour = ControlPlane::start(Options::default()).await.expect("two start at the same time");
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let dir = lines.map(Result::unwrap).find_map(|line| Some(PathBuf::from(line.split_once("folder: ")?.1))).unwrap();
    let programs = processes_of(&dir).into_iter().filter(|line| !line.starts_with("sh "));
    assert_eq!(programs.count(), 2, "etcd and kube-apiserver");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let begun = Instant::now();
    while dir.exists() || !processes_of(&dir).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?} stay", processes_of(&dir));
        std::thread::sleep(Duration::from_millis(20));
    }
    neighbour.client().unwrap().apiserver_version().await.expect("the other control plane still answers");
}

/// Not a test, but the process that the test above kills. It ends by itself when that test has ended.
#[tokio::test]
#[ignore = "run by nothing_outlives_a_killed_process"]
async fn victim() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    println!("\nfolder: {}", plane.dir().display());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Processes whose command line names the folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let folder = dir.display().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&folder)).collect()
}
