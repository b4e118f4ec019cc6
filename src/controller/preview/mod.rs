//! What Enforce would do, for objects in the cluster or not applied yet: the reconciles' own path up to the first write, in
//! mode Plan. It decides nothing itself and writes nothing.

mod dry_run;
mod error;
mod item;
mod merged;
mod overlay;
mod read_only;
mod secrets;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
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
use crate::api::user::{GroupEntry, Mode};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason};
use crate::controller::cluster::Cluster;
use crate::controller::cluster::cache::Cache;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::link::{Down, Link};
use crate::controller::context::{Context, Run};
use crate::controller::credential::{connect as log_in, resync};
use crate::controller::metrics::Metrics;
use crate::controller::object::reconcile::attempt;
use crate::controller::object::report::ReportContext;
use crate::controller::outcome::Stop;
use crate::controller::queue::Queue;
use crate::controller::resolve::resolved::Resolve;
use crate::controller::settings::Settings;
use merged::Finished;
use overlay::Listed;

/// How often an object that waits for a listing is looked at again.
const ROUNDS: usize = 4;
/// Most reasons that a note gives.
const MOST_WHYS: usize = 3;

/// What there is to show.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// One for each object.
    pub items: Vec<Item>,
    /// What else a person has to know to judge them.
    pub notes: Vec<String>,
}

/// What is looked at, and the stores that pretend each change is made once it is known.
struct Stage {
    context: Context,
    users: Writer<PlatformUser>,
    groups: Writer<PlatformGroup>,
}

/// What `usher run` in Enforce would do now, as if `documents` were applied: one item for each object in `scope`.
///
/// `client` needs no more than to read and to try documents in dry runs. Errors: the cluster cannot be read; what is wrong with
/// an object is said in its item.
pub async fn preview(
    client: Client,
    settings: Settings,
    metrics: Arc<dyn Metrics>,
    documents: Documents,
    scope: &Scope,
) -> Result<Outlook, Error> {
    let wanted = documents.keys();
    let listed = overlay::list(&client, documents, scope).await?;
    let touched = listed.touched();
    let shown = |key: &ObjectKey| match scope {
        Scope::Documents => wanted.contains(key) || touched.contains(key),
        Scope::Cluster(namespace) => namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace),
    };
    let notes = note(&listed.told.untold).into_iter().chain(listed.told.notes.clone()).collect();
    let mut items: Vec<Item> = listed.told.blocked.iter().filter(|item| shown(&item.key)).cloned().collect();
    let blocked: BTreeSet<ObjectKey> = items.iter().map(|item| item.key.clone()).collect();
    let shown = |key: &ObjectKey| shown(key) && !blocked.contains(key);
    let credentials: Vec<_> = listed.credentials.iter().map(|credential| Arc::new(credential.clone())).collect();
    let groups: Vec<_> = listed.groups.iter().filter(|group| shown(&group.key())).cloned().map(Arc::new).collect();
    let users: Vec<_> = listed.users.iter().filter(|user| shown(&user.key())).cloned().map(Arc::new).collect();
    let used = groups.iter().map(|group| group.credential_key());
    let used: BTreeSet<ObjectKey> = used.chain(users.iter().map(|user| user.credential_key())).collect();

    let mut stage = Stage::new(client, settings, metrics, listed);
    let needed = credentials.iter().filter(|one| shown(&one.key()) || used.contains(&one.key()));
    try_join_all(needed.map(|one| connect(&stage.context, one.clone()))).await?;
    let ours = credentials.iter().filter(|one| shown(&one.key()));
    items.extend(ours.map(|one| item::of_credential(&stage.context, one)));
    for group in groups {
        items.push(stage.look(group).await?);
    }
    for user in users {
        let after = awaited(&user, &items);
        let item = stage.look(user).await?;
        items.push(item.after(&after));
    }
    Ok(Outlook { items, notes })
}

/// What a person has to know of documents that the API server was not asked about.
fn note(untold: &BTreeSet<String>) -> Option<String> {
    let mut whys: Vec<String> = untold.iter().take(MOST_WHYS).cloned().collect();
    if untold.len() > MOST_WHYS {
        whys.push(format!("and {} more", untold.len() - MOST_WHYS));
    }
    let whys = whys.join("; ");
    (!untold.is_empty()).then(|| {
        format!("some files were not checked against the API server's own rules, which may refuse them: {whys}")
    })
}

