//! What the schema judges, the API server refuses with our words; the neighbour that is right passes.

use std::collections::BTreeMap;

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformUser, crds};
use usher_sandbox::controlplane;
use usher_sandbox::vendors::{Options, Vendor};

use crate::scene::{Scene, merge};
use crate::world::world;

/// A manifest that passes, by a short name.
fn good(name: &str) -> Value {
    let user = |further: Value| {
        let mut spec = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com"});
        merge(&mut spec, further);
        json!({"kind": "PlatformUser", "spec": spec})
    };
    let credential = |provider: Value| json!({"kind": "ProviderCredential", "spec": {"provider": provider, "secretRef": {"name": "main"}}});
    match name {
        "user" => user(json!({"groups": [{"groupRef": {"name": "a"}}, {"externalId": "1"}, {"externalName": "b"}]})),
        "pegasus user" => user(json!({"provider": {"pegasus": {"roles": [1, 2], "scopes": {"a": "r"}}}})),
        "plaspy user" => user(
            json!({"groups": [{"externalId": "1"}], "provider": {"plaspy": {"country": "CO", "timeZone": "America/Bogota", "privileges": ["read"], "from": "2027-01-01T00:00:00Z"}}}),
        ),
        "industrility user" => user(json!({"firstName": "Ada", "lastName": "Lovelace", "provider": {"industrility": {
            "orgName": "Example", "userType": "Customer", "userLoginType": "SSO", "parentUser": "US-root@example.com", "role": "UR-customer"}}})),
        "ozmap user" => user(json!({"provider": {"ozmap": {"resources": ["OZmap"], "role": {"name": "Manager"},
            "projects": [{"project": {"name": "City"}, "role": {"id": "1"}}]}}})),
        "group" => json!({"kind": "PlatformGroup", "spec": {"credentialRef": {"name": "main"}}}),
        "plaspy group" => {
            json!({"kind": "PlatformGroup", "spec": {"credentialRef": {"name": "main"}, "provider": {"plaspy": {"devices": ["a"]}}}})
        }
        "industrility group" => {
            json!({"kind": "PlatformGroup", "spec": {"credentialRef": {"name": "main"}, "externalId": "SG-1", "provider": {"industrility": {}}}})
        }
        "ozmap group" => {
            json!({"kind": "PlatformGroup", "spec": {"credentialRef": {"name": "main"}, "provider": {"ozmap": {"projects": [{"name": "City"}]}}}})
        }
        "credential" => credential(
            json!({"pegasus": {"url": "https://pegasus.example.com/api", "loginUrl": "https://auth.example.com/"}}),
        ),
        "industrility credential" => credential(json!({"industrility": {"url": "https://example.com"}})),
        _ => panic!("no sample {name}"),
    }
}

/// What the API server says to creating `manifest`, without keeping it.
async fn created(scene: &Scene, mut manifest: Value) -> Result<Value, String> {
    let kind = manifest["kind"].as_str().unwrap().to_owned();
    merge(
        &mut manifest,
        json!({"apiVersion": "usher.dev/v1alpha1", "metadata": {"name": "sample", "namespace": scene.namespace}}),
    );
    let resource = kube::api::ApiResource::from_gvk(&GroupVersionKind::gvk("usher.dev", "v1alpha1", &kind));
    let api: Api<kube::api::DynamicObject> = Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource);
    let object = serde_json::from_value(manifest).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &object).await.map(|object| json!(object)).map_err(|error| error.to_string())
}

async fn scene() -> Scene {
    Scene::without_credential(Vendor::Pegasus, Options::default()).await
}

#[rstest]
#[tokio::test]
async fn a_manifest_that_is_right_passes(
    #[values(
        "user",
        "pegasus user",
        "plaspy user",
        "industrility user",
        "ozmap user",
        "group",
        "plaspy group",
        "industrility group",
        "ozmap group",
        "credential",
        "industrility credential"
    )]
    name: &str,
) {
    created(&scene().await, good(name)).await.unwrap();
}

