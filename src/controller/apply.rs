//! Steps three and four: plans against what the vendor has and carries the steps out; each effect is followed by recording what must survive a crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::info;

use super::connection::Connection;
use super::context::Context;
use super::outcome::{Deed, Done, Stop};
use super::password::Password;
use super::record::{self, Shelved};
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::plan::{Account, Changes, Desired, GroupSupport, Known, Sent, Step, Subject, plan};
use crate::providers::{ErrorKind, Lane, Permit};

/// One object on its way to what it shall be.
pub struct Case<'a, K> {
    /// What every reconcile can reach.
    pub context: &'a Context,
    /// The object as Kubernetes last answered.
    pub object: Arc<K>,
    /// The way to its vendor.
    pub connection: Arc<Connection>,
    /// What the account shall be.
    pub desired: Desired,
    /// What is known of its password.
    pub password: Password,
    /// The mode in effect: Enforce or Plan.
    pub mode: Mode,
    /// Whether the manifest no longer speaks of groups, so that those we added are nobody's business any more.
    pub releases_groups: bool,
    /// Whether the vendor is asked even if the index says all is well.
    pub forced: bool,
    /// What status says of the account, and will say.
    pub identity: Identity,
}

impl<K: Shelved> Case<'_, K> {
    /// Makes the account what it shall be.
    ///
    /// Errors: why that did not come about; what was done is recorded all the same.
    pub async fn converge(&mut self) -> Result<Done, Stop> {
        let capabilities = self.connection.provider.capabilities();
        let did = match (K::SUBJECT, capabilities.groups) {
            (Subject::Group, GroupSupport::Given) => return self.take_as_given().await,
            (Subject::Group, GroupSupport::ReadOnly) => self.find_only().await?,
            (Subject::User, _) | (Subject::Group, GroupSupport::Managed) => match self.identity.external_id.clone() {
                Some(id) if capabilities.readable => self.keep(id).await?,
                Some(_) => self.compare_blindly()?,
                None => Some(self.make().await?),
            },
        };
        let reason = if capabilities.readable { Reason::Synced } else { Reason::Created };
        Ok(Done { verdict: Verdict::new(reason, self.summary()), did })
    }

    fn summary(&self) -> String {
        let id = self.identity.external_id.as_deref().unwrap_or_default();
        let vendor = self.connection.vendor.title();
        if self.connection.provider.capabilities().readable {
            format!("{vendor} has it as {id}")
        } else {
            format!("{vendor} made it as {id}; it offers no way to check")
        }
    }

    /// A place at the gate.
    ///
    /// Errors: parked until there is room, or the vendor asked to slow down.
    pub(super) fn enter(&self, lane: Lane) -> Result<Permit, Stop> {
        self.connection.gate.open()?;
        self.connection.gate.try_enter(lane, &self.object.key()).ok_or(Stop::Parked)
    }

    /// An account that is bound: compared with the index, and only if that differs, with the vendor.
    async fn keep(&mut self, id: String) -> Result<Option<Deed>, Stop> {
        let listed = self.connection.index().get(K::SUBJECT, &id).cloned();
        if let Some(account) = listed.filter(|_| !self.forced) {
            let steps = self.steps(Some(&account))?;
            if steps.is_empty() {
                let released = self.releases_groups && self.identity.groups.is_some() && self.mode == Mode::Enforce;
                self.remember(&account).await?;
                return Ok(released.then_some(Deed::GroupsReleased));
            }
            // Whoever waits for nothing but his turn there does not read in vain.
            if self.mode == Mode::Enforce && steps.iter().all(|step| matches!(step, Step::Grant { .. })) {
                self.connection.provider.may_grant(&id)?;
            }
        }
        let _place = self.enter(Lane::Edit)?;
        let Some(account) = self.connection.provider.read(K::SUBJECT, &id).await? else {
            return self.vanished(&id).await;
        };
        self.check_binding(&account)?;
        self.check_rights(&account)?;
        let steps = self.steps(Some(&account))?;
        self.perform(&account, steps).await
    }

    pub(super) fn steps(&self, observed: Option<&Account>) -> Result<Vec<Step>, Stop> {
        let sent = self.identity.sent.as_deref().map(Sent::parse).unwrap_or_default();
        let added: BTreeSet<String> = self.identity.groups.iter().flatten().cloned().collect();
        let known = Known { sent: &sent, added: &added, password_due: self.password.due().is_some() };
        Ok(plan(self.connection.table(K::SUBJECT), &self.desired, observed, known)?)
    }

    /// The steps that make an account anew whose binding is forgotten: everything is due again, the password too.
    pub(super) fn steps_anew(&self) -> Result<Vec<Step>, Stop> {
        let password_due = self.password.version().is_some();
        let known = Known { sent: &Sent::default(), added: &BTreeSet::new(), password_due };
        Ok(plan(self.connection.table(K::SUBJECT), &self.desired, None, known)?)
    }

    /// Carries out steps on an account that was just read.
    pub(super) async fn perform(&mut self, account: &Account, steps: Vec<Step>) -> Result<Option<Deed>, Stop> {
        if steps.is_empty() {
            self.connection.wrote(K::SUBJECT, &account.id, Some(account.clone()));
            self.remember(account).await?;
            return Ok(None);
        }
        self.only_if_enforced(&account.id, &steps)?;
        let deed = self.deed(&steps);
        self.foresee(account);
        if self.identity.groups != self.object.identity().groups {
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        }
        let mut after = account.clone();
        for step in steps {
            match step {
                Step::Update(changes) => {
                    match self.update(account, &changes).await {
                        // Just read, and not to be found: as much a doubt as one that cannot be read.
                        Err(Stop::Provider(error)) if error.kind == ErrorKind::NotFound => {
                            return self.vanished(&account.id).await;
                        }
                        updated => updated?,
                    }
                    after = after.with(&changes);
                }
                Step::Grant { application, rights } => self.grant(&account.id, &application, &rights).await?,
                Step::Create(_) => {}
            }
        }
        self.connection.wrote(K::SUBJECT, &account.id, Some(after));
        self.remember(account).await?;
        Ok(Some(deed))
    }

    /// Counts groups among ours that are about to be added: once they are there, nobody could tell who added them.
    pub(super) fn foresee(&mut self, account: &Account) {
        let to_come = self.added_to(account).unwrap_or_default();
        let ours: BTreeSet<String> = self.identity.groups.iter().flatten().cloned().chain(to_come).collect();
        self.identity.groups = Some(Vec::from_iter(ours)).filter(|groups| !groups.is_empty());
    }

    /// Why a change is made: the manifest or Secret changed, or the vendor's side did.
    fn deed(&self, steps: &[Step]) -> Deed {
        let password_only = |step: &Step| matches!(step, Step::Update(changes) if changes.names() == ["password"]);
        let seen = self.object.status().map(|status| status.report.observed_generation);
        if steps.iter().all(password_only) {
            Deed::PasswordSent
        } else if seen == Some(self.object.generation()) && super::resolve::is_settled(&*self.object) {
            self.context.tally.drift_repaired(K::KIND.into(), self.connection.vendor);
            Deed::DriftRepaired
        } else {
            Deed::Updated
        }
    }

    async fn update(&self, account: &Account, changes: &Changes) -> Result<(), Stop> {
        let password = self.password.due().filter(|_| changes.password);
        self.connection.provider.update(K::SUBJECT, account, changes, password).await?;
        self.log("update", &account.id, &changes.names());
        Ok(())
    }

    pub(super) async fn grant(
        &self,
        id: &str,
        application: &str,
        rights: &std::collections::BTreeMap<String, bool>,
    ) -> Result<(), Stop> {
        self.connection.provider.grant(id, application, rights).await?;
        self.log("grant", id, &[application.to_owned()]);
        Ok(())
    }

    /// One line for every vendor write: what, through which credential, on which account, which fields; never values.
    pub(super) fn log(&self, operation: &str, account: &str, fields: &[String]) {
        info!(
            object = %self.object.key(),
            generation = self.object.generation(),
            credential = %self.connection.key,
            account,
            operation,
            fields = fields.join(","),
            "vendor write"
        );
    }

    /// Records what was reached with `account`, if that is news.
    pub(super) async fn remember(&mut self, account: &Account) -> Result<(), Stop> {
        self.identity.key = Some(self.key(account));
        self.identity.sent = Sent::of(self.connection.table(K::SUBJECT), &self.desired).text();
        self.identity.groups = self.added_to(account);
        if let Some(version) = self.password.version() {
            self.identity.password_version = Some(version.to_owned());
        }
        if self.identity != self.object.identity() && self.mode == Mode::Enforce {
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        }
        Ok(())
    }

    /// The natural key that the account will carry: the manifest's, or its own where the manifest leaves that alone.
    pub(super) fn key(&self, account: &Account) -> String {
        let field = self.desired.keys.first().map_or("", |key| key.field);
        let own = account.text(field).filter(|_| !self.desired.fields.contains_key(field));
        own.unwrap_or(self.desired.key()).to_owned()
    }

    /// The groups that are there because of us, once `account` is what it shall be.
    fn added_to(&self, account: &Account) -> Option<Vec<String>> {
        let Some(membership) = &self.desired.groups else {
            return self.identity.groups.clone().filter(|_| !self.releases_groups);
        };
        let before: BTreeSet<&String> = self.identity.groups.iter().flatten().collect();
        let there = account.groups.clone().unwrap_or_default();
        let given = membership.wanted.iter().filter(|group| before.contains(group) || !there.contains(*group));
        let ours = given.chain(membership.spared.iter().filter(|group| before.contains(group)));
        Some(ours.cloned().collect::<Vec<_>>()).filter(|groups| !groups.is_empty())
    }
}
