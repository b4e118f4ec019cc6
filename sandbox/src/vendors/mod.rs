//! The simulated vendors, as strict as their documents allow.
//!
//! Each vendor is a synchronous answer to a request over its own state (`api::Api`); one server per
//! [`Simulator`] puts a fault layer and a control endpoint in front of it. Their behaviour follows
//! their public documents; where those are silent it is an option, or the stricter reading.
//!
//! This module imports nothing of usher, neither its types nor its clients. It speaks HTTP and JSON only.

mod amani;
mod api;
mod control;
mod delivery;
mod fake;
mod fault;
mod http;
mod industrility;
mod intercept;
mod listener;
mod options;
mod ozmap;
mod pegasus;
mod plaspy;
mod replica;
mod schema;
mod server;
mod simulator;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use fault::{Fault, FaultKind, Flood};
pub use intercept::{Intercept, Ruling};
pub use options::{
    AmaniOptions, AmaniPaging, IndustrilityOptions, Options, OzmapOptions, OzmapWhoami, PegasusOptions, PlaspyOptions,
};
pub use server::Call;
pub use simulator::Simulator;

/// A vendor that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Vendor {
    /// Pegasus Gateway: groups, users and their applications.
    Pegasus,
    /// Amani: users and read-only roles.
    Amani,
    /// Plaspy: users and groups of devices.
    Plaspy,
    /// Industrility: creating users, nothing else.
    Industrility,
    /// `OZmap`: users, roles, projects and project groups.
    Ozmap,
}

impl Vendor {
    /// Every vendor.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The vendor's name as a `ProviderCredential` writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Every operation the vendor has: see [`operation`].
    #[must_use]
    pub fn operations(self) -> &'static [&'static str] {
        self.api().operations()
    }

    fn api(self) -> &'static dyn api::Api {
        match self {
            Self::Pegasus => &pegasus::Pegasus,
            Self::Amani => &amani::Amani,
            Self::Plaspy => &plaspy::Plaspy,
            Self::Industrility => &industrility::Industrility,
            Self::Ozmap => &ozmap::Ozmap,
        }
    }
}

/// Names of operations, the same for every vendor.
pub mod operation {
    /// Getting a session.
    pub const LOGIN: &str = "login";
    /// Renewing a session.
    pub const REFRESH: &str = "refresh";
    /// Asking for the user of the token.
    pub const WHOAMI: &str = "whoami";
    /// Listing users without a filter.
    pub const USERS_LIST: &str = "users.list";
    /// Listing users with a search or filter.
    pub const USERS_FIND: &str = "users.find";
    /// Reading one user.
    pub const USERS_READ: &str = "users.read";
    /// Creating a user.
    pub const USERS_CREATE: &str = "users.create";
    /// Changing a user.
    pub const USERS_UPDATE: &str = "users.update";
    /// Removing a user.
    pub const USERS_DELETE: &str = "users.delete";
    /// Listing groups without a filter.
    pub const GROUPS_LIST: &str = "groups.list";
    /// Listing groups with a search or filter.
    pub const GROUPS_FIND: &str = "groups.find";
    /// Reading one group.
    pub const GROUPS_READ: &str = "groups.read";
    /// Creating a group.
    pub const GROUPS_CREATE: &str = "groups.create";
    /// Changing a group.
    pub const GROUPS_UPDATE: &str = "groups.update";
    /// Removing a group.
    pub const GROUPS_DELETE: &str = "groups.delete";
    /// Reading a user's rights in an application.
    pub const APPS_READ: &str = "apps.read";
    /// Writing a user's rights in an application.
    pub const APPS_WRITE: &str = "apps.write";
    /// Listing or reading roles.
    pub const ROLES_LIST: &str = "roles.list";
    /// Listing or reading projects.
    pub const PROJECTS_LIST: &str = "projects.list";
    /// The vendor's countries.
    pub const COUNTRIES_LIST: &str = "countries.list";
    /// The vendor's time zones.
    pub const TIME_ZONES_LIST: &str = "timeZones.list";
    /// No route of the vendor.
    pub const UNKNOWN: &str = "unknown";

    /// Whether the operation changes users, groups or applications.
    #[must_use]
    pub fn is_write(operation: &str) -> bool {
        matches!(
            operation,
            USERS_CREATE | USERS_UPDATE | USERS_DELETE | GROUPS_CREATE | GROUPS_UPDATE | GROUPS_DELETE | APPS_WRITE
        )
    }

    /// Whether the operation answers with a list.
    #[must_use]
    pub fn is_list(operation: &str) -> bool {
        matches!(operation, USERS_LIST | USERS_FIND | GROUPS_LIST | GROUPS_FIND | ROLES_LIST | PROJECTS_LIST)
    }
}
