//! Steps three and four: plans against what the vendor has and carries the steps out; each effect is followed by recording what must survive a crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::connection::Connection;
use super::context::Context;
use super::outcome::{Deed, Done, Stop};
use super::password::Password;
use super::record::{self, Shelved};
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::status::{Creating, Identity};
use crate::api::user::{AdoptionPolicy, Mode};
use crate::plan::{Account, Changes, Desired, GroupSupport, Known, Sent, Step, Subject, matches_key, plan};
use crate::providers::{Delivery, ErrorKind, Lane, Permit, ProviderError};

/// Beyond the call's own timeout, how long a create with unknown end may still be under way.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

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
        if let Some(account) = listed.filter(|_| !self.forced)
            && self.steps(Some(&account))?.is_empty()
        {
            let released = self.releases_groups && self.identity.groups.is_some();
            self.remember(&account).await?;
            return Ok(released.then_some(Deed::GroupsReleased));
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

    /// Carries out steps on an account that was just read.
    async fn perform(&mut self, account: &Account, steps: Vec<Step>) -> Result<Option<Deed>, Stop> {
        if steps.is_empty() {
            self.connection.wrote(K::SUBJECT, &account.id, Some(account.clone()));
            self.remember(account).await?;
            return Ok(None);
        }
        self.only_if_enforced(&account.id, &steps)?;
        let deed = self.deed(&steps);
        let mut after = account.clone();
        for step in steps {
            match step {
                Step::Update(changes) => {
                    self.update(account, &changes).await?;
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

    async fn grant(
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
    async fn remember(&mut self, account: &Account) -> Result<(), Stop> {
        self.identity.key = Some(self.desired.key().to_owned());
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

    /// The groups that are there because of us, once `account` is what it shall be.
    fn added_to(&self, account: &Account) -> Option<Vec<String>> {
        let Some(membership) = &self.desired.groups else {
            return self.identity.groups.clone().filter(|_| !self.releases_groups);
        };
        let before: BTreeSet<&String> = self.identity.groups.iter().flatten().collect();
        let there = account.groups.clone().unwrap_or_default();
        let ours = membership.wanted.iter().filter(|group| before.contains(group) || !there.contains(*group));
        Some(ours.cloned().collect::<Vec<_>>()).filter(|groups| !groups.is_empty())
    }

    /// An account that is not bound: looked for, then made, claimed or taken.
    async fn make(&mut self) -> Result<Deed, Stop> {
        if self.connection.closing {
            let why = "it is being deleted and starts nothing new";
            return Err(Stop::waiting(Reason::WaitingForCredential, &self.connection.key, why));
        }
        self.wait_out_doubt()?;
        let _place = self.enter(Lane::New)?;
        if !self.connection.provider.capabilities().readable {
            return self.create().await;
        }
        if let Some(id) = self.object.external_id().map(str::to_owned) {
            return self.bind_existing(&id).await;
        }
        match self.look_up().await?.as_slice() {
            [] => self.create().await,
            [one] if self.claims(one) => self.claim(one.clone()).await,
            [one] => {
                self.not_held_by_another(&one.id)?;
                self.adopt(one.clone()).await
            }
            several => Err(Stop::because(
                Reason::AmbiguousMatch,
                format!(
                    "{} accounts of {} match {}: remove the surplus there, or name one in spec.externalId",
                    several.len(),
                    self.connection.vendor.title(),
                    self.desired.key()
                ),
            )),
        }
    }

    /// Errors: an earlier create may still be under way.
    fn wait_out_doubt(&self) -> Result<(), Stop> {
        let Some(creating) = &self.identity.creating else { return Ok(()) };
        let timeout = SignedDuration::try_from(self.context.settings.call_timeout).unwrap_or_default();
        let until = creating.at + timeout + GRACE;
        if until > Timestamp::now() { Err(Stop::InDoubt(until)) } else { Ok(()) }
    }

    /// Accounts with the natural key: from a fresh listing for users, by a call of its own where names are not unique or
    /// the listing is older.
    async fn look_up(&self) -> Result<Vec<Account>, Stop> {
        let (connection, table) = (&self.connection, self.connection.table(K::SUBJECT));
        let in_doubt = self.identity.creating.is_some();
        let wide = {
            let mut index = connection.index();
            let fresh = index.is_fresh(K::SUBJECT, &self.object.key(), Timestamp::now());
            if K::SUBJECT == Subject::User && fresh && !in_doubt {
                return Ok(index.matching(K::SUBJECT, table, &self.desired));
            }
            let many = connection.gate.waiting_for_new() > index.pages(K::SUBJECT);
            K::SUBJECT == Subject::User && !in_doubt && (many || !connection.provider.capabilities().filter)
        };
        if wide {
            connection.index().want(K::SUBJECT);
            self.context.wake(connection.key.clone());
            return Err(Stop::Parked);
        }
        Ok(connection.provider.find(K::SUBJECT, &self.desired).await?)
    }

    /// Whether `account` is the one that our create with unknown end made.
    fn claims(&self, account: &Account) -> bool {
        let Some(creating) = &self.identity.creating else { return false };
        let not_older = account.created.is_none_or(|created| created >= creating.at - SignedDuration::from_secs(5));
        not_older && creating.key == self.desired.key()
    }

    /// Binds the account that our own lost create made; everything that create may have left open is then due.
    async fn claim(&mut self, account: Account) -> Result<Deed, Stop> {
        self.bind(&account.id, false).await?;
        self.connection.wrote(K::SUBJECT, &account.id, Some(account.clone()));
        let steps = self.steps(Some(&account))?;
        self.perform(&account, steps).await?;
        Ok(Deed::Created)
    }

    /// Takes an account that was there before, if the manifest allows.
    async fn adopt(&mut self, account: Account) -> Result<Deed, Stop> {
        let policy = self.object.adoption().or(self.connection.spec.adoption_policy).unwrap_or_default();
        if policy == AdoptionPolicy::Never {
            return Err(self.already_exists());
        }
        self.take(account).await
    }

    fn already_exists(&self) -> Stop {
        Stop::because(
            Reason::AlreadyExists,
            format!(
                "{} has an account {} that usher did not make: set spec.adoptionPolicy: Adopt to take it over (spec.mode: Plan first shows what would change), or remove it there",
                self.connection.vendor.title(),
                self.desired.key()
            ),
        )
    }

    /// Binds the account that `spec.externalId` names, if it is the one the manifest describes.
    async fn bind_existing(&mut self, id: &str) -> Result<Deed, Stop> {
        let vendor = self.connection.vendor.title();
        let Some(account) = self.connection.provider.read(K::SUBJECT, id).await? else {
            return Err(Stop::because(
                Reason::NotFound,
                format!("spec.externalId: {vendor} has no {id}; correct the id"),
            ));
        };
        let table = self.connection.table(K::SUBJECT);
        if K::SUBJECT == Subject::User && !self.desired.keys.iter().any(|key| matches_key(table, &account, key)) {
            let found = account.text("username").or(account.text("email")).unwrap_or("another account");
            let message = format!(
                "spec.externalId: {id} is {found} at {vendor}, not {}; correct the id or the e-mail",
                self.desired.key()
            );
            return Err(Stop::because(Reason::Invalid, message));
        }
        self.take(account).await
    }

    async fn take(&mut self, account: Account) -> Result<Deed, Stop> {
        if self.connection.spec.allow_existing == Some(crate::api::credential::AllowExisting::None) {
            let message = format!(
                "the credential {} lets nobody take existing accounts: see its spec.allowExisting",
                self.connection.key.name
            );
            return Err(Stop::because(Reason::AlreadyExists, message));
        }
        self.not_held_by_another(&account.id)?;
        self.check_rights(&account)?;
        // The password that is there stays: the present value of the Secret is the baseline.
        if let Password::Due(_, version) = &self.password {
            self.password = Password::Sent(version.clone());
        }
        let steps = self.steps(Some(&account))?;
        self.only_if_enforced(&account.id, &steps)?;
        self.bind(&account.id, true).await?;
        self.perform(&account, steps).await?;
        Ok(Deed::Adopted)
    }

    /// Errors: another object is bound to this account.
    fn not_held_by_another(&self, id: &str) -> Result<(), Stop> {
        let credential = self.connection.key.clone();
        let others = K::shelf(self.context).all(|other| {
            other.credential_key() == credential
                && other.key() != self.object.key()
                && other.identity().external_id.as_deref() == Some(id)
        });
        match others.first() {
            Some(other) => Err(Stop::because(
                Reason::Duplicate,
                format!("{} holds account {id} already: delete one of the two objects", other.key()),
            )),
            None => Ok(()),
        }
    }

    /// Makes the account: `creating` first, then the call, then the id.
    async fn create(&mut self) -> Result<Deed, Stop> {
        self.check_creation()?;
        let mut steps = self.steps(None)?;
        self.only_if_enforced(self.desired.key(), &steps)?;
        let in_doubt = self.identity.creating.is_some();
        let Step::Create(changes) = steps.remove(0) else { return Err(Stop::Parked) };
        self.object = record::hold(self.context, self.object.clone()).await?;
        self.announce().await?;
        let made = self.connection.provider.create(K::SUBJECT, &changes, self.password.due()).await;
        let account = match made {
            Ok(account) => account,
            Err(error) => return self.not_created(error, in_doubt).await,
        };
        self.log("create", &account.id, &changes.names());
        let account = Account { groups: changes.groups.clone().or(account.groups.clone()), ..account.with(&changes) };
        let empty = Account { id: account.id.clone(), ..Account::default() };
        self.connection.wrote(K::SUBJECT, &account.id, Some(account.clone()));
        self.identity.external_id = Some(account.id.clone());
        self.identity.creating = None;
        self.identity.adopted = None;
        if steps.is_empty() {
            self.remember(&empty).await?;
        } else {
            self.bind(&account.id, false).await?;
            for step in steps {
                if let Step::Grant { application, rights } = step {
                    self.grant(&account.id, &application, &rights).await?;
                }
            }
            self.remember(&empty).await?;
        }
        Ok(Deed::Created)
    }

    /// Writes `creating`, so that an account made from now on is known to be ours even if its answer is lost.
    async fn announce(&mut self) -> Result<(), Stop> {
        self.identity.creating = Some(Creating {
            at: Timestamp::now(),
            key: self.desired.key().to_owned(),
            account: self.connection.account.clone(),
        });
        self.identity.account = Some(self.connection.account.clone());
        self.object = record::identity(self.context, &*self.object, &self.identity, true).await?;
        Ok(())
    }

    /// A create that was refused leaves no doubt; one whose answer was lost does.
    async fn not_created(&mut self, error: ProviderError, in_doubt: bool) -> Result<Deed, Stop> {
        if error.kind == ErrorKind::Conflict && in_doubt {
            return self.own_after_all(error).await;
        }
        if error.delivery == Delivery::NoEffect && !in_doubt {
            self.identity.creating = None;
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        }
        if error.kind == ErrorKind::Conflict { Err(self.already_exists()) } else { Err(error.into()) }
    }

    /// "It exists", said to a create that repeats one with unknown end: ours, if a look shows so or none is possible.
    async fn own_after_all(&mut self, error: ProviderError) -> Result<Deed, Stop> {
        if !self.connection.provider.capabilities().readable {
            let id = format!("US-{}", self.desired.key());
            self.bind(&id, false).await?;
            return Ok(Deed::Created);
        }
        let found = self.connection.provider.find(K::SUBJECT, &self.desired).await?;
        match found.as_slice() {
            [one] if self.claims(one) => self.claim(one.clone()).await,
            [_] => Err(self.already_exists()),
            _ => Err(error.into()),
        }
    }

    /// Binds the object to an account.
    async fn bind(&mut self, id: &str, found: bool) -> Result<(), Stop> {
        self.object = record::hold(self.context, self.object.clone()).await?;
        self.identity.external_id = Some(id.to_owned());
        self.identity.key = Some(self.desired.key().to_owned());
        self.identity.account = Some(self.connection.account.clone());
        self.identity.creating = None;
        self.identity.adopted = found.then_some(true);
        if found && let Some(version) = self.password.version() {
            self.identity.password_version = Some(version.to_owned());
        }
        self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        Ok(())
    }
}