#[rstest]
#[case::two_vendors("pegasus user", json!({"provider": {"amani": {}}}), "name exactly one of")]
#[case::no_vendor("user", json!({"provider": {}}), "name exactly one of pegasus, amani, plaspy, industrility, ozmap")]
#[case::an_unknown_vendor("user", json!({"provider": {"other": {}}}), "name exactly one of pegasus, amani, plaspy, industrility, ozmap")]
#[case::no_vendor_of_a_group("group", json!({"provider": {}}), "name exactly one of pegasus, amani, plaspy, industrility, ozmap")]
#[case::an_unknown_vendor_of_a_credential("industrility credential", json!({"provider": {"industrility": null, "other": {}}}), "name exactly one of pegasus, amani, plaspy, industrility, ozmap")]
#[case::two_credential_vendors("credential", json!({"provider": {"amani": {"url": "https://example.com"}}}), "name exactly one of")]
#[case::two_forms_of_a_group("user", json!({"groups": [{"externalId": "1", "externalName": "b"}]}), "name exactly one of groupRef, externalId, externalName")]
#[case::no_form_of_a_group("user", json!({"groups": [{}]}), "name exactly one of groupRef, externalId, externalName")]
#[case::no_form_of_a_role("ozmap user", json!({"provider": {"ozmap": {"role": {"name": null}}}}), "name exactly one of id, name")]
#[case::a_role_twice("pegasus user", json!({"provider": {"pegasus": {"roles": [1, 1]}}}), "Duplicate value")]
#[case::a_privilege_twice("plaspy user", json!({"provider": {"plaspy": {"privileges": ["a", "a"]}}}), "Duplicate value")]
#[case::a_resource_twice("ozmap user", json!({"provider": {"ozmap": {"resources": ["Loki", "Loki"]}}}), "Duplicate value")]
#[case::a_device_twice("plaspy group", json!({"provider": {"plaspy": {"devices": ["a", "a"]}}}), "Duplicate value")]
#[case::two_plaspy_groups("plaspy user", json!({"groups": [{"externalId": "1"}, {"externalId": "2"}]}), "at most one group")]
#[case::plaspy_without_country("plaspy user", json!({"provider": {"plaspy": {"country": null}}}), "country")]
#[case::plaspy_time("plaspy user", json!({"provider": {"plaspy": {"from": "tomorrow"}}}), "not a time")]
#[case::industrility_without_names("industrility user", json!({"lastName": null}), "firstName and spec.lastName")]
#[case::industrility_password("industrility user", json!({"passwordSecretRef": {"name": "a"}}), "remove spec.passwordSecretRef")]
#[case::industrility_two_roles("industrility user", json!({"provider": {"industrility": {"newRole": {"name": "a", "permissions": {}}}}}), "either role")]
#[case::industrility_no_role("industrility user", json!({"provider": {"industrility": {"role": null}}}), "either role")]
#[case::industrility_role_id("industrility user", json!({"provider": {"industrility": {"role": "customer"}}}), "begins with UR-")]
#[case::industrility_logo("industrility user", json!({"provider": {"industrility": {"logoUrl": "http://example.com"}}}), "https address")]
#[case::industrility_group_without_id("industrility group", json!({"externalId": null}), "set spec.externalId")]
#[case::no_email_shape("user", json!({"email": "ada"}), "not an e-mail address")]
#[case::two_addresses("user", json!({"email": "ada@example.com,eve@example.com"}), "not an e-mail address")]
#[case::no_email("user", json!({"email": null}), "email")]
#[case::plain_http("credential", json!({"provider": {"pegasus": {"url": "http://example.com"}}}), "allowInsecureHttp")]
#[case::plain_http_login("credential", json!({"provider": {"pegasus": {"loginUrl": "http://example.com"}}}), "allowInsecureHttp")]
#[case::user_in_url("credential", json!({"provider": {"pegasus": {"url": "https://me:secret@example.com"}}}), "without user")]
#[case::selector_without_from("credential", json!({"allowedNamespaces": {"from": "All", "selector": {}}}), "from: Selector")]
#[case::from_without_selector("credential", json!({"allowedNamespaces": {"from": "Selector"}}), "from: Selector")]
#[case::too_often("credential", json!({"resyncInterval": "30s"}), "from 1m")]
#[case::no_duration("credential", json!({"resyncInterval": "soon"}), "not a duration")]
#[case::long_wait("credential", json!({"removals": {"after": "25h"}}), "not a duration")]
#[case::no_base64("credential", json!({"caBundle": "-----BEGIN"}), "base64")]
#[case::header_name("industrility credential", json!({"provider": {"industrility": {"authHeader": "a b"}}}), "not a header name")]
#[case::header_host("industrility credential", json!({"provider": {"industrility": {"authHeader": "Host"}}}), "a proxy acts on this header")]
#[case::header_length("industrility credential", json!({"provider": {"industrility": {"authHeader": "content-length"}}}), "a proxy acts on this header")]
#[case::header_encoding("industrility credential", json!({"provider": {"industrility": {"authHeader": "Transfer-Encoding"}}}), "a proxy acts on this header")]
#[case::header_connection("industrility credential", json!({"provider": {"industrility": {"authHeader": "Connection"}}}), "a proxy acts on this header")]
#[case::header_cookie("industrility credential", json!({"provider": {"industrility": {"authHeader": "Cookie"}}}), "a proxy acts on this header")]
#[case::header_te("industrility credential", json!({"provider": {"industrility": {"authHeader": "TE"}}}), "a proxy acts on this header")]
#[case::header_forwarded("industrility credential", json!({"provider": {"industrility": {"authHeader": "X-Forwarded-For"}}}), "a proxy acts on this header")]
#[case::path("industrility credential", json!({"provider": {"industrility": {"createPath": "x"}}}), "begin with /")]
#[case::closed_mode("user", json!({"mode": "Dry"}), "supported values")]
#[case::closed_policy("group", json!({"deletionPolicy": "Disable"}), "supported values")]
#[case::closed_scope("pegasus user", json!({"provider": {"pegasus": {"scopes": {"a": "x"}}}}), "supported values")]
#[case::wrong_type("user", json!({"active": "yes"}), "boolean")]
#[case::no_requests("credential", json!({"requests": {"perMinute": 0}}), "greater than or equal to 1")]
#[case::five_levels("pegasus user", json!({"provider": {"pegasus": {"prefs": {"a": {"b": [{"c": [1]}]}}}}}), "must have at most 0 items")]
#[case::long_preference("pegasus user", json!({"provider": {"pegasus": {"prefs": {"a": "x".repeat(257)}}}}), "may not be more than 256")]
#[case::long_key("pegasus user", json!({"provider": {"pegasus": {"applications": {"a": {"x".repeat(257): true}}}}}), "a key of the map has more than 256")]
#[tokio::test]
async fn a_manifest_that_is_wrong_is_refused_with_our_words(
    #[case] base: &str,
    #[case] change: Value,
    #[case] words: &str,
) {
    let mut manifest = good(base);
    replace(&mut manifest["spec"], change);
    let said = created(&scene().await, manifest).await.expect_err("it must not pass");
    assert!(said.contains(words), "{said}");
}

