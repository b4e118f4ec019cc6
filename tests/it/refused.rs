//! Values that a vendor refuses, or accepts and does not keep: what takes access away is made all the same, and nothing is sent without end.

use rstest::rstest;
use serde_json::{Value, json};
use usher::api::PlatformUser;
use usher_sandbox::vendors::{Fault, FaultKind, Vendor};

use crate::contract::{message, sample};
use crate::scene::{Scene, merge};

const WEAK: &str = "Fake-Weak-1";

/// A vendor's user in a group, and the same user out of it and blocked, where the vendor can block.
fn person(vendor: Vendor, further: Value) -> Value {
    let mut spec = sample(vendor).user;
    merge(&mut spec, further);
    spec
}

fn out_of_everything(vendor: Vendor) -> Value {
    let mut gone = json!({"groups": []});
    if vendor != Vendor::Ozmap {
        merge(&mut gone, json!({"active": false}));
    }
    gone
}

/// Whether the vendor shows the user without groups, and blocked where it can block.
fn is_out(vendor: Vendor, user: &Value) -> bool {
    let groups = if vendor == Vendor::Ozmap { &user["projectGroups"] } else { &user["groups"] };
    let has_none = groups.as_array().is_none_or(Vec::is_empty) && user["group"].as_str().is_none_or(str::is_empty);
    let is_blocked = user["is_active"] == false || user["disabled"] == true;
    has_none && (is_blocked || vendor == Vendor::Ozmap)
}

/// Edits Ada, who is out in the end, and whose edit is refused for the rest: it is sent at most `more` times from then on.
async fn until_out(scene: &Scene, edit: Value, more: usize) {
    let vendor = scene.vendor.vendor();
    scene.user("ada", person(vendor, edit)).await;
    scene.vendor_until("ada out", |sim| is_out(vendor, &sim.user("ada@example.com").unwrap())).await;
    scene.user_says("ada", "Invalid").await;
    let before = scene.vendor.writes().len();
    for round in 0..2 {
        scene.sweep(&format!("later-{round}")).await;
    }
    scene.user_says("ada", "Invalid").await;
    assert!(scene.vendor.writes().len() <= before + more, "{:#?}", scene.vendor.writes());
}

async fn in_a_group(vendor: Vendor) -> Scene {
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": "Fake-Pass-1"})).await;
    scene.group("team", sample(vendor).group.0).await;
    let groups = json!({"groups": [{"groupRef": {"name": "team"}}]});
    scene.user("ada", person(vendor, groups)).await;
    scene.user_ready("ada").await;
    scene
}

fn refusal() -> FaultKind {
    FaultKind::Status(
        400,
        Some(json!({"password": ["This value is not accepted."], "error": "This value is not accepted."})),
    )
}

#[rstest]
#[case(Vendor::Pegasus)]
#[case(Vendor::Amani)]
#[case(Vendor::Plaspy)]
#[case(Vendor::Ozmap)]
#[tokio::test]
async fn a_refused_password_keeps_nobody_in(#[case] vendor: Vendor) {
    let scene = in_a_group(vendor).await;
    scene.vendor.fault(Fault::always("users.update", refusal()).with_body(WEAK));
    scene.secret("login", &json!({"password": WEAK})).await;
    scene.user_says("ada", "Invalid").await;
    let mut spec = out_of_everything(vendor);
    merge(&mut spec, json!({"firstName": "Augusta"}));
    scene.user("ada", person(vendor, spec)).await;
    scene.vendor_until("ada out", |sim| is_out(vendor, &sim.user("ada@example.com").unwrap())).await;
    scene.user_says("ada", "Invalid").await;

    // A value that was refused is sent again only once it changes.
    let tried = || scene.vendor.writes().iter().filter(|call| call.status == 400).count();
    let before = tried();
    for round in 0..3 {
        scene.sweep(&format!("again-{round}")).await;
    }
    scene.user_says("ada", "Invalid").await;
    assert_eq!(tried(), before, "{:#?}", scene.vendor.writes());
    scene.secret("login", &json!({"password": "Fake-Pass-2"})).await;
    scene.user_ready("ada").await;
}

