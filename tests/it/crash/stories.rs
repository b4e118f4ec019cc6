//! What people do, each told so that an operator can die anywhere in it.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Simulator, Vendor};

use super::stage::Stage;
use super::steps::{
    PASSWORDS, alone, basics, edit, in_group, into_bystanders, leave, other_group, past_the_budget, person, renewed,
    settled, text,
};
use crate::contract::sample;
use crate::scene::{Scene, merge};

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
    /// The user moves to another group, and stays in the one that someone else put him in.
    Additive,
    /// The manifest speaks of groups no longer.
    Release,
    /// User and group are deleted; the accounts go too.
    Delete,
    /// The user is deleted; his account is blocked.
    Disable,
    /// User and group are deleted; the accounts stay.
    Orphan,
    /// Of two deleted users the budget admits one, and the other once a person releases it.
    Budget,
    /// The user's account was there before and is adopted.
    Adopt,
    /// The user's account was there before and is bound by its id.
    Bind,
    /// The group was there before under another name, is bound by its id and renamed.
    Take,
    /// The user's e-mail changes.
    Rename,
    /// The group's name changes.
    Rebrand,
    /// User, group and credential are deleted together.
    Leave,
    /// The credential's Secret is deleted along with them.
    Close,
    /// The credential's Secret is replaced by deleting and creating it.
    Replace,
    /// User and group are applied in another namespace than the credential.
    Lend,
    /// User and group in another namespace are deleted together with the credential.
    Return,
    /// The user is applied, and deleted as soon as there is trouble.
    Abandon,
    /// The user is applied, and given another e-mail as soon as there is trouble.
    Correct,
    /// The user's manifest gets another name.
    HandOver,
    /// The group's manifest gets another name.
    Rehome,
}