#[rstest]
#[case::email("user", "spec.email", json!({"email": "ada@example.com\u{200b}"}))]
#[case::email_of_a_spreadsheet("user", "spec.email", json!({"email": "\u{a0}ada@example.com"}))]
#[case::username("user", "spec.username", json!({"username": "ada "}))]
#[case::username_in_another_direction("user", "spec.username", json!({"username": "\u{202e}ada"}))]
#[case::first_name("user", "spec.firstName", json!({"firstName": "\tAda"}))]
#[case::last_name("user", "spec.lastName", json!({"lastName": "Love\u{ad}lace"}))]
#[case::display_name("user", "spec.displayName", json!({"displayName": "Ada\u{feff}"}))]
#[case::phone("user", "spec.phone", json!({"phone": "\u{202a}+44 20 7946 0000\u{202c}"}))]
#[case::external_id("user", "spec.externalId", json!({"externalId": "17\n"}))]
#[case::external_name("user", "spec.groups[0].externalName", json!({"groups": [{"externalName": "Fleet\u{a0}North"}]}))]
#[case::group_name("group", "spec.displayName", json!({"displayName": "Fleet\u{a0}North"}))]
#[case::device("plaspy group", "spec.provider.plaspy.devices[0]", json!({"provider": {"plaspy": {"devices": ["17\u{2060}"]}}}))]
#[case::project("ozmap group", "spec.provider.ozmap.projects[0].name", json!({"provider": {"ozmap": {"projects": [{"name": " City"}]}}}))]
#[case::parent("industrility user", "spec.provider.industrility.parentUser", json!({"provider": {"industrility": {"parentUser": "US-a\u{3164}"}}}))]
#[case::protected("credential", "spec.protected[0]", json!({"protected": ["root@example.com "]}))]
#[tokio::test]
async fn a_character_that_nobody_sees_is_refused_and_its_field_named(
    #[case] base: &str,
    #[case] field: &str,
    #[case] change: Value,
) {
    let mut manifest = good(base);
    replace(&mut manifest["spec"], change);
    let said = created(&scene().await, manifest).await.expect_err("it must not pass");
    assert!(said.contains(&format!("{field}: Invalid value")) && said.contains("nobody sees"), "{said}");
}

#[rstest]
#[case::persian(json!({"displayName": "علی\u{200c}رضا", "firstName": "علی\u{200c}رضا"}))]
#[case::japanese(json!({"displayName": "山田\u{3000}太郎"}))]
#[case::cleared(json!({"phone": "", "firstName": ""}))]
#[tokio::test]
async fn names_of_all_scripts_pass(#[case] change: Value) {
    let mut manifest = good("user");
    replace(&mut manifest["spec"], change);
    created(&scene().await, manifest).await.unwrap();
}

