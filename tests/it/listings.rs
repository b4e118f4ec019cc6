//! Servers that page without a fixed order: usher asks for one, and goes on where there is none.

use serde_json::json;
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::{PASSWORD, sample};
use crate::scene::{Scene, merge};

/// A vendor without a fixed order, with more users than fit on a page.
async fn unordered(vendor: Vendor, crowd: usize) -> Scene {
    let mut options = Options { unordered: true, ..Options::default() };
    options.amani.page_size = Some(100);
    options.ozmap.largest_page = 100;
    let scene = Scene::without_credential(vendor, options).await;
    for number in 0..crowd {
        let email = format!("crowd{number}@example.com");
        scene.vendor.put_user(json!({"email": email, "username": email}));
    }
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    scene
}

#[rstest::rstest]
#[case::amani(Vendor::Amani, "ordering", "id")]
#[case::ozmap(Vendor::Ozmap, "sort", r#"[{"direction":1,"property":"_id"}]"#)]
#[tokio::test]
async fn a_fixed_order_is_asked_for_where_there_is_one(
    #[case] vendor: Vendor,
    #[case] parameter: &str,
    #[case] order: &str,
) {
    let scene = unordered(vendor, 250).await;
    scene.user("ada", sample(vendor).user).await;
    scene.user_ready("ada").await;
    scene.sweep("1").await;
    scene.credential_says("Synced").await;
    let calls = scene.vendor.calls();
    let pages: Vec<_> = calls.iter().filter(|call| call.operation == "users.list").collect();
    assert!(pages.len() >= 3 && pages.iter().all(|call| call.query.get(parameter).is_some_and(|asked| asked == order)));
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_refuses_to_order_is_listed_as_it_is() {
    let scene = Scene::without_credential(Vendor::Ozmap, Options::default()).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    for operation in ["roles.list", "projects.list", "users.list"] {
        scene.vendor.fault(Fault::once(operation, FaultKind::Status(400, None)));
    }
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    scene.user("ada", sample(Vendor::Ozmap).user).await;
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn pages_that_never_agree_stop_neither_new_users_nor_edits() {
    let scene = unordered(Vendor::Pegasus, 1200).await;
    let spec = sample(Vendor::Pegasus).user;
    scene.user("ada", spec.clone()).await;
    scene.credential_says("ProviderUnavailable").await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
    let mut edited = spec;
    merge(&mut edited, json!({"phone": "2"}));
    scene.user("ada", edited).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
    scene.credential_says("ProviderUnavailable").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn a_person_who_is_there_is_found_although_pages_never_agree() {
    let scene = unordered(Vendor::Pegasus, 1200).await;
    scene.credential_says("Synced").await;
    scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
    scene.user("ada", sample(Vendor::Pegasus).user).await;
    scene.user_says("ada", "AlreadyExists").await;
    assert_eq!(scene.vendor.writes(), []);
}