impl Stage {
    fn new(client: Client, settings: Settings, metrics: Arc<dyn Metrics>, listed: Listed) -> Self {
        // Nothing is enqueued here: an object that waits is looked at again.
        let (queue, _) = Queue::new();
        let (users, user_writer) = filled(listed.users);
        let (groups, group_writer) = filled(listed.groups);
        let cluster = Cluster {
            client: client.clone(),
            users: Cache::new(users),
            groups: Cache::new(groups),
            credentials: Cache::new(filled(listed.credentials).0),
            secrets: filled(listed.secrets).0,
            secret_reader: Arc::new(listed.given),
            namespaces: filled(listed.namespaces).0,
            queue,
            recorder: Recorder::new(client, Reporter { controller: "usher-plan".into(), instance: None }),
            digest_key: OnceCell::new(),
            unused_secrets: Notify::new(),
        };
        let settings = Settings { mode: Mode::Plan, ..settings };
        let context = Context::new(cluster, settings, metrics, Run::Preview);
        Self { context, users: user_writer, groups: group_writer }
    }

    /// What would be done about one object; from then on the others see it done.
    async fn look<K: Seen>(&mut self, object: Arc<K>) -> Result<Item, kube::Error> {
        let mut result = Err(Stop::AwaitsListing);
        for _ in 0..ROUNDS {
            result = attempt(&self.context, object.clone(), &mut ReportContext::default()).await;
            let Err(Stop::AwaitsListing | Stop::AwaitsPermit | Stop::AwaitsEdit | Stop::AwaitsCredential) = &result
            else {
                break;
            };
            if let Some(connection) = self.context.connections.up(&object.credential_key()) {
                resync::sweep(&self.context, &connection, false).await;
            }
        }
        let item = item::of_object(&self.context, &*object, result)?;
        if !object.is_deleting() && item.effect != Effect::Blocked {
            let done = merged::done(&*object, &item.calls);
            if let Some(connection) = self.context.connections.up(&object.credential_key())
                && let Some(account) =
                    item::new_account(connection.table(K::ACCOUNT_KIND), &item.calls, &done.identity())
            {
                connection.wrote(K::ACCOUNT_KIND, &account.id.clone(), Some(account));
            }
            K::writer(self).apply_watcher_event(&Event::Apply(done.clone()));
            K::cache(&self.context.cluster).observe(&done);
        }
        Ok(item)
    }
}

/// A kind whose objects are shown to the others as if they were done.
trait Seen: Resolve + Finished {
    /// Where the others find it.
    fn writer(stage: &mut Stage) -> &mut Writer<Self>;
}

impl Seen for PlatformUser {
    fn writer(stage: &mut Stage) -> &mut Writer<Self> {
        &mut stage.users
    }
}

impl Seen for PlatformGroup {
    fn writer(stage: &mut Stage) -> &mut Writer<Self> {
        &mut stage.groups
    }
}

/// Names of the groups of `user` that have to be made first.
fn awaited(user: &PlatformUser, items: &[Item]) -> Vec<String> {
    let named = user.spec.groups.iter().flatten().filter_map(|entry| match entry {
        GroupEntry::GroupRef(reference) => Some(reference.name.clone()),
        GroupEntry::ExternalId(_) | GroupEntry::ExternalName(_) => None,
    });
    let namespace = user.namespace().unwrap_or_default();
    let made = |name: &String| {
        let key = ObjectKey::new(Kind::Group, &*namespace, name);
        items.iter().any(|item| item.key == key && item.effect == Effect::Changes && item.is_binding())
    };
    named.filter(made).collect()
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

/// Connects a credential and lists what its vendor has, unless it is paused.
async fn connect(context: &Context, credential: Arc<ProviderCredential>) -> Result<(), kube::Error> {
    if credential.paused_by().is_some() {
        return Ok(());
    }
    let link = match log_in::link(&credential, context, None).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let verdict = Verdict::new(Reason::PermissionDenied, format!("Kubernetes: {}", status.message));
            Link::Down(Down::until_changed(verdict))
        }
        link => link?,
    };
    let Some(link) = read_only::untouched(link) else { return Ok(()) };
    if let Link::Up(connection) = &link {
        resync::sweep(context, connection, false).await;
    }
    context.connections.set(&credential.key(), link);
    Ok(())
}
