//! One live object and its account: compared with the vendor, and changed where it differs. Each effect at the vendor is followed by a
//! record of what must survive a crash.

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::user::Mode;
use crate::controller::apply::progress::Progress;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::managed::Managed;
use crate::controller::hints::WITH_ID;
use crate::controller::outcome::{Change, Done, Outcome, Stop};
use crate::controller::ownership::conflict;
use crate::plan::{Account, AccountKind, Creation, GroupSupport, Step, assumed_account, creation};
use crate::providers::{ErrorKind, Priority, quote};

impl<K: Managed> Reconciliation<'_, K> {
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

    /// The verdict on an account that is as the manifest asks, as far as the vendor keeps what it is sent.
    ///
    /// Errors: the vendor shows another value than the one it accepted.
    pub fn verdict(&self, reason: Reason) -> Result<Verdict, Stop> {
        let vendor = self.connection.vendor.title();
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| quote(&value.to_string()), quote);
        if let Some(other) = self.not_kept.iter().find(|value| !value.is_other_form()) {
            let message = format!(
                "{vendor} accepted {} for {} and still shows {}: make the change at {vendor}, or set the manifest to what it shows",
                text(&other.sent),
                other.field,
                text(&other.shown)
            );
            return Err(Stop::because(Reason::NotKept, message));
        }
        let forms = self
            .not_kept
            .iter()
            .map(|value| format!("; it keeps {} as {}, not as {}", value.field, text(&value.shown), text(&value.sent)));
        Ok(Verdict::new(reason, self.summary() + &forms.collect::<String>()))
    }

    /// A bound account: compared with the inventory, and only if that differs, with the vendor.
    pub async fn keep(&mut self, id: String) -> Result<Progress, Stop> {
        conflict::ensure_senior(self.context, &*self.object, &self.connection, &id)?;
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
        if !steps.is_empty() && self.settle_doubts(&account) {
            steps = self.steps(&account)?;
        }
        if self.forced {
            let drifted = self.drifted_grants(&account.id, &steps).await?;
            steps.extend(drifted);
        }
        self.perform_if_there(&account, steps).await
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

    /// The steps that make an account anew whose binding is forgotten: every field is due again, and the password.
    pub fn creation_anew(&self) -> Creation {
        creation(self.connection.table(K::ACCOUNT_KIND), &self.desired, self.password.version().is_some())
    }
}
