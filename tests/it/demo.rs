//! The demo itself: a newcomer's first contact must hold, and must do no harm on a cluster that is not ours.

use kube::Api;
use kube::api::ListParams;
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
