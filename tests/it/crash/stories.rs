//! What people do, each told so that an operator can die anywhere in it.

use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::status::Report;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::Vendor;

use crate::contract::{Sample, sample};
use crate::scene::{Scene, merge};

/// The first password and the one that follows it.
pub const PASSWORDS: [&str; 2] = ["Fake-Passw0rd", "Fake-Passw0rd-2"];

/// One thing that people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// Credential, group, password and user are applied at once.
    Create,
    /// User and group are edited.
    Update,
    /// The password Secret gets another value.
    Rotate,
    /// The user moves to another group.
    Move,
    /// User and group are deleted; the accounts go too.
    Delete,
    /// The user is deleted; his account is blocked.
    Disable,
    /// User and group are deleted; the accounts stay.
    Orphan,
    /// The user's account was there before and is adopted.
    Adopt,
    /// The user's account was there before and is bound by its id.
    Bind,
    /// The user's e-mail changes.
    Rename,
    /// User, group and credential are deleted together.
    Leave,
    /// The user is applied, and deleted as soon as there is trouble.
    Abandon,
    /// The user's manifest gets another name.
    HandOver,
}

impl Story {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Update,
        Self::Rotate,
        Self::Move,
        Self::Delete,
        Self::Disable,
        Self::Orphan,
        Self::Adopt,
        Self::Bind,
        Self::Rename,
        Self::Leave,
        Self::Abandon,
        Self::HandOver,
    ];

    /// Whether it can be told of this vendor.
    pub fn fits(self, vendor: Vendor) -> bool {
        match self {
            Self::Rotate | Self::Adopt | Self::Bind => vendor != Vendor::Industrility,
            Self::Disable => !matches!(vendor, Vendor::Industrility | Vendor::Ozmap),
            _ => true,
        }
    }

    /// What is there before anything happens that can go wrong.
    pub async fn prepare(self, scene: &Scene) {
        scene.vendor.put_user(person(scene.vendor.vendor(), "bystander@example.com"));
        scene.vendor.put_group(json!({"name": "Bystanders"}));
        if self == Self::Create {
            return;
        }
        basics(scene).await;
        match self {
            Self::Create | Self::Abandon => {}
            Self::Adopt | Self::Bind => drop(scene.vendor.put_user(person(scene.vendor.vendor(), "ada@example.com"))),
            Self::Move => {
                scene.group("other", other_group(scene.vendor.vendor())).await;
                self.everybody(scene).await;
                settled::<PlatformGroup>(scene, "other").await;
            }
            _ => self.everybody(scene).await,
        }
    }

    async fn everybody(self, scene: &Scene) {
        scene.group("team", self.group(scene.vendor.vendor())).await;
        scene.user("ada", self.user(scene.vendor.vendor())).await;
        settled::<PlatformUser>(scene, "ada").await;
        settled::<PlatformGroup>(scene, "team").await;
    }

    fn group(self, vendor: Vendor) -> Value {
        let mut spec = sample(vendor).group.0;
        let writable = !matches!(vendor, Vendor::Amani | Vendor::Industrility);
        if writable && self == Self::Orphan {
            merge(&mut spec, json!({"deletionPolicy": "Orphan"}));
        }
        spec
    }

    fn user(self, vendor: Vendor) -> Value {
        let mut spec = with_group(vendor, "team");
        let policy = match self {
            Self::Disable => "Disable",
            Self::Orphan => "Orphan",
            _ => return spec,
        };
        merge(&mut spec, json!({"deletionPolicy": policy}));
        spec
    }

    /// What people do.
    pub async fn act(self, scene: &Scene) {
        let vendor = scene.vendor.vendor();
        match self {
            Self::Create => {
                basics(scene).await;
                scene.user("ada", self.user(vendor)).await;
                scene.group("team", self.group(vendor)).await;
            }
            Self::Update => edit(scene).await,
            Self::Rotate => scene.secret("login", &json!({"password": PASSWORDS[1]})).await,
            Self::Move => scene.user("ada", with_group(vendor, "other")).await,
            Self::Delete | Self::Orphan => leave(scene).await,
            // A blocked user stays in his group, which so stays too.
            Self::Disable => scene.delete::<PlatformUser>("ada").await,
            Self::Leave => {
                leave(scene).await;
                scene.delete::<ProviderCredential>("main").await;
            }
            Self::Adopt => scene.user("ada", alone(vendor, json!({"adoptionPolicy": "Adopt"}))).await,
            Self::Bind => {
                let id = text(&scene.vendor.user("ada@example.com").unwrap()["id"]);
                scene.user("ada", alone(vendor, json!({"externalId": id}))).await;
            }
            Self::Rename => {
                let mut spec = with_group(vendor, "team");
                merge(&mut spec, json!({"email": "countess@example.com"}));
                scene.user("ada", spec).await;
            }
            Self::Abandon => scene.user("ada", alone(vendor, json!({}))).await,
            Self::HandOver => {
                scene.user("heir", self.user(vendor)).await;
                scene.delete::<PlatformUser>("ada").await;
            }
        }
    }

    /// What people do once there is trouble, or all is well.
    pub async fn react(self, scene: &Scene) {
        if self == Self::Abandon {
            scene.delete::<PlatformUser>("ada").await;
        }
    }

    /// Waits until nothing is left to do, if nothing goes wrong.
    pub async fn done(self, scene: &Scene) {
        match self {
            Self::Delete | Self::Disable | Self::Orphan | Self::Leave => {
                scene.until_gone::<PlatformUser>("ada").await;
                if self != Self::Disable {
                    scene.until_gone::<PlatformGroup>("team").await;
                }
                if self == Self::Leave {
                    scene.until_gone::<ProviderCredential>("main").await;
                }
            }
            Self::HandOver => {
                scene.until_gone::<PlatformUser>("ada").await;
                settled::<PlatformUser>(scene, "heir").await;
            }
            Self::Rotate => {
                let sent = |vendor: &usher_sandbox::vendors::Simulator| {
                    vendor.user("ada@example.com").is_some_and(|account| account["password"] == PASSWORDS[1])
                };
                scene.vendor_until("the new password", sent).await;
            }
            _ => {
                settled::<PlatformUser>(scene, "ada").await;
                if self == Self::Create || self == Self::Update {
                    settled::<PlatformGroup>(scene, "team").await;
                }
            }
        }
    }

    /// What has to be the same however it came about.
    pub fn comparable(self, vendor: Vendor, mut state: Value) -> Value {
        let may_stay = |account: &Value| match vendor {
            // He may have been made or not, but can be made away with only so far.
            Vendor::Amani => account["is_active"] == false,
            Vendor::Industrility => true,
            Vendor::Pegasus | Vendor::Plaspy | Vendor::Ozmap => false,
        };
        if self == Self::Abandon {
            let accounts = state["accounts"].as_array_mut().unwrap();
            accounts.retain(|account| account["email"] != "ada@example.com" || !may_stay(account));
        }
        state
    }

    /// How it ends for the user, or the one object that is left of him: the reason, or `None` if there is none.
    pub fn end(self, vendor: Vendor) -> Option<&'static str> {
        match (self, vendor) {
            (Self::Delete | Self::Disable | Self::Orphan | Self::Leave | Self::Abandon, _) => None,
            (Self::Create | Self::HandOver, Vendor::Industrility) => Some("Created"),
            (_, Vendor::Industrility) | (Self::Rename, Vendor::Ozmap) => Some("Unsupported"),
            _ => Some("Synced"),
        }
    }
}