#[rstest]
#[case(Vendor::Pegasus, "phone")]
#[case(Vendor::Amani, "phone")]
#[case(Vendor::Ozmap, "phone")]
#[case(Vendor::Plaspy, "description")]
#[tokio::test]
async fn a_refused_field_keeps_nobody_in(#[case] vendor: Vendor, #[case] field: &str) {
    let scene = in_a_group(vendor).await;
    scene.vendor.fault(Fault::always("users.update", refusal()).with_body("no such value"));
    let mut spec = out_of_everything(vendor);
    let refused = if vendor == Vendor::Plaspy {
        json!({"provider": {"plaspy": {field: "no such value"}}})
    } else {
        json!({field: "no such value"})
    };
    merge(&mut spec, refused);
    until_out(&scene, spec, 0).await;

    // A person can ask for another try.
    scene.vendor.heal();
    scene.compare_user("ada").await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()[field], "no such value");
}

/// The vendor refuses each body that has the words `refused`, which the edit adds to what it takes away.
#[rstest]
#[case(Vendor::Pegasus, json!({"provider": {"pegasus": {"scopes": {"billing": "w"}}}}), "billing")]
#[case(Vendor::Pegasus, json!({"provider": {"pegasus": {"roles": [977]}}}), "977")]
#[case(Vendor::Plaspy, json!({"provider": {"plaspy": {"deviceId": "977"}}}), "977")]
#[case(Vendor::Plaspy, json!({"provider": {"plaspy": {"expires": "2031-05-06T00:00:00Z"}}}), "2031-05")]
#[case(Vendor::Ozmap, json!({"provider": {"ozmap": {"resources": ["OZmap", "OZmob"]}}}), "OZmob")]
#[tokio::test]
async fn refused_access_keeps_nobody_in(#[case] vendor: Vendor, #[case] added: Value, #[case] refused: &str) {
    let scene = in_a_group(vendor).await;
    scene.vendor.fault(Fault::always("users.update", refusal()).with_body(refused));
    let mut spec = out_of_everything(vendor);
    merge(&mut spec, added);
    // What is added is another value once the rest of the edit is made, and sent by itself once.
    until_out(&scene, spec, 1).await;
}

#[tokio::test]
async fn a_refused_password_keeps_no_other_field_waiting() {
    let scene = in_a_group(Vendor::Pegasus).await;
    scene.vendor.fault(Fault::always("users.update", refusal()).with_body(WEAK));
    scene.secret("login", &json!({"password": WEAK})).await;
    scene.user_says("ada", "Invalid").await;
    let groups = json!({"groups": [{"groupRef": {"name": "team"}}], "phone": "22"});
    scene.user("ada", person(Vendor::Pegasus, groups)).await;
    scene.vendor_until("the phone number", |sim| sim.user("ada@example.com").unwrap()["phone"] == "22").await;
    scene.user_says("ada", "Invalid").await;
}

#[rstest]
#[case(Vendor::Pegasus, "username")]
#[case(Vendor::Amani, "email")]
#[case(Vendor::Plaspy, "email")]
#[case(Vendor::Ozmap, "email")]
#[tokio::test]
async fn a_new_address_that_is_accepted_and_not_made_is_said_and_costs_no_binding(
    #[case] vendor: Vendor,
    #[case] field: &str,
) {
    let scene = in_a_group(vendor).await;
    let username = if vendor == Vendor::Ozmap { json!({"username": "ada@example.com"}) } else { json!({}) };
    scene
        .vendor
        .fault(Fault::always("users.update", FaultKind::Rewritten(field.to_owned(), Some(json!("ada@example.com")))));
    let mut spec = json!({"email": "countess@example.com"});
    merge(&mut spec, username);
    scene.user("ada", person(vendor, spec)).await;
    scene.user_ready("ada").await;
    scene.sweep("1").await;
    let said = message(&scene.user_says("ada", "NotKept").await);
    assert!(said.contains("still shows ada@example.com") && said.contains("countess@example.com"), "{said}");
    let writes = scene.vendor.writes().len();
    for round in 2..5 {
        scene.sweep(&round.to_string()).await;
    }
    scene.user_says("ada", "NotKept").await;
    assert_eq!(scene.vendor.writes().len(), writes, "it is not sent without end: {:#?}", scene.vendor.writes());
    if vendor != Vendor::Amani {
        scene.delete::<PlatformUser>("ada").await;
        scene.until_gone::<PlatformUser>("ada").await;
        assert_eq!(scene.vendor.user("ada@example.com"), None);
    }
}