impl Story {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Create,
        Self::Update,
        Self::Rotate,
        Self::Move,
        Self::Additive,
        Self::Release,
        Self::Delete,
        Self::Disable,
        Self::Orphan,
        Self::Budget,
        Self::Adopt,
        Self::Bind,
        Self::Take,
        Self::Rename,
        Self::Rebrand,
        Self::Leave,
        Self::Close,
        Self::Replace,
        Self::Lend,
        Self::Return,
        Self::Abandon,
        Self::Correct,
        Self::HandOver,
        Self::Rehome,
    ];

    /// Whether it can be told of this vendor.
    pub fn fits(self, vendor: Vendor) -> bool {
        match self {
            Self::Rotate | Self::Adopt | Self::Bind => vendor != Vendor::Industrility,
            Self::Disable => !matches!(vendor, Vendor::Industrility | Vendor::Ozmap),
            // From here on the vendor makes little difference: two that differ most in what matters are enough.
            Self::Budget => matches!(vendor, Vendor::Pegasus | Vendor::Amani),
            Self::Close | Self::Replace => matches!(vendor, Vendor::Ozmap | Vendor::Industrility),
            Self::Additive => matches!(vendor, Vendor::Ozmap | Vendor::Amani),
            Self::Correct => matches!(vendor, Vendor::Pegasus | Vendor::Amani),
            // The last two without a password.
            Self::Take | Self::Release | Self::Rebrand | Self::Rehome | Self::Lend | Self::Return => {
                matches!(vendor, Vendor::Pegasus | Vendor::Plaspy)
            }
            _ => true,
        }
    }

    /// Whether the successor of an operator that died is killed, too.
    pub fn kills_twice(self) -> bool {
        matches!(self, Self::Create | Self::Delete | Self::HandOver | Self::Rename | Self::Abandon | Self::Correct)
    }

    /// Whether people do something more once there is trouble.
    pub fn reacts(self) -> bool {
        matches!(self, Self::Abandon | Self::Correct)
    }

    /// Whether users and groups are in another namespace than their credential.
    pub fn is_apart(self) -> bool {
        matches!(self, Self::Lend | Self::Return)
    }

    /// How many accounts are made in it.
    pub fn makes(self) -> usize {
        if self == Self::Budget { 2 } else { 1 }
    }

    /// What is there before anything happens that can go wrong.
    pub async fn prepare(self, stage: &Stage) {
        let vendor = &stage.scene.vendor;
        vendor.put_user(person(vendor.vendor(), "bystander@example.com"));
        vendor.put_group(json!({"name": "Bystanders"}));
        if matches!(self, Self::Create | Self::Lend) {
            return;
        }
        basics(stage).await;
        match self {
            Self::Abandon | Self::Correct => {}
            Self::Take => drop(vendor.put_group(json!({"name": "Old"}))),
            Self::Adopt | Self::Bind => drop(vendor.put_user(person(vendor.vendor(), "ada@example.com"))),
            Self::Budget => {
                stage.scene.apply_credential(json!({"removals": {"atMost": 1}})).await;
                stage.user("ada", alone(vendor.vendor(), json!({}))).await;
                stage.user("bob", alone(vendor.vendor(), json!({"email": "bob@example.com"}))).await;
                settled::<PlatformUser>(stage, "ada").await;
                settled::<PlatformUser>(stage, "bob").await;
            }
            Self::Move | Self::Additive => {
                stage.group("other", other_group(vendor.vendor())).await;
                self.everybody(stage).await;
                settled::<PlatformGroup>(stage, "other").await;
                if self == Self::Additive {
                    into_bystanders(vendor);
                }
            }
            _ => self.everybody(stage).await,
        }
    }

    async fn everybody(self, stage: &Stage) {
        let vendor = stage.scene.vendor.vendor();
        stage.group("team", self.group(vendor)).await;
        stage.user("ada", self.user(vendor, "team")).await;
        settled::<PlatformUser>(stage, "ada").await;
        settled::<PlatformGroup>(stage, "team").await;
    }

    fn group(self, vendor: Vendor) -> Value {
        let mut spec = sample(vendor).group.0;
        let writable = !matches!(vendor, Vendor::Amani | Vendor::Industrility);
        if writable && self == Self::Orphan {
            merge(&mut spec, json!({"deletionPolicy": "Orphan"}));
        }
        spec
    }

    fn user(self, vendor: Vendor, group: &str) -> Value {
        let mut spec = in_group(vendor, group);
        let further = match self {
            Self::Disable => json!({"deletionPolicy": "Disable"}),
            Self::Orphan => json!({"deletionPolicy": "Orphan"}),
            Self::Additive => json!({"membership": "Additive"}),
            _ => return spec,
        };
        merge(&mut spec, further);
        spec
    }

    /// What people do, whether usher lives or not.
    pub async fn act(self, stage: &Stage) {
        let Stage { scene, people, .. } = stage;
        let vendor = scene.vendor.vendor();
        match self {
            Self::Create | Self::Lend => {
                basics(stage).await;
                stage.user("ada", self.user(vendor, "team")).await;
                stage.group("team", self.group(vendor)).await;
            }
            Self::Update => edit(stage).await,
            Self::Rotate => people.secret("login", &json!({"password": PASSWORDS[1]})).await,
            Self::Move | Self::Additive => stage.user("ada", self.user(vendor, "other")).await,
            Self::Release | Self::Abandon | Self::Correct => stage.user("ada", alone(vendor, json!({}))).await,
            Self::Delete | Self::Orphan => leave(stage).await,
            // A blocked user stays in his group, which so stays too.
            Self::Disable | Self::Budget => people.delete::<PlatformUser>("ada").await,
            Self::Leave | Self::Return => {
                leave(stage).await;
                scene.delete::<ProviderCredential>("main").await;
            }
            Self::Close => {
                scene.delete::<ProviderCredential>("main").await;
                scene.delete::<Secret>("main").await;
                leave(stage).await;
            }
            Self::Replace => scene.delete::<Secret>("main").await,
            Self::Adopt => stage.user("ada", alone(vendor, json!({"adoptionPolicy": "Adopt"}))).await,
            Self::Bind => {
                let id = text(&scene.vendor.user("ada@example.com").unwrap()["id"]);
                stage.user("ada", alone(vendor, json!({"externalId": id}))).await;
            }
            Self::Take => {
                let mut spec = self.group(vendor);
                merge(&mut spec, json!({"externalId": text(&scene.vendor.group("Old").unwrap()["id"])}));
                stage.group("team", spec).await;
            }
            Self::Rename | Self::Rebrand | Self::HandOver | Self::Rehome => self.rename(stage).await,
        }
    }

    /// What people do to another name: the object, or the account, gets one.
    async fn rename(self, stage: &Stage) {
        let Stage { scene, people, .. } = stage;
        let vendor = scene.vendor.vendor();
        match self {
            Self::Rename => {
                let mut spec = in_group(vendor, "team");
                merge(&mut spec, json!({"email": "countess@example.com"}));
                stage.user("ada", spec).await;
            }
            Self::Rebrand => {
                let mut spec = self.group(vendor);
                merge(&mut spec, json!({"displayName": "Renamed"}));
                stage.group("team", spec).await;
            }
            Self::HandOver => {
                stage.user("successor", self.user(vendor, "team")).await;
                people.delete::<PlatformUser>("ada").await;
            }
            Self::Rehome => {
                stage.group("successor", self.group(vendor)).await;
                stage.user("ada", self.user(vendor, "successor")).await;
                people.delete::<PlatformGroup>("team").await;
            }
            _ => {}
        }
    }

    /// What people do once the first of it had an effect; with a new operator they begin this anew.
    pub async fn go_on(self, stage: &Stage) {
        match self {
            Self::Budget => past_the_budget(stage).await,
            Self::Replace => renewed(&stage.scene).await,
            _ => {}
        }
    }

    /// What people do once there is trouble, or all is well.
    pub async fn react(self, stage: &Stage) {
        match self {
            Self::Abandon => stage.people.delete::<PlatformUser>("ada").await,
            Self::Correct => {
                let spec = alone(stage.scene.vendor.vendor(), json!({"email": "countess@example.com"}));
                stage.user("ada", spec).await;
            }
            _ => {}
        }
    }

    /// Waits until nothing is left to do, if nothing goes wrong.
    pub async fn done(self, stage: &Stage) {
        let Stage { scene, people, .. } = stage;
        match self {
            Self::Delete | Self::Disable | Self::Orphan | Self::Leave | Self::Close | Self::Return | Self::Budget => {
                people.until_gone::<PlatformUser>("ada").await;
                if !matches!(self, Self::Disable | Self::Budget) {
                    people.until_gone::<PlatformGroup>("team").await;
                }
                if matches!(self, Self::Leave | Self::Close | Self::Return) {
                    scene.until_gone::<ProviderCredential>("main").await;
                }
            }
            Self::HandOver => {
                people.until_gone::<PlatformUser>("ada").await;
                settled::<PlatformUser>(stage, "successor").await;
            }
            Self::Rehome => {
                people.until_gone::<PlatformGroup>("team").await;
                settled::<PlatformUser>(stage, "ada").await;
            }
            Self::Rotate => sent(scene).await,
            Self::Take => settled::<PlatformGroup>(stage, "team").await,
            _ => {
                settled::<PlatformUser>(stage, "ada").await;
                if matches!(self, Self::Create | Self::Update | Self::Lend | Self::Rebrand) {
                    settled::<PlatformGroup>(stage, "team").await;
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
            // Whether there was anything to take away differs, too.
            state["credentials"][0]["removals"] = Value::Null;
        }
        state
    }

    /// How it ends for the user, or the one object that is left of him: the reason, or `None` if there is none.
    pub fn end(self, vendor: Vendor) -> Option<&'static str> {
        if self.is_over() {
            return None;
        }
        match (self, vendor) {
            (Self::Create | Self::HandOver | Self::Replace, Vendor::Industrility) => Some("Created"),
            (_, Vendor::Industrility) | (Self::Rename, Vendor::Ozmap) => Some("Unsupported"),
            _ => Some("Synced"),
        }
    }

    /// Whether no user is left at the end.
    fn is_over(self) -> bool {
        let is_left = matches!(self, Self::Leave | Self::Close | Self::Return);
        is_left
            || matches!(self, Self::Take | Self::Delete | Self::Disable | Self::Orphan | Self::Budget | Self::Abandon)
    }

    /// The group that the user's account has to be in at the end, although no manifest says so any more.
    pub fn stays_in(self, vendor: Vendor) -> Option<&'static str> {
        match self {
            Self::Additive => Some("Bystanders"),
            Self::Release => Some(sample(vendor).group.1),
            _ => None,
        }
    }
}

/// Waits until the vendor has the new password.
async fn sent(scene: &Scene) {
    let sent =
        |vendor: &Simulator| vendor.user("ada@example.com").is_some_and(|account| account["password"] == PASSWORDS[1]);
    scene.vendor_until("the new password", sent).await;
}
