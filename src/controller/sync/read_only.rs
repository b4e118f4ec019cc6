//! Accounts and groups that a vendor does not let usher search, read or write: what it gives is taken as given. Nothing is written to a
//! vendor.

use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::controller::apply::progress::Progress;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::managed::Managed;
use crate::controller::hints::WITH_ID;
use crate::controller::outcome::{Done, Stop};
use crate::controller::resolve::{access, groups};
use crate::plan::AccountKind;

impl<K: Managed> Reconciliation<'_, K> {
    /// A group of a vendor without a group API: the id is taken as given.
    pub async fn take_as_given(&mut self) -> Result<Done, Stop> {
        let vendor = self.connection.vendor.title();
        let Some(id) = self.object.external_id().map(str::to_owned) else {
            let message = format!("{vendor} has no API for groups: set spec.externalId to the id of an existing one");
            return Err(Stop::because(Reason::Invalid, message));
        };
        self.bind_found(&id).await?;
        let verdict =
            Verdict::new(Reason::Unverified, format!("{id} is taken as given; {vendor} offers no way to check"));
        Ok(Done { verdict, change: None })
    }

    /// A group that can be found but not written: by externalId or name, exactly one.
    pub async fn find_only(&mut self) -> Result<Progress, Stop> {
        let vendor = self.connection.vendor.title();
        // What was found by a name is kept, even if it is renamed there, until the manifest names another one.
        let same_name = self.identity.key.as_deref() == Some(self.desired.key());
        let known = self.identity.external_id.clone().filter(|_| same_name);
        let wanted = self.object.external_id().map(str::to_owned).or(known);
        let found: Vec<String> = if let Some(id) = &wanted {
            let is_listed = self.connection.inventory().has(AccountKind::Group, id);
            is_listed.then(|| id.clone()).into_iter().collect()
        } else {
            let (context, object, key) = (self.context, &*self.object, self.desired.key());
            groups::named(context, object, &self.connection, key)?.into_iter().map(|group| group.id).collect()
        };
        match found.as_slice() {
            [id] => self.bind_found(id).await.map(|()| Progress::None),
            // A vendor that shows no group at all any more is no evidence against one that was there.
            [] if self.object.is_in_sync() && self.connection.inventory().count(AccountKind::Group) == 0 => {
                Err(Stop::Unchanged)
            }
            [] => Err(Stop::because(
                Reason::NotFound,
                format!(
                    "{vendor} lists no group {}: make it there, or correct spec.displayName or spec.externalId",
                    wanted.as_deref().unwrap_or(self.desired.key())
                ),
            )),
            several => Err(Stop::because(
                Reason::AmbiguousMatch,
                format!("{} groups of {vendor} are named {}: use spec.externalId", several.len(), self.desired.key()),
            )),
        }
    }

    /// Binds a group that is not ours to change.
    pub async fn bind_found(&mut self, id: &str) -> Result<(), Stop> {
        let field = if self.object.external_id().is_some() { "spec.externalId" } else { "spec.displayName" };
        access::only_if_existing_allowed(&self.connection, &*self.object, field)?;
        let before = self.identity.clone();
        self.identity.external_id = Some(id.to_owned());
        self.identity.key = Some(self.desired.key().to_owned());
        self.identity.account = Some(self.connection.account.clone());
        self.identity.adopted = Some(true);
        if self.identity != before {
            self.only_if_binding("bind", id, &[])?;
            self.store_identity(false).await?;
        }
        Ok(())
    }

    /// Whether accounts cannot be searched for, so that only the answer to a create tells their id.
    pub fn is_unsearchable(&self) -> bool {
        !self.connection.provider.capabilities().lists(K::ACCOUNT_KIND)
    }

    /// Whether the account was made, but the answer with its id was lost and no search can find it.
    pub fn is_without_id(&self) -> bool {
        let made = self.identity.creating.is_some() && self.identity.key.is_some();
        made && self.identity.external_id.is_none() && self.is_unsearchable()
    }

    /// An account that the vendor neither shows nor changes: the manifest is compared with the last applied fields.
    pub fn compare_with_last_applied(&self) -> Result<Progress, Stop> {
        if self.sent(&self.desired) == self.identity.sent || self.identity.sent.is_none() {
            return Ok(Progress::None);
        }
        let vendor = self.connection.vendor.title();
        let message = if self.is_without_id() {
            format!("{}: set the manifest back, or {WITH_ID}", self.without_id())
        } else {
            format!("{vendor} cannot change a user after it was made: set the manifest back, or make the change there")
        };
        Err(Stop::because(Reason::Unsupported, message))
    }

    /// What there is to say of an account without an id.
    pub fn without_id(&self) -> String {
        let vendor = self.connection.vendor.title();
        format!(
            "{vendor} made it, but the answer with its id was lost and this server lists no users, so it cannot be changed"
        )
    }
}
