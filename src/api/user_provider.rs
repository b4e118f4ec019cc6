//! A user's fields of single vendors, one block per vendor. Fields that vendors share are in `user`.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::open_object::OpenObject;
use super::rules;
use super::vendor::Vendor;

/// A user's fields of one vendor.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UserProvider {
    /// Pegasus Gateway.
    Pegasus(PegasusUser),
    /// Amani, which has no fields of its own.
    Amani(Empty),
    /// Plaspy.
    Plaspy(PlaspyUser),
    /// Industrility.
    Industrility(Box<IndustrilityUser>),
    /// OZmap.
    Ozmap(OzmapUser),
}

impl UserProvider {
    /// The vendor this block is for.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        match self {
            Self::Pegasus(_) => Vendor::Pegasus,
            Self::Amani(_) => Vendor::Amani,
            Self::Plaspy(_) => Vendor::Plaspy,
            Self::Industrility(_) => Vendor::Industrility,
            Self::Ozmap(_) => Vendor::Ozmap,
        }
    }
}

/// A block without fields.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Empty {}

/// Pegasus Gateway's own fields of a user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PegasusUser {
    /// Access level, e.g. basic. The vendor never shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// Address of the web application in the login e-mail. The vendor never shows it.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_url: Option<String>,
    /// Whether the vendor e-mails the login instead of getting a password; only on create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_email: Option<bool>,
    /// Whether the user is an administrator with all scopes; true needs allowPrivileged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_staff: Option<bool>,
    /// Whether the user is a super user; true needs allowPrivileged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_superuser: Option<bool>,
    /// Address of a logo. The vendor never shows it.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_url: Option<String>,
    /// Preferences; keys that are not named stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefs: Option<OpenObject>,
    /// Role ids; usher removes roles that are not listed.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<i64>>,
    /// API rights by resource; usher removes rights that are not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeMap<String, Scope>>,
    /// Rights in applications, e.g. pegasus2.0; rights that are not named stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applications: Option<BTreeMap<String, BTreeMap<String, bool>>>,
}

/// A right on a Pegasus resource.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read.
    R,
    /// Read and write.
    W,
}

/// Plaspy's own fields of a user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PlaspyUser {
    /// Country: two-letter code or name as Plaspy lists it.
    #[schemars(length(min = 1, max = 64))]
    pub country: String,
    /// IANA time zone, e.g. America/Bogota.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// Free text. "" clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Message shown to the user. "" clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Message shown when log-in is blocked. "" clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_message: Option<String>,
    /// Tags; keys that are not named stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Privileges; usher removes privileges that are not listed.
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileges: Option<Vec<String>>,
    /// The user's device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Number of devices the user manages.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_devices: Option<i64>,
    /// Time from which the user may log in (RFC 3339).
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$')").message("not a time: write it as 2027-01-01T00:00:00Z"))]
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Time until which the user may log in (RFC 3339).
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$')").message("not a time: write it as 2027-01-01T00:00:00Z"))]
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Industrility's own fields of a user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[x_kube(validation = Rule::new("has(self.role) != has(self.newRole)")
    .message("set either role (an existing UR-… id) or newRole, not both and not neither"))]
#[serde(rename_all = "camelCase")]
pub struct IndustrilityUser {
    /// Name of the organisation.
    #[schemars(length(min = 1, max = 256))]
    pub org_name: String,
    /// Category of the user.
    pub user_type: IndustrilityUserType,
    /// How the user logs in.
    pub user_login_type: IndustrilityLoginType,
    /// User id of the parent, e.g. US-parent@example.com.
    #[schemars(length(min = 1, max = 256))]
    pub parent_user: String,
    /// Id of an existing role, e.g. UR-customer.
    #[x_kube(validation = Rule::new("self.startsWith('UR-')").message("not a role id: it begins with UR-, e.g. UR-customer"))]
    #[schemars(length(min = 4, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A role that the vendor creates together with the user; needs allowPrivileged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_role: Option<IndustrilityRole>,
    /// Applications to install (true) or uninstall (false).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed_apps: Option<BTreeMap<String, bool>>,
    /// Discount percentage per class, e.g. ClassA: "18".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_classes: Option<BTreeMap<String, String>>,
    /// Address of a logo, https.
    #[x_kube(validation = Rule::new("self.startsWith('https://')").message("logoUrl must be an https address"))]
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_url: Option<String>,
}

/// Category of an Industrility user; the spelling is the vendor's.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IndustrilityUserType {
    /// A customer.
    #[default]
    Customer,
    /// A manufacturer; the vendor spells it so.
    Manufacture,
    /// A distributor.
    Distributor,
    /// A sales company.
    SalesCompany,
}

/// How an Industrility user logs in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "UPPERCASE")]
pub enum IndustrilityLoginType {
    /// AWS Cognito.
    #[default]
    Cognito,
    /// Single sign-on.
    Sso,
}

/// A role that Industrility creates together with a user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct IndustrilityRole {
    /// Unique name of the role.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Description of the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Rights per application, e.g. Maps.
    pub permissions: BTreeMap<String, IndustrilityPermission>,
}

/// Rights on one application of Industrility.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct IndustrilityPermission {
    /// May read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read: bool,
    /// May create.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// May update.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub update: bool,
    /// May delete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
}

/// OZmap's own fields of a user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OzmapUser {
    /// Modules that the user may log in to; usher removes modules that are not listed.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub resources: Vec<OzmapResource>,
    /// The user's role.
    pub role: Reference,
    /// Projects and the user's role in each; usher removes projects that are not listed.
    #[schemars(length(max = rules::FLEET_LIMIT))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<OzmapProjectRole>>,
    /// Free text. "" clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<String>,
    /// Language, e.g. en_US.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
}

/// A module of OZmap.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum OzmapResource {
    /// The map.
    #[serde(rename = "OZmap")]
    #[strum(serialize = "OZmap")]
    OzMap,
    /// The mobile application.
    #[serde(rename = "OZmob")]
    #[strum(serialize = "OZmob")]
    OzMob,
    /// Loki.
    Loki,
    /// The API; needs allowPrivileged.
    #[serde(rename = "API")]
    #[strum(serialize = "API")]
    Api,
}

/// A project of OZmap and the role in it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct OzmapProjectRole {
    /// The project.
    pub project: Reference,
    /// The role in it.
    pub role: Reference,
}

/// A role or project at the vendor, by id or by name.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Reference {
    /// By its id.
    Id(#[schemars(length(min = 1, max = 256))] String),
    /// By its name; must match exactly one.
    Name(#[schemars(length(min = 1, max = 256))] String),
}
