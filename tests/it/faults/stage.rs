//! A scene with bystanders that must not change: foreign accounts at the vendor, and objects that are in sync.

use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser};
use usher_sandbox::vendors::{Options, Vendor};

use super::is_used;
use crate::contract::{PASSWORD, Sample, ready, sample};
use crate::scene::{Scene, merge};

/// One scene of the matrix.
pub struct Stage {
    /// Its corner of the world.
    pub scene: Scene,
    /// The vendor's manifests.
    pub sample: Sample,
}

impl Stage {
    /// A credential, a group `team` and a user `bob` in sync, and accounts that are none of ours.
    pub async fn new(vendor: Vendor, operation: &str) -> Self {
        let mut options = Options::default();
        options.amani.page_size = Some(2);
        let stage = Self { scene: Scene::without_credential(vendor, options).await, sample: sample(vendor) };
        let scene = &stage.scene;
        scene.vendor.put_user(json!({"email": "foreign@example.com", "username": "foreign@example.com"}));
        scene.vendor.put_group(json!({"name": "Foreign"}));
        if vendor == Vendor::Ozmap {
            scene.vendor.set_secret("username", "usher@example.com");
            scene.vendor.set_secret("password", "Fake-Ozmap-Password-1");
        }
        stage.touch_secret("0").await;
        scene.apply_credential(json!({})).await;
        scene.secret("login", &json!({"password": PASSWORD})).await;
        scene.group("team", stage.sample.group.0.clone()).await;
        scene.group_says("team", stage.sample.group.2).await;
        scene.user("bob", stage.person("bob", json!({}))).await;
        scene.user_says("bob", ready(vendor)).await;
        if operation == "users.find" {
            scene.let_listing_age().await;
        }
        stage
    }

    /// The credential's Secret, changed in nothing that matters.
    pub async fn touch_secret(&self, note: &str) {
        let mut entries = json!(self.scene.vendor.secret());
        if self.scene.vendor.vendor() == Vendor::Ozmap {
            entries.as_object_mut().unwrap().remove("token");
        }
        merge(&mut entries, json!({"note": note}));
        self.scene.secret("main", &entries).await;
    }

    /// A user's manifest.
    pub fn person(&self, name: &str, further: Value) -> Value {
        let mut spec = self.sample.user.clone();
        merge(&mut spec, json!({"email": email(name)}));
        merge(&mut spec, further);
        spec
    }

    /// The statuses of the objects that are in sync.
    pub async fn bystanders(&self) -> Value {
        let bob = self.scene.api::<PlatformUser>().get("bob").await.unwrap();
        let team = self.scene.api::<PlatformGroup>().get("team").await.unwrap();
        json!([bob.status, team.status])
    }

    /// Accounts that nobody was asked to touch.
    pub fn untouched(&self) -> Value {
        let vendor = &self.scene.vendor;
        json!([vendor.user("foreign@example.com"), vendor.group("Foreign"), vendor.user("bob@example.com")])
    }

    /// Operations that were called although usher has no use for them.
    pub fn needless_calls(&self) -> Vec<&'static str> {
        let vendor = &self.scene.vendor;
        let all = vendor.vendor().operations().iter().copied();
        all.filter(|operation| !is_used(vendor.vendor(), operation) && vendor.count(operation) > 0).collect()
    }

    /// E-mail addresses or group names that are there more than once.
    pub fn twins(&self) -> Vec<String> {
        let vendor = &self.scene.vendor;
        let emails = vendor.users().into_iter().map(|user| user["email"].to_string());
        let names = vendor.groups().into_iter().map(|group| group["name"].to_string());
        let mut all: Vec<String> = emails.chain(names).collect();
        all.sort();
        all.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).map(|same| same[0].clone()).collect()
    }
}

/// A user's e-mail address.
pub fn email(name: &str) -> String {
    format!("{name}@example.com")
}
