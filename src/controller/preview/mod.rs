//! The preview behind `usher plan`: the calls to vendors that `usher run` would make, for objects in the cluster or for files
//! that are not applied yet. It reconciles each object with the operator's own code, which stops before the first write, and
//! it changes nothing in Kubernetes or at a vendor.

mod access_review;
mod dry_run;
mod error;
mod item;
mod merged;
mod overlay;
mod secrets;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::future::try_join_all;
use kube::core::object::HasStatus;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, store};
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt};
use tokio::sync::{Notify, OnceCell};

pub use error::Error;
pub use item::{Effect, Item};
pub use overlay::{Documents, Scope};
pub use secrets::SecretDocument;

use crate::api::conditions::Verdict;
use crate::api::status::ObjectStatus;
use crate::api::user::{GroupEntry, Mode};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason};
use crate::controller::cluster::Cluster;
use crate::controller::cluster::cache::Cache;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::link::{Connection, Down, Link};
use crate::controller::connection::session::Session;
use crate::controller::context::{Context, Run};
use crate::controller::credential::resync::Due;
use crate::controller::credential::{connect, resync};
use crate::controller::metrics::Metrics;
use crate::controller::object::reconcile::attempt;
use crate::controller::object::report::ReportContext;
use crate::controller::outcome::Stop;
use crate::controller::queue::Queue;
use crate::controller::resolve::resolved::Resolve;
use crate::controller::settings::Settings;
use crate::providers::ReadOnly;
use overlay::Snapshot;

/// Most reconciles of one object that waits for a listing.
const MAX_RECONCILES: usize = 4;
/// Most reasons in the note on files that were not checked.
const MAX_REASONS: usize = 3;

/// A plan of all objects in a scope.
#[derive(Clone, Debug)]
pub struct Preview {
    /// One item per object.
    pub items: Vec<Item>,
    /// Notes that the reader of the plan needs to judge the items.
    pub notes: Vec<String>,
}

/// A cluster in memory, in which each planned object takes the state that its calls would give it.
struct Simulation {
    context: Context,
    users: Writer<PlatformUser>,
    groups: Writer<PlatformGroup>,
}

/// The calls that `usher run` in mode Enforce would make now if `documents` were applied: one item per object in `scope`.
///
/// `client` needs the rights to read, and to send dry runs of the documents. Errors: the cluster cannot be read. A problem with
/// one object is part of its item.
pub async fn preview(
    client: Client,
    settings: Settings,
    metrics: Arc<dyn Metrics>,
    documents: Documents,
    scope: &Scope,
) -> Result<Preview, Error> {
    let in_files = documents.keys();
    let snapshot = overlay::snapshot(&client, documents, scope).await?;
    let affected = snapshot.affected();
    let is_in_scope = |key: &ObjectKey| match scope {
        Scope::Documents => in_files.contains(key) || affected.contains(key),
        Scope::Cluster(namespace) => namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace),
    };
    let findings = &snapshot.findings;
    let notes = unchecked_note(&findings.unchecked).into_iter().chain(findings.notes.clone()).collect();
    let mut items: Vec<Item> = findings.blocked.iter().filter(|item| is_in_scope(&item.key)).cloned().collect();
    let blocked: BTreeSet<ObjectKey> = items.iter().map(|item| item.key.clone()).collect();
    let is_shown = |key: &ObjectKey| is_in_scope(key) && !blocked.contains(key);
    let credentials: Vec<_> = snapshot.credentials.iter().map(|credential| Arc::new(credential.clone())).collect();
    let groups: Vec<_> = snapshot.groups.iter().filter(|group| is_shown(&group.key())).cloned().map(Arc::new).collect();
    let users: Vec<_> = snapshot.users.iter().filter(|user| is_shown(&user.key())).cloned().map(Arc::new).collect();
    let used = groups.iter().map(|group| group.credential_key());
    let used: BTreeSet<ObjectKey> = used.chain(users.iter().map(|user| user.credential_key())).collect();
    let diverted = snapshot.diverted.clone();

    let mut simulation = Simulation::new(client, settings, metrics, snapshot);
    let needed =
        credentials.iter().filter(|credential| is_shown(&credential.key()) || used.contains(&credential.key()));
    let (diverted, needed): (Vec<_>, Vec<_>) = needed.partition(|credential| diverted.contains(&credential.key()));
    diverted.into_iter().for_each(|credential| hold(&simulation.context, credential));
    try_join_all(needed.into_iter().map(|credential| log_in(&simulation.context, credential.clone()))).await?;
    let shown = credentials.iter().filter(|credential| is_shown(&credential.key()));
    items.extend(shown.map(|credential| item::of_credential(&simulation.context, credential)));
    for group in groups {
        items.push(simulation.plan(group).await?);
    }
    for user in users {
        let new_groups = new_groups(&user, &items);
        let item = simulation.plan(user).await?;
        items.push(item.after_groups(&new_groups));
    }
    Ok(Preview { items, notes })
}

