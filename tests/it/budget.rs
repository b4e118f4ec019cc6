//! The removal budget and accounts that the last listing lacks: what is gone costs nothing, and what is there needs budget.

use rstest::rstest;
use serde_json::json;
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::scene::{PATIENCE, Scene};

const NAMES: [&str; 5] = ["ada", "bob", "eve", "joe", "kim"];

fn email(name: &str) -> String {
    format!("{name}@example.com")
}

/// Five paused users with accounts, and room for two removals.
async fn five_users_and_a_budget_of_two() -> Scene {
    let removals = json!({"removals": {"after": "0s", "atMost": 2, "per": "1h"}});
    let scene = Scene::with(Vendor::Pegasus, Options::default(), removals).await;
    for name in NAMES {
        scene.user(name, json!({"email": email(name), "provider": {"pegasus": {"sendEmail": true}}})).await;
    }
    for name in NAMES {
        scene.user_ready(name).await;
        scene.annotate::<PlatformUser>(name, "usher.dev/paused", "true").await;
    }
    scene.vendor.clear_calls();
    scene
}

/// Deletes all users such that every deletion is seen before the first removal.
async fn delete_all_at_once(scene: &Scene) {
    for name in NAMES {
        scene.delete::<PlatformUser>(name).await;
    }
    for name in NAMES {
        scene.user_says(name, "DeletionBlocked").await;
    }
    for name in NAMES {
        scene.annotate::<PlatformUser>(name, "usher.dev/paused", "false").await;
    }
}

#[tokio::test]
async fn accounts_that_are_gone_already_need_no_budget() {
    let scene = five_users_and_a_budget_of_two().await;
    for name in NAMES {
        assert!(scene.vendor.remove_user(&email(name)));
    }
    scene.sweep("1").await;
    delete_all_at_once(&scene).await;
    for name in NAMES {
        scene.until_gone::<PlatformUser>(name).await;
        let events = scene.events(name).await;
        assert!(!events.iter().any(|event| event == "RemovalHeld"), "{name}: {events:?}");
    }
    assert_eq!(scene.vendor.count("users.delete"), 0);
    let counts_nothing = |credential: &ProviderCredential| {
        let status = credential.status.as_ref().unwrap();
        status.held_removals.is_none() && status.recent_removals.iter().flatten().count() == 0
    };
    scene.until("main", counts_nothing).await;
}

#[rstest]
#[case::the_whole_batch_if_they_are_listed_again(true, 0)]
#[case::each_one_if_they_are_there_but_not_listed(false, 2)]
#[tokio::test]
async fn accounts_that_are_there_need_budget(#[case] are_listed: bool, #[case] removed: usize) {
    let scene = five_users_and_a_budget_of_two().await;
    scene.vendor.fault(Fault::always("users.list", FaultKind::EmptyList));
    scene.sweep("none is listed").await;
    if are_listed {
        scene.vendor.heal();
        scene.sweep("all are listed").await;
    }
    delete_all_at_once(&scene).await;
    let is_decided = |user: Option<PlatformUser>| {
        let user = user.map(|user| serde_json::to_value(user.status).unwrap());
        user.is_none_or(|status| status["conditions"].to_string().contains("RemovalHeld"))
    };
    for name in NAMES {
        let deciding = async {
            while !is_decided(scene.api::<PlatformUser>().get_opt(name).await.unwrap()) {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, deciding).await.is_ok(), "{name}");
    }
    assert_eq!(scene.vendor.count("users.delete"), removed);
    let left = NAMES.iter().filter(|name| scene.vendor.user(&email(name)).is_some()).count();
    assert_eq!(left, NAMES.len() - removed);
}