#[rstest]
#[case(Vendor::Pegasus, "phone", "+44 20 7946 0000", json!("+442079460000"))]
#[case(Vendor::Amani, "firstName", "Augusta Ada", json!("AUGUSTA-ADA"))]
#[case(Vendor::Ozmap, "phone", "+44 20 7946 0000", json!("442079460000"))]
#[case(Vendor::Plaspy, "displayName", "Ada King", json!("Ada-King"))]
#[tokio::test]
async fn a_value_that_is_kept_in_another_form_is_said_and_not_repaired_without_end(
    #[case] vendor: Vendor,
    #[case] spec_field: &str,
    #[case] wanted: &str,
    #[case] kept: Value,
) {
    let field = match spec_field {
        "firstName" => "first_name",
        "displayName" => "name",
        other => other,
    };
    let scene = in_a_group(vendor).await;
    scene.vendor.fault(Fault::always("users.update", FaultKind::Rewritten(field.to_owned(), Some(kept.clone()))));
    scene.user("ada", person(vendor, json!({spec_field: wanted}))).await;
    scene.user_ready("ada").await;
    for round in 0..3 {
        scene.sweep(&format!("first-{round}")).await;
    }
    let kept = kept.as_str().unwrap().to_owned();
    let says_so = move |user: &PlatformUser| message(user).contains(&kept);
    let ada = scene.until("ada", says_so).await;
    assert!(message(&ada).contains(wanted), "{}", message(&ada));
    let writes = scene.vendor.writes().len();
    for round in 0..5 {
        scene.sweep(&format!("then-{round}")).await;
    }
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.writes().len(), writes, "{:#?}", scene.vendor.writes());

    // A vendor that keeps it now is asked again when a person asks.
    scene.vendor.heal();
    scene.compare_user("ada").await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()[field], wanted);
}

#[tokio::test]
async fn a_block_that_the_vendor_ignores_is_no_success() {
    let scene = in_a_group(Vendor::Pegasus).await;
    scene.vendor.fault(Fault::always("users.update", FaultKind::Rewritten("is_active".into(), Some(json!(true)))));
    scene.user("ada", person(Vendor::Pegasus, json!({"active": false}))).await;
    scene.user_ready("ada").await;
    scene.sweep("1").await;
    let said = message(&scene.user_says("ada", "NotKept").await);
    assert!(said.contains("is_active") && said.contains("true"), "{said}");
}

#[tokio::test]
async fn foreign_changes_are_repaired_each_time() {
    let scene = in_a_group(Vendor::Pegasus).await;
    for round in 0..3 {
        scene.vendor.edit_user("ada@example.com", json!({"phone": "99"}));
        scene.sweep(&round.to_string()).await;
        scene.vendor_until("the repair", |sim| sim.user("ada@example.com").unwrap()["phone"] == "1").await;
        scene.compare_user("ada").await;
    }
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn an_object_that_cannot_have_an_account_keeps_no_other_one_waiting() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let own = scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
    let spec = |email: &str| json!({"email": email, "externalId": own, "provider": {"pegasus": {"sendEmail": true}}});
    scene.user("wrong", spec("eve@example.com")).await;
    scene.user_says("wrong", "Invalid").await;
    scene.user("ada", spec("ada@example.com")).await;
    scene.user_ready("ada").await;
    scene.user("wrong", spec("ada@example.com")).await;
    scene.user_says("wrong", "Duplicate").await;
}