#[rstest]
#[case::groups("user", |entries| json!({"groups": entries}), |number| json!({"externalName": format!("Fleet {number}")}))]
#[case::devices("plaspy group", |entries| json!({"provider": {"plaspy": {"devices": entries}}}), |number| json!(format!("device-{number}")))]
#[case::projects("ozmap group", |entries| json!({"provider": {"ozmap": {"projects": entries}}}), |number| json!({"name": format!("Project {number}")}))]
#[case::project_roles("ozmap user", |entries| json!({"provider": {"ozmap": {"projects": entries}}}), |number| json!({"project": {"name": format!("Project {number}")}, "role": {"name": "Manager"}}))]
#[tokio::test]
async fn lists_hold_what_a_fleet_has(
    #[case] base: &str,
    #[case] spec: fn(Vec<Value>) -> Value,
    #[case] entry: fn(u32) -> Value,
) {
    let scene = scene().await;
    let with = |count: u32| {
        let mut manifest = good(base);
        replace(&mut manifest["spec"], spec((0..count).map(entry).collect()));
        manifest
    };
    created(&scene, with(1024)).await.unwrap();
    let said = created(&scene, with(1025)).await.expect_err("one too many");
    assert!(said.contains("1024"), "{said}");
}

/// A JSON merge patch: null removes, lists are replaced.
fn replace(value: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *value = change;
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, inner) in change {
        if inner.is_null() {
            value.as_object_mut().unwrap().remove(&key);
        } else {
            replace(&mut value[&key], inner);
        }
    }
}

