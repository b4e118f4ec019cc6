//! One live object on its way to what its manifest asks for: compared with the vendor, and changed where it differs. Each effect at the
//! vendor is followed by a record of what must survive a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::progress::Progress;
use crate::api::Reason;
use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::hints::WITH_ID;
use crate::controller::outcome::{Change, Done, Outcome, Stop};
use crate::controller::resolve::password::Password;
use crate::controller::resolve::resolved::{Resolved, Validated};
use crate::plan::{
    Account, AccountKind, Creation, Desired, GroupSupport, LastApplied, NotKept, PriorState, Step, assumed_account,
    creation, plan,
};
use crate::providers::{ErrorKind, Permit, Priority};

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

    /// Makes the account what the manifest asks for.
    ///
    /// Errors: why it is not; what was done is recorded all the same.
    pub async fn converge(mut self) -> Result<Outcome, Stop> {
        let capabilities = self.connection.provider.capabilities();
        let progress = match (K::ACCOUNT_KIND, capabilities.groups) {
            (AccountKind::Group, GroupSupport::Given) => return self.take_as_given().await.map(Outcome::Done),
            (AccountKind::Group, GroupSupport::ReadOnly) => self.find_only().await?,
            (AccountKind::User, _) | (AccountKind::Group, GroupSupport::Managed) => {
                match self.identity.external_id.clone() {
                    Some(id) if capabilities.updates => self.keep(id).await?,
                    Some(_) => self.compare_with_last_applied()?,
                    None if self.is_without_id() => self.compare_with_last_applied()?,
                    None => self.bind_or_create().await?,
                }
            }
        };
        let change = match progress {
            Progress::Again => return Ok(Outcome::Again),
            Progress::None => None,
            Progress::Change(change) => Some(change),
        };
        let is_seen = !self.is_write_only && !self.is_without_id();
        let reason = if is_seen { Reason::Synced } else { Reason::Created };
        Ok(Outcome::Done(Done { verdict: self.verdict(reason)?, change }))
    }

    pub fn summary(&self) -> String {
        let id = self.identity.external_id.as_deref().unwrap_or_default();
        let vendor = self.connection.vendor.title();
        if self.is_without_id() {
            format!("{}; to go on, {WITH_ID}", self.without_id())
        } else if self.is_write_only {
            format!("{vendor} made it as {id}; it offers no way to check")
        } else {
            format!("{vendor} has it as {id}")
        }
    }

    /// The right to call the vendor.
    ///
    /// Errors: the vendor asked to slow down, or the limiter has no room and enqueues the object when it has.
    pub fn permit(&self, priority: Priority) -> Result<Permit, Stop> {
        self.connection.limiter.ensure_open()?;
        self.connection.limiter.try_acquire(priority, &self.object.key()).ok_or(Stop::AwaitsPermit)
    }

    /// A bound account: compared with the inventory, and only if that differs, with the vendor.
    pub async fn keep(&mut self, id: String) -> Result<Progress, Stop> {
        let listed = self.listed(&id);
        // Where no listing shows whether the account is in sync, an outage is no news about it either.
        let is_compared = listed.is_some();
        if let Some(account) = listed {
            let steps = self.steps(&account)?;
            if steps.is_empty() {
                return self.nothing_to_do(&account).await;
            }
            // An object that waits for nothing but the rate of grants needs no read.
            if self.mode == Mode::Enforce && steps.iter().all(|step| matches!(step, Step::Grant { .. })) {
                self.connection.provider.may_grant(&id)?;
            }
        }
        let _permit = match self.permit(Priority::Edit) {
            Err(Stop::Provider(_)) if !is_compared && self.is_at_rest() => return Err(Stop::Unchanged),
            permit => permit?,
        };
        let Some(account) = self.read(&id, is_compared).await? else { return self.handle_missing(&id).await };
        self.check_binding(&account)?;
        self.check_rights(&account)?;
        let mut steps = self.steps(&account)?;
        if self.forced {
            let drifted = self.drifted_grants(&account.id, &steps).await?;
            steps.extend(drifted);
        }
        self.perform(&account, steps).await
    }

    /// The account in the inventory, if that shows enough of it for a comparison: a list may show less of an account than a read.
    pub fn listed(&self, id: &str) -> Option<Account> {
        let listed = if self.forced { None } else { self.connection.inventory().get(K::ACCOUNT_KIND, id) };
        listed.filter(|account| account.groups.is_some() || self.desired.groups.is_none())
    }

    pub async fn nothing_to_do(&mut self, account: &Account) -> Result<Progress, Stop> {
        let released = self.releases_groups && self.identity.groups.is_some() && self.mode == Mode::Enforce;
        let is_shown = self.connection.inventory().is_shown(K::ACCOUNT_KIND, &account.id);
        self.remember(account, is_shown).await?;
        Ok(if released { Progress::Change(Change::GroupsReleased) } else { Progress::None })
    }

    /// The account as a read shows it; `None`: the vendor answers that there is none.
    pub async fn read(&mut self, id: &str, is_compared: bool) -> Result<Option<Account>, Stop> {
        let begun = Timestamp::now();
        let account = match self.connection.provider.read(K::ACCOUNT_KIND, id).await {
            Ok(Some(account)) => account,
            Ok(None) => return Ok(None),
            Err(error) if error.kind == ErrorKind::Unsupported && !self.is_listable() => {
                self.assumed_account(id.to_owned())?
            }
            Err(error) if error.is_passing() && !is_compared && self.is_at_rest() => return Err(Stop::Unchanged),
            Err(error) => return Err(error.into()),
        };
        self.connection.record_read(K::ACCOUNT_KIND, begun, &account);
        Ok(Some(account))
    }

    /// The account as far as it is known, where the vendor shows none: the fields that were sent, under its last key.
    ///
    /// Errors: groups that others may have added would be lost unnoticed.
    pub fn assumed_account(&mut self, id: String) -> Result<Account, Stop> {
        if self.desired.groups.as_ref().is_some_and(|groups| groups.additive) {
            let vendor = self.connection.vendor.title();
            let message = format!("spec.membership: {vendor} does not show which groups a user is in; set Exclusive");
            return Err(Stop::because(Reason::Unsupported, message));
        }
        self.is_write_only = true;
        let sent = self.known_sent();
        let mut fields = self.desired.fields.clone();
        fields.retain(|name, value| sent.has(name, value));
        Ok(assumed_account(id, &self.identity, self.connection.table(K::ACCOUNT_KIND), fields))
    }

    /// Whether nothing is to be sent, as far as is known without the vendor.
    pub fn is_at_rest(&self) -> bool {
        !self.forced && self.password.due().is_none() && self.object.is_in_sync()
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
        PriorState { not_kept, is_password_apart, ..PriorState::new(sent, added, self.password.due().is_some()) }
    }

    /// The steps that make an account anew whose binding is forgotten: every field is due again, and the password.
    pub fn creation_anew(&self) -> Creation {
        creation(self.connection.table(K::ACCOUNT_KIND), &self.desired, self.password.version().is_some())
    }
}
