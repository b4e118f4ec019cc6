//! What must happen in Kubernetes for a vendor's operation to be called, and where its failure must show.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Simulator, Vendor};

use super::stage::{Stage, email};
use super::strike::Strike;
use crate::contract::ready;
use crate::scene::merge;

/// Asks for a fresh comparison.
const RECONCILE_AT: &str = "usher.dev/reconcile-at";

/// Something to do that makes a vendor's operation happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The session ends, and a sweep is asked for.
    EndSession,
    /// The access token ends, and a sweep is asked for.
    EndToken,
    /// The Secret is written anew.
    Reconnect,
    /// A sweep is asked for.
    Sweep,
    /// A user is applied.
    CreateUser,
    /// A user with rights in an application is applied.
    GrantUser,
    /// A user is changed.
    EditUser,
    /// A user is deleted.
    DeleteUser,
    /// A group is applied.
    CreateGroup,
    /// A group is changed.
    EditGroup,
    /// A group is deleted.
    DeleteGroup,
}

/// The object whose status must say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The credential.
    Credential,
    /// The user.
    User,
    /// The group.
    Group,
}

impl Act {
    /// What makes `operation` happen.
    pub fn of(operation: &str) -> Self {
        match operation {
            "login" => Self::EndSession,
            "refresh" => Self::EndToken,
            "whoami" => Self::Reconnect,
            "users.find" | "users.create" => Self::CreateUser,
            "users.read" | "users.update" => Self::EditUser,
            "users.delete" => Self::DeleteUser,
            "groups.find" | "groups.create" => Self::CreateGroup,
            "groups.read" | "groups.update" => Self::EditGroup,
            "groups.delete" => Self::DeleteGroup,
            "apps.read" | "apps.write" => Self::GrantUser,
            list if list.ends_with("list") => Self::Sweep,
            unknown => panic!("{unknown}: say in tests/it/faults/act.rs what makes it happen"),
        }
    }

    /// Where its failure shows.
    pub fn target(self) -> Target {
        match self {
            Self::EndSession | Self::EndToken | Self::Reconnect | Self::Sweep => Target::Credential,
            Self::CreateUser | Self::GrantUser | Self::EditUser | Self::DeleteUser => Target::User,
            Self::CreateGroup | Self::EditGroup | Self::DeleteGroup => Target::Group,
        }
    }

    /// Whether its failure shows on the credential.
    pub fn is_about_credential(self) -> bool {
        self.target() == Target::Credential
    }

    /// Whether it takes an account away.
    pub fn is_removal(self) -> bool {
        matches!(self, Self::DeleteUser | Self::DeleteGroup)
    }

    /// So many cells share a scene: few where one takes long, one where the vendor allows few calls.
    pub fn cells_a_scene(self) -> usize {
        match self {
            Self::GrantUser => 1,
            Self::CreateUser | Self::CreateGroup => 2,
            _ => 7,
        }
    }

    /// Makes what must be there before.
    pub async fn prepare(self, stage: &Stage, name: &str) {
        let scene = &stage.scene;
        match self {
            Self::EditUser | Self::DeleteUser => {
                scene.user(name, stage.person(name, json!({}))).await;
                scene.user_says(name, ready(scene.vendor.vendor())).await;
            }
            Self::EditGroup | Self::DeleteGroup => {
                scene.group(name, group(stage, name, json!({}))).await;
                scene.group_says(name, "Synced").await;
            }
            _ => {}
        }
    }

    /// Does it, while `strike` goes on.
    pub async fn begin(self, stage: &Stage, name: &str, strike: &Strike) {
        let scene = &stage.scene;
        match self {
            Self::EndSession => scene.vendor.revoke_tokens(),
            Self::EndToken => scene.vendor.expire_access_tokens(),
            Self::Reconnect => {
                let before = scene.vendor.count("whoami");
                stage.touch_secret(name).await;
                let comes = |vendor: &Simulator| vendor.count("whoami") > before || !strike.lets_calls_through();
                scene.vendor_until("the new connection", comes).await;
            }
            Self::Sweep => {}
            Self::CreateUser => scene.user(name, stage.person(name, json!({}))).await,
            Self::GrantUser => {
                let rights = json!({"provider": {"pegasus": {"applications": {"pegasus2.0": {"tracking": true}}}}});
                scene.user(name, stage.person(name, rights)).await;
            }
            Self::EditUser => scene.user(name, stage.person(name, stage.sample.edit.0.clone())).await,
            Self::DeleteUser => scene.delete::<PlatformUser>(name).await,
            Self::CreateGroup => scene.group(name, group(stage, name, json!({}))).await,
            Self::EditGroup => scene.group(name, group(stage, name, other(scene.vendor.vendor()))).await,
            Self::DeleteGroup => scene.delete::<PlatformGroup>(name).await,
        }
        if self.is_about_credential() {
            self.nudge(stage, "main", name).await;
        }
    }

    /// Asks for a fresh look at the object in question, if it is still there.
    pub async fn nudge(self, stage: &Stage, name: &str, value: &str) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {RECONCILE_AT: value}}}));
        let params = PatchParams::default();
        let nudged = match self.target() {
            Target::Credential => stage.scene.api::<ProviderCredential>().patch(name, &params, &patch).await.map(drop),
            Target::User => stage.scene.api::<PlatformUser>().patch(name, &params, &patch).await.map(drop),
            Target::Group => stage.scene.api::<PlatformGroup>().patch(name, &params, &patch).await.map(drop),
        };
        match nudged {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => other.unwrap(),
        }
    }

    /// The differences from the expected end state at the vendor.
    pub fn shortfall(self, stage: &Stage, name: &str) -> Option<String> {
        let vendor = &stage.scene.vendor;
        let (user, group) = (vendor.user(&email(name)), vendor.group(&title(name)));
        let (_, place, value) = &stage.sample.edit;
        let holds = match self {
            Self::EndSession | Self::EndToken | Self::Reconnect | Self::Sweep => true,
            Self::CreateUser => user.is_some(),
            Self::GrantUser => vendor.count("apps.write") > 0 && user.is_some(),
            Self::EditUser => user.as_ref().is_some_and(|user| user.pointer(place) == Some(value)),
            Self::DeleteUser => user.is_none(),
            Self::CreateGroup => group.is_some(),
            Self::EditGroup => group.as_ref().is_some_and(is_other),
            Self::DeleteGroup => group.is_none(),
        };
        (!holds).then(|| format!("the vendor has {user:?} and {group:?}"))
    }
}

fn title(name: &str) -> String {
    format!("Group {name}")
}

fn group(stage: &Stage, name: &str, further: Value) -> Value {
    let mut spec = stage.sample.group.0.clone();
    merge(&mut spec, json!({"displayName": title(name)}));
    merge(&mut spec, further);
    spec
}

/// A change of a group.
fn other(vendor: Vendor) -> Value {
    match vendor {
        Vendor::Pegasus => json!({"provider": {"pegasus": {"city": "Bogota"}}}),
        Vendor::Plaspy => json!({"provider": {"plaspy": {"description": "other"}}}),
        Vendor::Ozmap => json!({"provider": {"ozmap": {"projects": [{"name": "Example City"}]}}}),
        Vendor::Amani | Vendor::Industrility => json!({}),
    }
}

/// Whether a group shows that change.
fn is_other(group: &Value) -> bool {
    group["city"] == "Bogota"
        || group["description"] == "other"
        || group["projects"].as_array().is_some_and(|p| p.len() == 1)
}