/// The note on files that the API server did not check, for these reasons.
fn unchecked_note(reasons: &BTreeSet<String>) -> Option<String> {
    let mut listed: Vec<String> = reasons.iter().take(MAX_REASONS).cloned().collect();
    if reasons.len() > MAX_REASONS {
        listed.push(format!("and {} more", reasons.len() - MAX_REASONS));
    }
    let listed = listed.join("; ");
    (!reasons.is_empty()).then(|| {
        format!("some files were not checked against the API server's own rules, which may refuse them: {listed}")
    })
}

impl Simulation {
    fn new(client: Client, settings: Settings, metrics: Arc<dyn Metrics>, snapshot: Snapshot) -> Self {
        // The queue has no reader, because `plan` repeats the reconcile of an object that waits.
        let (queue, _) = Queue::new();
        let (users, user_writer) = filled(snapshot.users);
        let (groups, group_writer) = filled(snapshot.groups);
        let cluster = Cluster {
            client: client.clone(),
            users: Cache::new(users),
            groups: Cache::new(groups),
            credentials: Cache::new(filled(snapshot.credentials).0),
            secrets: filled(snapshot.secrets).0,
            secret_reader: Arc::new(snapshot.secret_overlay),
            namespaces: filled(snapshot.namespaces).0,
            queue,
            recorder: Recorder::new(client, Reporter { controller: "usher-plan".into(), instance: None }),
            digest_key: OnceCell::new(),
            trusts_unsealed: AtomicBool::new(true),
            unused_secrets: Notify::new(),
        };
        let settings = Settings { mode: Mode::Plan, ..settings };
        let context = Context::new(cluster, settings, metrics, Run::Preview);
        Self { context, users: user_writer, groups: group_writer }
    }

    /// The item of one object. Objects that are planned later find this one in the state that its calls would give it.
    async fn plan<K: Simulated>(&mut self, object: Arc<K>) -> Result<Item, kube::Error> {
        let mut result = Err(Stop::AwaitsListing);
        for _ in 0..MAX_RECONCILES {
            result = attempt(&self.context, object.clone(), &mut ReportContext::default()).await;
            let Err(Stop::AwaitsListing | Stop::AwaitsPermit | Stop::AwaitsEdit | Stop::AwaitsCredential) = &result
            else {
                break;
            };
            if let Some(connection) = self.context.connections.up(&object.credential_key()) {
                list(&self.context, &connection).await;
            }
        }
        let item = item::of_object(&self.context, &*object, result)?;
        if !object.is_deleting() && item.effect != Effect::Blocked {
            self.assume(&merged::after_calls(&*object, &item.calls), &item);
        }
        Ok(item)
    }

    /// Shows `object` and the account that `item` creates to all objects that are planned later.
    fn assume<K: Simulated>(&mut self, object: &K, item: &Item) {
        if let Some(connection) = self.context.connections.up(&object.credential_key())
            && let Some(account) = item::new_account(connection.table(K::ACCOUNT_KIND), &item.calls, &object.identity())
        {
            connection.record_write(K::ACCOUNT_KIND, &account.id.clone(), Some(account));
        }
        K::writer(self).apply_watcher_event(&Event::Apply(object.clone()));
        K::cache(&self.context.cluster).observe(object);
    }
}

