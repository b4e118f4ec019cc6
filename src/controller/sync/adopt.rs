//! Binds an object to an account that is there: the one that its own create made, its missing one, or one that was there before.

use crate::controller::apply::progress::Progress;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::finalizer;
use crate::controller::cluster::managed::Managed;
use crate::controller::outcome::{Change, Stop};
use crate::controller::ownership::conflict;
use crate::controller::resolve::password::Password;
use crate::controller::resolve::{access, password};
use crate::plan::{Account, AccountKind};

impl<K: Managed> Reconciliation<'_, K> {
    /// Binds the account that the object's own pending create made. Whatever that create did not carry is due then.
    pub async fn claim(&mut self, account: Account) -> Result<Progress, Stop> {
        if self.identity.missing.as_ref() != Some(&account.id) {
            self.note_password_of_create();
        }
        self.only_if_binding("bind", &account.id, &self.steps(&account)?)?;
        self.bind(&account, false).await?;
        self.connection.record_write(K::ACCOUNT_KIND, &account.id, Some(account.clone()));
        let steps = self.steps(&account)?;
        Ok(self.perform_if_there(&account, steps).await?.completes(Change::Created))
    }

    /// Notes the password that the create carried, so that it is sent again only if its value changed since.
    pub fn note_password_of_create(&mut self) {
        let creating = self.identity.creating.as_mut();
        let Some(sent) = creating.and_then(|creating| creating.password_version.take()) else { return };
        self.password = self.password.clone().after(&sent);
        if self.password.due().is_none() {
            self.identity.password_version = Some(self.password.version().map_or(sent, str::to_owned));
        }
    }

    /// Takes over an account that was there before, as the manifest allows.
    pub async fn adopt(&mut self, account: Account) -> Result<Progress, Stop> {
        self.settle_pending_create().await?;
        let whole = self.whole(account).await?;
        self.take(whole).await
    }

    /// `account` as a read shows it, if it was found in a list that shows less of it, among that the rights that forbid to touch it.
    async fn whole(&self, account: Account) -> Result<Account, Stop> {
        let is_lean = K::ACCOUNT_KIND == AccountKind::User && account.groups.is_none();
        let read = if is_lean { self.connection.provider.read(K::ACCOUNT_KIND, &account.id).await? } else { None };
        Ok(read.unwrap_or(account))
    }

    /// Binds an account that was there before, and makes it what the manifest asks for.
    pub async fn take(&mut self, account: Account) -> Result<Progress, Stop> {
        let field = if self.object.external_id().is_some() { "spec.externalId" } else { "spec.adoptionPolicy" };
        access::only_if_existing_allowed(&self.connection, &*self.object, field)?;
        conflict::ensure_unbound(self.context, &*self.object, &self.connection, &account.id)?;
        self.check_rights(&account)?;
        // The account keeps its password: the present value of the Secret is the baseline.
        match &self.password {
            Password::Due(_, version) => self.password = Password::Sent(version.clone()),
            Password::Missing(_) => self.password = Password::Sent(password::ADOPTED.into()),
            Password::Sent(_) | Password::Unmanaged => {}
        }
        if self.identity.is_missing() {
            self.forget_missing();
        }
        let steps = self.steps(&account)?;
        self.only_if_binding("adopt", &account.id, &steps)?;
        self.claim_planned_groups(&account);
        self.bind(&account, true).await?;
        self.connection.record_write(K::ACCOUNT_KIND, &account.id, Some(account.clone()));
        Ok(self.perform_if_there(&account, steps).await?.completes(Change::Adopted))
    }

    /// Binds the missing account again, with all that is known of it. The next reconcile compares it.
    pub async fn rebind(&mut self) -> Result<Progress, Stop> {
        let id = self.identity.missing.clone().unwrap_or_default();
        conflict::ensure_unbound(self.context, &*self.object, &self.connection, &id)?;
        self.only_if_binding("bind", &id, &[])?;
        self.identity.external_id = self.identity.missing.take();
        self.identity.key.get_or_insert_with(|| self.desired.key().to_owned());
        self.identity.account = Some(self.connection.account.clone());
        self.identity.refused = None;
        self.store_identity(false).await?;
        self.context.cluster.enqueue(self.object.key());
        Ok(Progress::Again)
    }

    /// Binds the object to an account.
    pub async fn bind(&mut self, account: &Account, found: bool) -> Result<(), Stop> {
        self.object = finalizer::add_finalizer(&self.context.cluster, self.object.clone()).await?;
        self.identity.external_id = Some(account.id.clone());
        self.identity.key = Some(self.key(account));
        self.record_names(account);
        self.identity.account = Some(self.connection.account.clone());
        self.identity.cluster = self.context.cluster.id().or(self.identity.cluster.take());
        self.identity.creating = None;
        let missing = self.identity.missing.take();
        self.identity.refused = None;
        self.identity.adopted = found.then_some(true);
        if !found && missing.as_ref() != Some(&account.id) && self.desired.groups.is_some() {
            // An account that was just made is in its groups because of usher.
            let groups = account.groups.iter().flatten().cloned().collect::<Vec<_>>();
            self.identity.groups = Some(groups).filter(|groups| !groups.is_empty());
        }
        if found && let Some(version) = self.password.version() {
            self.identity.password_version = Some(version.to_owned());
        }
        self.store_identity(false).await
    }
}
