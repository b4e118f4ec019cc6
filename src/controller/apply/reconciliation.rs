//! One live object on its way to what its manifest asks for: what it needs, and what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::controller::resolve::password::Password;
use crate::controller::resolve::resolved::{Resolved, Validated};
use crate::plan::{Account, Desired, LastApplied, NotKept, PriorState, Step, plan};
use crate::providers::{Permit, Priority};

/// One object on its way to what its manifest asks for.
pub struct Reconciliation<'a, K> {
    /// What belongs to the process.
    pub context: &'a Context,
    /// The object in its latest state.
    pub object: Arc<K>,
    /// The connection of its credential.
    pub connection: Arc<Connection>,
    /// The account that the manifest describes.
    pub desired: Desired,
    /// What is known of its password.
    pub password: Password,
    /// The mode in effect: Enforce or Plan.
    pub mode: Mode,
    /// Whether the manifest does not mention groups any more, so that those that usher added stay and are forgotten.
    pub releases_groups: bool,
    /// The groups that entries of the manifest stand for, remembered for the time when they cannot be resolved.
    pub resolved: Option<BTreeMap<String, String>>,
    /// Whether the vendor is asked even if the inventory shows the account in sync.
    pub forced: bool,
    /// Whether the vendor shows nothing of the account, so that only the last applied fields are known.
    pub is_write_only: bool,
    /// The values that the vendor accepted and shows otherwise than they were sent.
    pub not_kept: Vec<NotKept>,
    /// What status holds of the account, and will hold.
    pub identity: Identity,
}

impl<'a, K: Managed> Reconciliation<'a, K> {
    /// The reconciliation of a validated object.
    pub fn new(context: &'a Context, validated: Validated<K>) -> Self {
        let Validated { resolved, desired, .. } = validated;
        let Resolved { object, connection, mode, password, releases_groups, entry_groups, is_forced, .. } = resolved;
        let is_write_only = !connection.provider.capabilities().shows_accounts();
        let (before, object) = (object.identity(), (*object).clone());
        let identity = Identity { cluster: context.cluster.id().or(before.cluster.clone()), ..before };
        Self {
            context,
            object,
            connection,
            desired,
            password,
            mode,
            releases_groups,
            resolved: entry_groups,
            forced: is_forced,
            is_write_only,
            not_kept: Vec::new(),
            identity,
        }
    }

    /// The right to call the vendor.
    ///
    /// Errors: the vendor asked to slow down, or the limiter has no room and enqueues the object when it has.
    pub fn permit(&self, priority: Priority) -> Result<Permit, Stop> {
        self.connection.limiter.ensure_open()?;
        self.connection.limiter.try_acquire(priority, &self.object.key()).ok_or(Stop::AwaitsPermit)
    }

    /// Whether accounts can be listed, and so seen.
    pub fn is_listable(&self) -> bool {
        self.connection.provider.capabilities().lists(K::ACCOUNT_KIND)
    }

    /// The steps from the account as `observed` to the manifest.
    pub fn steps(&self, observed: &Account) -> Result<Vec<Step>, Stop> {
        let (sent, added) = (self.known_sent(), self.known_groups());
        let noted = self.identity.not_kept.as_deref().filter(|_| !self.forced).map(LastApplied::parse);
        let not_kept = noted.unwrap_or_default();
        let known = self.prior_state(&sent, &added, &not_kept);
        Ok(plan(self.connection.table(K::ACCOUNT_KIND), &self.desired, observed, known)?)
    }

    /// The groups to which usher added the user.
    pub fn known_groups(&self) -> BTreeSet<String> {
        self.identity.groups.iter().flatten().cloned().collect()
    }

    /// What usher remembers of the account beside what the vendor shows.
    pub fn prior_state<'s>(
        &self,
        sent: &'s LastApplied,
        added: &'s BTreeSet<String>,
        not_kept: &'s LastApplied,
    ) -> PriorState<'s> {
        let is_password_apart = !self.connection.provider.capabilities().change_needs_password;
        PriorState { is_password_apart, not_kept, ..PriorState::new(sent, added, self.password.due().is_some()) }
    }
}