/// A kind whose objects are planned in a simulation.
trait Simulated: Resolve + HasStatus<Status = ObjectStatus> {
    /// The writing end of the store of this kind.
    fn writer(simulation: &mut Simulation) -> &mut Writer<Self>;
}

impl Simulated for PlatformUser {
    fn writer(simulation: &mut Simulation) -> &mut Writer<Self> {
        &mut simulation.users
    }
}

impl Simulated for PlatformGroup {
    fn writer(simulation: &mut Simulation) -> &mut Writer<Self> {
        &mut simulation.groups
    }
}

/// The names of the groups of `user` whose accounts are created, adopted or bound by one of the `items`.
fn new_groups(user: &PlatformUser, items: &[Item]) -> Vec<String> {
    let names = user.spec.groups.iter().flatten().filter_map(|entry| match entry {
        GroupEntry::GroupRef(reference) => Some(reference.name.clone()),
        GroupEntry::ExternalId(_) | GroupEntry::ExternalName(_) => None,
    });
    let namespace = user.namespace().unwrap_or_default();
    let is_new = |name: &String| {
        let key = ObjectKey::new(Kind::Group, &*namespace, name);
        items.iter().any(|item| item.key == key && item.effect == Effect::Changes && item.is_binding())
    };
    names.filter(is_new).collect()
}

/// A store that holds `objects`.
fn filled<K>(objects: Vec<K>) -> (Store<K>, Writer<K>)
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let (store, mut writer) = store();
    writer.apply_watcher_event(&Event::Init);
    objects.into_iter().for_each(|object| writer.apply_watcher_event(&Event::InitApply(object)));
    writer.apply_watcher_event(&Event::InitDone);
    (store, writer)
}

/// Logs in with a credential and lists the accounts of its vendor. A paused credential makes no call.
async fn log_in(context: &Context, credential: Arc<ProviderCredential>) -> Result<(), kube::Error> {
    if credential.paused_by().is_some() {
        return Ok(());
    }
    let link = match connect::link(&credential, context, None).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let verdict = Verdict::new(Reason::PermissionDenied, format!("Kubernetes: {}", status.message));
            Link::Down(Down::until_changed(verdict))
        }
        link => link?,
    };
    let Some(link) = read_only(link) else { return Ok(()) };
    if let Link::Up(connection) = &link {
        list(context, connection).await;
    }
    context.connections.set(&credential.key(), link);
    Ok(())
}

/// Lists what is due of the vendor's accounts.
async fn list(context: &Context, connection: &Arc<Connection>) {
    if let Due::Kinds(kinds) = resync::due(context, connection, false) {
        resync::run(connection.clone(), kinds, resync::asked(context, connection)).await;
    }
}

/// Notes that the plan does not log in with a credential, because the files would lead the cluster's login elsewhere.
fn hold(context: &Context, credential: &ProviderCredential) {
    let key = credential.key();
    let message = format!(
        "the files lead the login in Secret {}/{} to where no credential of the cluster leads it, so usher plan does not log in: add the whole Secret to the files, or if you trust them the flag --log-in-as-files-say",
        key.namespace, credential.spec.secret_ref.name
    );
    let verdict = Verdict::new(Reason::PermissionDenied, message);
    context.connections.set(&key, Link::Down(Down::until_changed(verdict)));
}

/// `link` with a provider that only reads; `None` for a connection that is shared already, because its other owners could write.
fn read_only(link: Link) -> Option<Link> {
    let Link::Up(connection) = link else { return Some(link) };
    let connection = Arc::into_inner(connection)?;
    let session = Arc::into_inner(connection.session)?;
    let session = Session { provider: Arc::new(ReadOnly(session.provider.clone())), ..session };
    Some(Link::Up(Arc::new(Connection { session: Arc::new(session), ..connection })))
}