#[tokio::test]
async fn long_texts_lists_and_maps_are_refused() {
    let scene = scene().await;
    let many: Vec<u32> = (0..65).collect();
    let map: BTreeMap<String, &str> = (0..65).map(|number| (number.to_string(), "r")).collect();
    for (base, change, words) in [
        ("user", json!({"email": format!("{}@example.com", "a".repeat(250))}), "254"),
        ("user", json!({"firstName": "a".repeat(257)}), "256"),
        ("pegasus user", json!({"provider": {"pegasus": {"roles": many}}}), "64"),
        ("pegasus user", json!({"provider": {"pegasus": {"scopes": map}}}), "64"),
        ("pegasus user", json!({"provider": {"pegasus": {"access": "a".repeat(1025)}}}), "1024"),
    ] {
        let mut manifest = good(base);
        replace(&mut manifest["spec"], change);
        let said = created(&scene, manifest).await.expect_err(words);
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_new_object_does_not_look_finished_and_open_objects_are_kept() {
    let scene = scene().await;
    let mut manifest = good("pegasus user");
    merge(&mut manifest["spec"], json!({"provider": {"pegasus": {"prefs": {"a": {"b": {"c": 1}}}}}}));
    let made = created(&scene, manifest).await.unwrap();
    assert_eq!(made["status"]["observedGeneration"], -1);
    assert_eq!(made["spec"]["provider"]["pegasus"]["prefs"]["a"]["b"]["c"], 1);
}

#[tokio::test]
async fn an_open_object_can_be_emptied_by_applying_it_anew() {
    let scene = scene().await;
    let spec = |prefs: Value| json!({"email": "ada@example.com", "provider": {"pegasus": {"prefs": prefs}}});
    scene.user("ada", spec(json!({"coords": 1}))).await;
    scene.user("ada", spec(json!({}))).await;
    let user = scene.api::<PlatformUser>().get("ada").await.unwrap();
    assert_eq!(json!(user)["spec"]["provider"]["pegasus"]["prefs"], json!({}));
}

#[rstest]
#[case::credential(json!({"credentialRef": {"name": "other"}}), "spec.credentialRef cannot change")]
#[case::namespace(json!({"credentialRef": {"name": "nowhere", "namespace": "other"}}), "spec.credentialRef cannot change")]
#[case::external_id_added(json!({"externalId": "7"}), "spec.externalId cannot change")]
#[tokio::test]
async fn what_binds_an_object_stays_once_it_is_bound(
    #[case] change: Value,
    #[case] words: &str,
    #[values(json!({"externalId": "5"}), json!({"creating": {"at": "2027-01-01T00:00:00Z", "key": "a", "account": "b"}}))]
    bound: Value,
) {
    let scene = scene().await;
    let api = scene.api::<PlatformUser>();
    // A credential that is nowhere: the operator leaves the object alone.
    scene.user_as_is("ada", json!({"email": "ada@example.com", "credentialRef": {"name": "elsewhere"}})).await;
    let spec = Patch::Merge(json!({"spec": {"credentialRef": {"name": "nowhere"}}}));
    api.patch("ada", &PatchParams::default(), &spec).await.expect("free to correct before");
    api.patch_status("ada", &PatchParams::default(), &Patch::Merge(json!({"status": bound}))).await.unwrap();
    let refused = api.patch("ada", &PatchParams::default(), &Patch::Merge(json!({"spec": change}))).await;
    let said = refused.expect_err("bound").to_string();
    assert!(said.contains(words), "{said}");
    let phone = Patch::Merge(json!({"spec": {"phone": "1"}}));
    api.patch("ada", &PatchParams::default(), &phone).await.expect("the rest stays free");
}

#[tokio::test]
async fn the_vendor_of_a_credential_stays() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let api = scene.api::<usher::api::ProviderCredential>();
    let change =
        Patch::Merge(json!({"spec": {"provider": {"pegasus": null, "amani": {"url": "https://example.com"}}}}));
    let said = api.patch("main", &PatchParams::default(), &change).await.expect_err("another vendor").to_string();
    assert!(said.contains("vendor of a credential cannot change"), "{said}");
}

#[tokio::test]
async fn two_appliers_share_an_object_without_fighting_over_lists() {
    let scene = scene().await;
    let api = scene.api::<PlatformUser>();
    let document = |spec: Value| {
        Patch::Apply(
            json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": "ada"}, "spec": spec}),
        )
    };
    let base =
        json!({"credentialRef": {"name": "nowhere"}, "email": "ada@example.com", "groups": [{"externalId": "1"}]});
    api.patch("ada", &PatchParams::apply("gitops"), &document(base.clone())).await.unwrap();
    api.patch("ada", &PatchParams::apply("portal"), &document(json!({"phone": "1"}))).await.unwrap();
    let both = api.patch("ada", &PatchParams::apply("gitops"), &document(base)).await.unwrap();
    assert_eq!(both.spec.phone.as_deref(), Some("1"));
    assert_eq!(both.spec.groups.unwrap().len(), 1);
}

#[tokio::test]
async fn users_are_selected_by_e_mail_and_credential() {
    let scene = scene().await;
    for name in ["ada", "bob"] {
        scene
            .user_as_is(name, json!({"email": format!("{name}@example.com"), "credentialRef": {"name": "nowhere"}}))
            .await;
    }
    let by_email = ListParams::default().fields("spec.email=ada@example.com,spec.credentialRef.name=nowhere");
    let found = scene.api::<PlatformUser>().list(&by_email).await.unwrap();
    assert_eq!(found.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["ada"]);
}

#[test]
fn every_field_is_explained_and_bounded_and_none_has_a_default() {
    for definition in crds::definitions().unwrap() {
        let schema = json!(definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema);
        explained(&schema["properties"]["spec"], &definition.name_any());
    }
}

fn explained(schema: &Value, path: &str) {
    assert!(schema.get("default").is_none(), "{path} has a default");
    match schema["type"].as_str() {
        Some("string") if schema.get("enum").is_none() => {
            assert!(schema.get("maxLength").is_some(), "{path} is unbounded");
        }
        Some("array") => assert!(schema.get("maxItems").is_some(), "{path} is unbounded"),
        Some("object") if schema.get("additionalProperties").is_some() => {
            assert!(schema.get("maxProperties").is_some(), "{path} is unbounded");
        }
        _ if schema.get("x-kubernetes-preserve-unknown-fields").is_some() => {
            for keyword in ["maxLength", "maxItems", "maxProperties"] {
                assert!(schema.get(keyword).is_some(), "{path} is unbounded");
            }
        }
        _ => {}
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{path} is not explained");
        explained(property, &path);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(inner) {
            explained(schema, &format!("{path}[]"));
        }
    }
}

#[tokio::test]
async fn kubectl_finds_them_by_short_name_and_category() {
    let names: Vec<_> = crds::definitions().unwrap().into_iter().map(|definition| definition.spec.names).collect();
    let short: Vec<_> = names.iter().flat_map(|names| names.short_names.clone().unwrap_or_default()).collect();
    assert_eq!(short, ["puser", "pgroup", "pcred"]);
    assert!(names.iter().all(|names| names.categories.as_deref() == Some(&["usher".to_owned()])));
    assert!(!controlplane::crds().unwrap().is_empty() && world().plane.client().is_ok());
}