/// Password, Secret and credential.
pub async fn basics(scene: &Scene) {
    scene.secret("login", &json!({"password": PASSWORDS[0]})).await;
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
}

async fn edit(scene: &Scene) {
    let vendor = scene.vendor.vendor();
    let mut spec = with_group(vendor, "team");
    let Sample { edit, mut group, .. } = sample(vendor);
    merge(&mut spec, if vendor == Vendor::Industrility { json!({"lastName": "King"}) } else { edit.0 });
    scene.user("ada", spec).await;
    let further = match vendor {
        Vendor::Pegasus => json!({"provider": {"pegasus": {"city": "Bogota"}}}),
        Vendor::Plaspy => json!({"provider": {"plaspy": {"description": "some"}}}),
        Vendor::Amani | Vendor::Industrility | Vendor::Ozmap => return,
    };
    merge(&mut group.0, further);
    scene.group("team", group.0).await;
}

async fn leave(scene: &Scene) {
    scene.delete::<PlatformGroup>("team").await;
    scene.delete::<PlatformUser>("ada").await;
}

/// An account that someone made by hand.
pub fn person(vendor: Vendor, email: &str) -> Value {
    let mut person = json!({"email": email, "name": "Someone"});
    if vendor != Vendor::Plaspy {
        merge(&mut person, json!({"username": email, "phone": "9"}));
    }
    person
}

/// The user without groups, with something to make apart from him.
pub fn alone(vendor: Vendor, further: Value) -> Value {
    let mut spec = sample(vendor).user;
    if vendor == Vendor::Pegasus {
        merge(&mut spec, json!({"provider": {"pegasus": {"applications": {"pegasus2.0": {"tracking": true}}}}}));
    }
    merge(&mut spec, further);
    spec
}

fn with_group(vendor: Vendor, group: &str) -> Value {
    alone(vendor, json!({"groups": [{"groupRef": {"name": group}}]}))
}

fn other_group(vendor: Vendor) -> Value {
    match vendor {
        Vendor::Amani => json!({"displayName": "Dispatchers"}),
        Vendor::Industrility => json!({"externalId": "SG-2"}),
        Vendor::Pegasus | Vendor::Plaspy | Vendor::Ozmap => json!({"displayName": "Other"}),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An object with a report.
pub trait Reported:
    kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
    + Send
    + 'static
{
    /// The report.
    fn report(&self) -> Option<&Report>;
}

impl Reported for PlatformUser {
    fn report(&self) -> Option<&Report> {
        self.status.as_ref().map(|status| &status.report)
    }
}

impl Reported for PlatformGroup {
    fn report(&self) -> Option<&Report> {
        self.status.as_ref().map(|status| &status.report)
    }
}

/// Waits until the object is Ready or Stalled for its present spec.
async fn settled<K: Reported>(scene: &Scene, name: &str) {
    scene
        .until(name, |object: &K| {
            object.report().is_some_and(|report| {
                Some(report.observed_generation) == object.meta().generation
                    && find(&report.conditions, ConditionType::Ready).is_some()
                    && find(&report.conditions, ConditionType::Reconciling).is_none()
            })
        })
        .await;
}
