//! The demo itself: a newcomer's first contact must hold, and must do no harm on a cluster that is not ours.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use tokio::process::Command;
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::controlplane::{ControlPlane, Options};
use usher_sandbox::demo::{self, Args};

/// How the story ended, and all that was told.
async fn told(args: Args) -> (Result<(), String>, String) {
    let mut told = Vec::new();
    let ended = demo::run(args, &mut told).await.map_err(|error| error.to_string());
    (ended, String::from_utf8(told).unwrap())
}

#[tokio::test]
async fn the_demo_tells_its_story_to_the_end() {
    let (ended, told) = told(Args::default()).await;
    assert_eq!(ended, Ok(()), "{told}");
    for words in [
        "All 22 are Ready",
        "pegasus       users: ada@example.com, charles@example.com; groups: Fleet North, Fleet South",
        "amani         users: grace@example.com, margaret@example.com",
        "plaspy        users: dorothy@example.com, katherine@example.com; groups: Trucks",
        "industrility  users: hedy@example.com, stephanie@example.com",
        "ozmap         users: barbara@example.com, radia@example.com; groups: Coast",
        r#"Pegasus knows "+44 20 7946 0001""#,
        r#"Plaspy says she is "Dispatcher""#,
        "At OZmap no account of hers is left",
        "nothing is left running",
    ] {
        assert!(told.contains(words), "{words} is missing in\n{told}");
    }
}

#[tokio::test]
async fn an_existing_cluster_is_left_clean_and_one_in_use_is_left_alone() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let kubeconfig = plane.dir().join("kubeconfig");
    plane.write_kubeconfig(&kubeconfig, plane.admin_token()).unwrap();
    let args = || Args { kubeconfig: Some(kubeconfig.clone()), ..Args::default() };
    let (ended, first) = told(args()).await;
    assert_eq!(ended, Ok(()), "{first}");
    let client = plane.client().unwrap();
    assert!(Api::<PlatformUser>::all(client.clone()).list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(Api::<ProviderCredential>::all(client).list(&ListParams::default()).await.unwrap().items.is_empty());
    // Without a namespace controller the namespace never ends: to the demo it is one in use.
    let (ended, _) = told(args()).await;
    assert!(ended.unwrap_err().contains("has a namespace identity"));
}

/// Where a story is told that does not end.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Told {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The kubeconfig of a demo that keeps everything up.
    async fn kubeconfig(&self) -> String {
        loop {
            let text = self.text();
            if text.contains("/_control/state") {
                return text.lines().find_map(|line| line.strip_prefix("export KUBECONFIG=")).unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What a documented command says in the demo's cluster, and its exit code; `None` where the program is not installed.
async fn said(kubeconfig: &str, program: &str, arguments: &str, folder: &Path) -> Option<(i32, String)> {
    let mut command = Command::new(program);
    command.args(arguments.split(' ')).env("KUBECONFIG", kubeconfig).current_dir(folder);
    command.env("USHER_ALLOW_INSECURE_HTTP", "true");
    let output = command.output().await.ok()?;
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    Some((output.status.code().unwrap(), texts.concat()))
}

/// The commands of README.md that need a cluster in which the demo was told.
async fn commands_of_the_readme(kubeconfig: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("manifests")).unwrap();
    let eve = "{apiVersion: usher.dev/v1alpha1, kind: PlatformUser, metadata: {name: eve}, spec: \
        {credentialRef: {name: pegasus}, email: eve@example.com, provider: {pegasus: {sendEmail: true}}}}";
    std::fs::write(folder.path().join("manifests/eve.yaml"), eve).unwrap();
    let usher = env!("CARGO_BIN_EXE_usher");
    for (program, arguments, code) in [
        (usher, "plan --all", 0),
        (usher, "plan --all -n identity -o json", 0),
        (usher, "plan -f manifests/ -n identity", 2),
        ("kubectl", "get usher -A -o wide", 0),
        ("kubectl", "-n identity annotate puser ada usher.dev/paused=true", 0),
        ("kubectl", "-n identity annotate --overwrite puser ada usher.dev/reconcile-at=later", 0),
        ("kubectl", "explain platformuser.spec --recursive", 0),
    ] {
        if let Some((ended, text)) = said(kubeconfig, program, arguments, folder.path()).await {
            assert_eq!(ended, code, "{program} {arguments}: {text}");
        }
    }
}

#[tokio::test]
async fn what_the_demo_keeps_answers_the_commands_of_the_readme() {
    let told = Told::default();
    let mut out = told.clone();
    tokio::select! {
        ended = demo::run(Args { keep: true, ..Args::default() }, &mut out) => panic!("it ended: {ended:?}"),
        () = async { commands_of_the_readme(&told.kubeconfig().await).await } => {}
    }
}
