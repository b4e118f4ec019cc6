//! States of groups and credentials.

use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use usher::api::ProviderCredential;
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use super::{Row, credential_says, group_says, made, refused_by_industrility};
use crate::judgement::full_group_deleted;
use crate::scene::Scene;

/// The states of groups and credentials.
pub fn rows() -> Vec<BoxFuture<'static, Row>> {
    vec![
        group(
            Vendor::Pegasus,
            "AlreadyExists",
            "a group of this name was there before",
            json!({"displayName": "Taken"}),
        )
        .boxed(),
        group(Vendor::Amani, "NotFound", "no role has this name", json!({"displayName": "Nobody"})).boxed(),
        group(Vendor::Industrility, "Invalid", "the vendor has no API for groups", json!({})).boxed(),
        full_group().boxed(),
        credential("WaitingForSecret", "its Secret is missing", json!({}), json!(null)).boxed(),
        credential("Unauthenticated", "the login is refused", json!({}), json!({"token": "fake-wrong-token"})).boxed(),
        credential_refused_by_industrility().boxed(),
        credential("Invalid", "its Secret lacks a key", json!({}), json!({"other": "x"})).boxed(),
        credential(
            "Invalid",
            "its address is one of the metadata service",
            json!({"provider": {"pegasus": {"url": "http://169.254.169.254"}}}),
            json!({"token": "fake-token"}),
        )
        .boxed(),
        credential_of_a_vendor_that_is_away().boxed(),
        credential_in_use().boxed(),
    ]
}

async fn credential_refused_by_industrility() -> Row {
    let said = credential_says(&refused_by_industrility().await, "Unauthenticated").await;
    ("ProviderCredential", "Unauthenticated", "a create is refused, and there is no other check", said)
}

async fn group(vendor: Vendor, reason: &'static str, when: &'static str, spec: Value) -> Row {
    let scene = Scene::new(vendor).await;
    scene.vendor.put_group(json!({"name": "Taken"}));
    scene.group("north", spec).await;
    ("PlatformGroup", reason, when, group_says(&scene, "north", reason).await)
}

async fn full_group() -> Row {
    let scene = full_group_deleted().await;
    ("PlatformGroup", "DeletionBlocked", "the group is not empty", group_says(&scene, "north", "DeletionBlocked").await)
}

async fn credential(reason: &'static str, when: &'static str, spec: Value, secret: Value) -> Row {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    if !secret.is_null() {
        scene.secret("main", &secret).await;
    }
    scene.apply_credential(spec).await;
    ("ProviderCredential", reason, when, credential_says(&scene, reason).await)
}

async fn credential_of_a_vendor_that_is_away() -> Row {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.vendor.fault(Fault::always("*", FaultKind::Status(503, None)));
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    (
        "ProviderCredential",
        "ProviderUnavailable",
        "the vendor is unavailable",
        credential_says(&scene, "ProviderUnavailable").await,
    )
}

async fn credential_in_use() -> Row {
    let scene = made(json!({})).await;
    scene.delete::<ProviderCredential>("main").await;
    (
        "ProviderCredential",
        "DeletionBlocked",
        "objects are bound through it",
        credential_says(&scene, "DeletionBlocked").await,
    )
}
