//! An object with everything that it needs ([`Resolved`]), and the account that it describes ([`Validated`]). Only this room makes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::password::{self, Password};
use super::rights::{self, Rights};
use super::{deletion_policy, groups, listing, mode};
use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::api::{PlatformGroup, PlatformUser, Reason, text};
use crate::controller::cluster::lifecycle::Live;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::plan::{Desired, Membership};

/// A kind whose objects are resolved.
pub trait Resolve: Managed {
    /// The object with everything that it needs.
    ///
    /// Errors: something that it needs now is absent.
    fn resolve(
        context: &Context,
        object: Live<Self>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Result<Resolved<Self>, Stop>> + Send;
}

/// An object with everything that it needs.
pub struct Resolved<K> {
    /// The object.
    pub object: Live<K>,
    /// The connection of its credential.
    pub connection: Arc<Connection>,
    /// The mode in effect: Enforce or Plan.
    pub mode: Mode,
    /// Whether the annotation `usher.dev/reconcile-at` asks for a comparison.
    pub is_forced: bool,
    /// The groups that it names; `None` when its groups are not managed.
    pub membership: Option<Membership>,
    /// The groups that entries of the manifest stand for.
    pub entry_groups: Option<BTreeMap<String, String>>,
    /// What is known of its password.
    pub password: Password,
    /// Whether the manifest does not mention groups.
    pub releases_groups: bool,
    /// Why one of its groups is left out.
    missing_group: Option<Stop>,
    /// Why its password is not known.
    unread_password: Option<Stop>,
}

/// A resolved object and the account that it describes, as far as the manifest can be carried out.
pub struct Validated<K> {
    /// The resolved object.
    pub resolved: Resolved<K>,
    /// The account that it describes.
    pub desired: Desired,
    /// What is reported once everything else is done.
    late: Option<Stop>,
}

impl Resolve for PlatformUser {
    async fn resolve(
        context: &Context,
        object: Live<Self>,
        connection: Arc<Connection>,
    ) -> Result<Resolved<Self>, Stop> {
        listing::listed_or_found(context, &**object, &connection)?;
        let (membership, entry_groups, missing_group) = groups::membership(context, &object, &connection);
        let (password, unread_password) = read_password(context, &object).await?;
        Ok(Resolved {
            mode: mode::mode(context, &connection, &**object),
            is_forced: object.is_forced(),
            releases_groups: object.spec.groups.is_none(),
            object,
            connection,
            membership,
            entry_groups,
            password,
            missing_group,
            unread_password,
        })
    }
}

impl Resolve for PlatformGroup {
    async fn resolve(
        context: &Context,
        object: Live<Self>,
        connection: Arc<Connection>,
    ) -> Result<Resolved<Self>, Stop> {
        listing::listed_or_found(context, &**object, &connection)?;
        Ok(Resolved {
            mode: mode::mode(context, &connection, &**object),
            is_forced: object.is_forced(),
            releases_groups: false,
            object,
            connection,
            membership: None,
            entry_groups: None,
            password: Password::Unmanaged,
            missing_group: None,
            unread_password: None,
        })
    }
}

/// The password of a user. A bound user does not wait for a Secret that cannot be read, because access may have to be taken away; the
/// reason is reported afterwards.
async fn read_password(context: &Context, user: &PlatformUser) -> Result<(Password, Option<Stop>), Stop> {
    let identity = user.identity();
    // The password of a missing account is not that of the account that is made in its place.
    let known = identity.password_version.as_deref().filter(|_| !identity.is_missing());
    match password::resolve(context, user, known).await {
        Ok(password) => Ok((password, None)),
        Err(stop) if identity.external_id.is_some() => Ok((Password::Unmanaged, Some(stop))),
        Err(stop) => Err(stop),
    }
}

/// Why the first password of a bound user cannot be sent.
fn never_sent(password: &Password, identity: &Identity) -> Option<Stop> {
    match password {
        Password::Missing(verdict) if identity.external_id.is_some() && identity.password_version.is_none() => {
            Some(Stop::Verdict(verdict.clone()))
        }
        _ => None,
    }
}

impl<K: Managed> Resolved<K> {
    /// The account that the object describes.
    ///
    /// Errors: the manifest cannot be carried out as written, or a group that it names is absent and has to come first.
    pub fn validate(mut self, context: &Context) -> Result<Validated<K>, Stop> {
        let catalog = self.connection.inventory().catalog();
        let mut desired = self.object.desire(&*self.connection.provider, &catalog)?;
        let late = self.late()?;
        desired.groups = self.membership.take();
        self.check(context, &desired)?;
        Ok(Validated { resolved: self, desired, late })
    }

    /// What is reported once everything else is done.
    ///
    /// Errors: a group that is absent and has to come first, because the account is not made yet or cannot be changed later.
    fn late(&mut self) -> Result<Option<Stop>, Stop> {
        let identity = self.object.identity();
        let is_first = identity.external_id.is_none() || !self.connection.provider.capabilities().shows_accounts();
        match self.missing_group.take() {
            Some(stop) if is_first || matches!(stop, Stop::AwaitsListing) => Err(stop),
            missing => Ok(missing.or(self.unread_password.take()).or_else(|| never_sent(&self.password, &identity))),
        }
    }

    /// Errors: the manifest is about a protected account, asks for administrator rights that are not allowed, for a removal that the
    /// vendor cannot carry out, or for a new account whose key nobody can read.
    fn check(&self, context: &Context, desired: &Desired) -> Result<(), Stop> {
        let connection = &self.connection;
        // An account that exists under such a key, from before the schema refused it, is kept in sync.
        let unreadable = desired.keys.iter().find(|key| !self.object.has_account() && !text::is_plain(&key.value));
        if let Some(key) = unreadable {
            return Err(Stop::because(Reason::Invalid, format!("{}: {}", key.field, text::ADVICE)));
        }
        rights::check_protected(connection, K::ACCOUNT_KIND, desired.keys.iter().map(|key| key.value.as_str()))?;
        let groups = desired.groups.as_ref().map(|membership| membership.wanted.clone()).unwrap_or_default();
        let asked = Rights { why: desired.privileged.as_deref(), groups: &groups, roles: &desired.roles };
        rights::check_privileged(context, &**self.object, connection, &asked, "the manifest asks for")?;
        deletion_policy::decide(context, &**self.object)?;
        Ok(())
    }
}

impl<K> Validated<K> {
    /// What is reported once everything else is done.
    pub fn take_late(&mut self) -> Option<Stop> {
        self.late.take()
    }
}
