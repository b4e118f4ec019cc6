//! The removal budget of a credential in the cluster: it counts removals in the credential's status before they are made, and holds the
//! whole batch of a namespace when there are too many.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::lookup::is_unlisted;
use crate::api::credential::{HeldRemovals, RecentRemovals};
use crate::api::names::RELEASE_REMOVALS;
use crate::api::{Kind, ObjectKey, ProviderCredential};
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object;
use crate::controller::cluster::status::write_removals;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::hints::orphan_command;
use crate::controller::resolve::{access, deletion_policy};
use crate::plan::{Admission, Batch, Batches, Removal, RemovalBudget, is_counted, is_released, sharers};

/// Admits the removal of `object` and counts it durably, or holds it.
///
/// Errors: Kubernetes did not answer, or the credential was written meanwhile.
pub async fn admit<K: Managed>(context: &Context, object: &K) -> Result<Admission, kube::Error> {
    let key = object.credential_key();
    let memory = context.budgets.of(&key);
    let mut memory = memory.lock().await;
    let Some(credential) = access::credential(context, object) else { return Ok(Admission::Admitted) };
    let counting = Counting::new(context, &credential);
    let uid = object.uid().unwrap_or_default();
    if is_counted(&counting.recent, &uid) || has_release(&credential, object) {
        return Ok(Admission::Admitted);
    }
    let namespace = object.namespace().unwrap_or_default();
    if let Some(held) = memory.held().filter(|held| held.contains_key(&namespace)) {
        return Ok(counting.hold(object, &with(held.clone(), object.meta())));
    }
    let waiting = with(counting.waiting(Some(&uid)), object.meta());
    let held = counting.budget.held(&counting.recent, &waiting);
    if held.contains_key(&namespace) {
        memory.set_held(held.clone());
        context.cluster.enqueue(key);
        return Ok(counting.hold(object, &held));
    }
    let mut recent = counting.recent;
    recent.iter_mut().for_each(|bucket| bucket.under_way.retain(|uid| !memory.gone.contains(uid)));
    let recent = counting.budget.counting(recent, (namespace, uid), Timestamp::now());
    write_removals(&context.cluster, &credential, &recent).await?;
    memory.gone.clear();
    Ok(Admission::Admitted)
}

/// The removals that the budget of `credential` holds, for its status.
pub async fn held_removals(context: &Context, credential: &ProviderCredential) -> Option<HeldRemovals> {
    let memory = context.budgets.of(&credential.key());
    let mut memory = memory.lock().await;
    let credential = context.cluster.credentials.latest(Arc::new(credential.clone()));
    let counting = Counting::new(context, &credential);
    let held = counting.budget.held(&counting.recent, &counting.waiting(None));
    memory.set_held(held.clone());
    let batch = Some(Batch::of(&held)).filter(|batch| batch.count > 0)?;
    Some(HeldRemovals { count: u32::try_from(batch.count).unwrap_or(u32::MAX), release: batch.release_token() })
}

/// Whether a person released a batch since the last question.
pub async fn is_freshly_released(context: &Context, credential: &ProviderCredential) -> bool {
    let memory = context.budgets.of(&credential.key());
    let released = credential.annotations().get(RELEASE_REMOVALS).cloned();
    memory.lock().await.is_freshly_released(released)
}

/// Notes that an object was released, if its removal was counted.
pub async fn note_gone<K: Managed>(context: &Context, object: &K) {
    let Some(uid) = object.uid() else { return };
    let Some(credential) = access::credential(context, object) else { return };
    let counted = credential.status.as_ref().and_then(|status| status.recent_removals.as_deref()).unwrap_or_default();
    context.budgets.note_gone(&object.credential_key(), counted, uid).await;
}

/// Whether the annotation of the credential releases the batch of `object`, or a later one.
fn has_release<K: Object>(credential: &ProviderCredential, object: &K) -> bool {
    let token = credential.annotations().get(RELEASE_REMOVALS);
    let deleted = object.meta().deletion_timestamp.as_ref();
    token.zip(deleted).is_some_and(|(token, Time(deleted))| is_released(token, *deleted, Timestamp::now()))
}

/// `batches` with the removal of one more object that is being deleted.
fn with(mut batches: Batches, meta: &ObjectMeta) -> Batches {
    let deleted = meta.deletion_timestamp.as_ref().map_or_else(Timestamp::now, |time| time.0);
    let batch = batches.entry(meta.namespace.clone().unwrap_or_default()).or_insert(Batch::EMPTY);
    *batch = batch.with(deleted);
    batches
}

/// What the budget of one credential counts.
struct Counting<'a> {
    context: &'a Context,
    credential: &'a ProviderCredential,
    connection: Option<Arc<Connection>>,
    budget: RemovalBudget,
    recent: Vec<RecentRemovals>,
}

impl<'a> Counting<'a> {
    fn new(context: &'a Context, credential: &'a ProviderCredential) -> Self {
        let budget = RemovalBudget::of(&credential.spec);
        let counted = credential.status.as_ref().and_then(|status| status.recent_removals.as_deref());
        let recent = budget.recent(counted.unwrap_or_default(), Timestamp::now());
        let connection = context.connections.up(&credential.key());
        Self { context, credential, connection, budget, recent }
    }

    /// The removals that wait for the budget, by namespace, but for that of the object `own`.
    fn waiting(&self, own: Option<&str>) -> Batches {
        let deleting = [IndexKey::Deleting(self.credential.key())];
        let counted: HashSet<&str> =
            self.recent.iter().flat_map(|bucket| &bucket.under_way).map(String::as_str).chain(own).collect();
        let users = self.context.cluster.users.by_index(&deleting, |user| self.waits(user, &counted));
        let groups = self.context.cluster.groups.by_index(&deleting, |group| self.waits(group, &counted));
        let metas = users.iter().map(|user| &user.metadata).chain(groups.iter().map(|group| &group.metadata));
        metas.fold(Batches::new(), with)
    }

    fn waits<K: Managed>(&self, object: &K, counted: &HashSet<&str>) -> bool {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        object.has_finalizer()
            && !counted.contains(uid)
            && !has_release(self.credential, object)
            && object.has_account()
            && !matches!(deletion_policy::decide(self.context, object), Ok(Removal::Orphan { .. }))
            && !self.connection.as_ref().is_some_and(|connection| is_unlisted(connection, object))
    }

    /// Holds the removal of `object`, one of those that are `held`.
    fn hold<K: Object>(&self, object: &K, held: &Batches) -> Admission {
        let ObjectKey { namespace, name, .. } = self.credential.key();
        let shared = match sharers(&self.recent, held) {
            0 | 1 => String::new(),
            namespaces => format!(", shared by {namespaces} namespaces"),
        };
        let message = format!(
            "spec.removals.atMost ({}{shared}) of the credential {name} allows no more removals within {:#}; its status.heldRemovals counts those that wait. To let this batch go: kubectl -n {namespace} annotate {} {name} {RELEASE_REMOVALS}={} --overwrite; to keep this account: {}",
            self.budget.at_most,
            self.budget.per,
            Kind::Credential.short(),
            Batch::of(held).release_token(),
            orphan_command(&object.key()),
        );
        Admission::Held(message, self.budget.next_room(&self.recent, Timestamp::now()))
    }
}
