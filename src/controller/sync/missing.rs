//! An account that the vendor no longer shows: gone by two pieces of evidence, or only not visible.

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::status::Identity;
use crate::controller::apply::progress::Progress;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::managed::Managed;
use crate::controller::outcome::Stop;
use crate::plan::{Account, Step, creation_calls};

impl<K: Managed> Reconciliation<'_, K> {
    /// Carries out `steps` on `account`, which was just read, and which may be missing all the same.
    ///
    /// Errors: those of the steps; what follows from a missing account.
    pub async fn perform_if_there(&mut self, account: &Account, steps: Vec<Step>) -> Result<Progress, Stop> {
        match self.perform(account, steps).await? {
            Some(progress) => Ok(progress),
            None => self.handle_missing(&account.id).await,
        }
    }

    /// A bound account that the vendor does not show: it is gone if a complete listing lacks it too.
    pub async fn handle_missing(&mut self, id: &str) -> Result<Progress, Stop> {
        if let Some(until) = self.connection.inventory().unsettled_until(K::ACCOUNT_KIND, id, Timestamp::now()) {
            return Err(Stop::Unsettled(until));
        }
        let vendor = self.connection.vendor.title();
        let provider = &self.connection.provider;
        // An account that the last listing lacks is searched for by its last key. The vendor may write that key in another case, so
        // an account that was listed is gone only if another complete listing lacks it.
        let (lacks, proved) = {
            let inventory = self.connection.inventory();
            let lacks = inventory.has_listing(K::ACCOUNT_KIND) && !inventory.has(K::ACCOUNT_KIND, id);
            (lacks, inventory.is_proven_absent(K::ACCOUNT_KIND, id, Timestamp::now()))
        };
        let is_searched = provider.capabilities().filter && self.identity.key.as_deref() == Some(self.desired.key());
        let is_listed = if lacks && is_searched && !proved {
            provider.find(K::ACCOUNT_KIND, &self.desired).await?.iter().any(|account| account.id == id)
        } else {
            self.connection.is_listed(K::ACCOUNT_KIND, id).await?
        };
        if is_listed {
            let message = format!(
                "{vendor} lists {id} but says \"not found\" when usher reads or changes it: the login may lack rights on it"
            );
            return Err(Stop::because(Reason::PermissionDenied, message));
        }
        if self.identity.missing.as_deref() == Some(id) {
            return Err(self.not_visible());
        }
        self.connection.record_write(K::ACCOUNT_KIND, id, None);
        if self.identity.adopted == Some(true) || self.object.external_id().is_some() {
            let message = format!(
                "{vendor} no longer has {id}, which usher did not make and so does not make again: delete this object, or restore the account"
            );
            return Err(Stop::because(Reason::NotFound, message));
        }
        self.only_if_enforced(creation_calls(self.desired.key(), &self.creation_anew())).await?;
        self.identity.missing = self.identity.external_id.take();
        self.store_identity(false).await?;
        self.context.cluster.enqueue(self.object.key());
        Ok(Progress::Again)
    }

    /// The verdict on the object's account that the vendor neither shows nor lets usher make again.
    pub fn not_visible(&self) -> Stop {
        let message = format!(
            "{} neither shows {} nor lets usher make it again, because it is there: give usher's login access to it",
            self.connection.vendor.title(),
            self.identity.external_id.as_deref().unwrap_or_default()
        );
        Stop::because(Reason::PermissionDenied, message)
    }

    /// Forgets what was applied to the missing account, because nothing of that is in the next one.
    pub fn forget_missing(&mut self) {
        let Identity { missing, refused, cluster, .. } = std::mem::take(&mut self.identity);
        self.identity = Identity { cluster, missing, refused, ..Identity::default() };
    }
}
