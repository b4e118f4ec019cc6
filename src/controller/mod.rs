//! Kubernetes' quirks end here: three reconciles along resolve → validate → plan → apply → report.
//!
//! This room knows no vendor and no HTTP status.

mod backoff;
mod cluster;
mod connection;
mod context;
mod credential;
mod deletion;
mod object;
mod outcome;
mod ownership;
pub mod preview;
mod resolve;
mod sync;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::applier;
use kube::runtime::controller::{Action, Config};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, store};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Notify, OnceCell, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

pub use context::{Metrics, Settings};

use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential};
use backoff::Backoff;
use cluster::cache::Cache;
use connection::in_flight::CreateCalls;
use connection::link::Connections;
use context::Context;
use credential::secret_finalizer as secret;
use deletion::budget::RemovalBudgets;
use object::{group, user};
use sync::create::KeyLocks;
use watch::streams::Watched;

/// Runs the three controllers until `stop`, then finishes what is under way. `listed` is called with each kind once its
/// first listing is there.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Arc<dyn Metrics>,
    stop: CancellationToken,
    listed: impl Fn(&'static str) + Send + Sync + 'static,
) {
    let (queue, woken) = mpsc::unbounded_channel();
    let ((users, user_writer), (groups, group_writer)) = (store(), store());
    let ((credentials, credential_writer), (secrets, secret_writer)) = (store(), store());
    let (namespaces, namespace_writer) = store();
    let reporter = Reporter { controller: "usher".into(), instance: std::env::var("POD_NAME").ok() };
    let context = Arc::new(Context {
        client: client.clone(),
        settings,
        connections: Connections::default(),
        users: Cache::new(users),
        groups: Cache::new(groups),
        credentials: Cache::new(credentials),
        secrets,
        secret_reader: Arc::new(client.clone()),
        namespaces,
        removal_budget: RemovalBudgets::default(),
        key_locks: KeyLocks::default(),
        calls: CreateCalls::default(),
        begun: Timestamp::now(),
        orphans: Notify::new(),
        queue,
        recorder: Recorder::new(client.clone(), reporter),
        metrics,
        backoff: Backoff::default(),
        preview: false,
        digest_key: OnceCell::new(),
    });
    let writers = (user_writer, group_writer, credential_writer, secret_writer, namespace_writer);
    let watches = watch_all(&context, client, writers);
    let (for_users, for_groups, for_credentials, router) = route(woken);
    let controllers = futures::future::join3(
        control(&context, for_users, &stop, |user, context| user::reconcile(user, context).boxed()),
        control(&context, for_groups, &stop, |group, context| group::reconcile(group, context).boxed()),
        control(&context, for_credentials, &stop, |credential, context| {
            credential::reconcile::reconcile(credential, context).boxed()
        }),
    );
    tokio::select! {
        _ = controllers => {}
        () = watches => {}
        () = router => {}
        () = secret::tidy(&context) => {}
        () = announce(context.clone(), listed).then(|()| std::future::pending()) => {}
    }
}

/// The writing ends of the stores.
type Writers = (
    Writer<PlatformUser>,
    Writer<PlatformGroup>,
    Writer<ProviderCredential>,
    Writer<PartialObjectMeta<Secret>>,
    Writer<PartialObjectMeta<Namespace>>,
);

/// Keeps the stores true and wakes whatever changed, for as long as it is polled.
async fn watch_all(context: &Arc<Context>, client: Client, (users, groups, credentials, secrets, namespaces): Writers) {
    let users = watch::streams::changes(context.clone(), Api::all(client.clone()), users);
    let groups = watch::streams::changes(context.clone(), Api::all(client.clone()), groups);
    let credentials = watch::streams::changes(context.clone(), Api::all(client.clone()), credentials);
    let secrets = watch::streams::secrets(context.clone(), Api::all(client.clone()), secrets);
    let namespaces = watch::streams::namespaces(context.clone(), Api::all(client), namespaces);
    futures::join!(users, groups, credentials, secrets, namespaces);
}

/// Calls `listed` for each kind once its first listing is there.
async fn announce(context: Arc<Context>, listed: impl Fn(&'static str)) {
    everything_listed(&context).await;
    [Kind::Credential, Kind::Group, Kind::User].into_iter().for_each(|kind| listed(kind.plural()));
}

/// Ends once all stores hold their first listing: before that, "there is none" would be a guess.
async fn everything_listed(context: &Context) {
    // A writer that is dropped means that the process ends.
    let _ = context.namespaces.wait_until_ready().await;
    let _ = context.secrets.wait_until_ready().await;
    let _ = context.credentials.store().wait_until_ready().await;
    let _ = context.groups.store().wait_until_ready().await;
    let _ = context.users.store().wait_until_ready().await;
}

type Woken = mpsc::UnboundedReceiver<ObjectKey>;

/// Spreads woken objects over the three controllers.
fn route(mut woken: Woken) -> (Woken, Woken, Woken, BoxFuture<'static, ()>) {
    let (users, for_users) = mpsc::unbounded_channel();
    let (groups, for_groups) = mpsc::unbounded_channel();
    let (credentials, for_credentials) = mpsc::unbounded_channel();
    let router = async move {
        while let Some(object) = woken.recv().await {
            let target = match object.kind {
                Kind::User => &users,
                Kind::Group => &groups,
                Kind::Credential => &credentials,
            };
            if target.send(object).is_err() {
                return;
            }
        }
    };
    (for_users, for_groups, for_credentials, router.boxed())
}

/// A reconcile of one kind.
type Reconcile<K> = for<'a> fn(Arc<K>, &'a Context) -> BoxFuture<'a, Result<Action, kube::Error>>;

/// One controller: what was woken, reconciled within a time, until `stop`; what is under way then is finished.
async fn control<K: Watched>(context: &Arc<Context>, woken: Woken, stop: &CancellationToken, reconcile: Reconcile<K>) {
    let listed = {
        let context = context.clone();
        async move { everything_listed(&context).await }
    };
    let woken = futures::stream::unfold(woken, |mut woken| async move { Some((woken.recv().await?, woken)) });
    let queue = futures::stream::once(listed)
        .filter_map(|()| std::future::ready(None))
        .chain(woken)
        .take_until(stop.clone().cancelled_owned())
        .map(|key: ObjectKey| Ok::<_, Infallible>(ObjectRef::<K>::new(&key.name).within(&key.namespace)));
    let config = Config::default().concurrency(context.settings.concurrency);
    applier(
        move |object, context: Arc<Context>| {
            async move { Ok::<_, Infallible>(bounded(object, &context, reconcile).await) }.boxed()
        },
        |_, _, _| Action::await_change(),
        context.clone(),
        K::cache(context).store(),
        Box::pin(queue),
        config,
    )
    .for_each(|_| std::future::ready(()))
    .await;
}

/// One reconcile within its time, in its span, counted; a failure of Kubernetes is retried with back-off.
async fn bounded<K: Watched>(object: Arc<K>, context: &Context, reconcile: Reconcile<K>) -> Action {
    let key = ObjectKey::new(K::KIND, object.namespace().unwrap_or_default(), object.name_any());
    let span = info_span!("reconcile", kind = %key.kind, namespace = key.namespace, name = key.name, provider = K::vendor_label(&object));
    let begun = Instant::now();
    let limit = K::limit(context);
    let work = tokio::time::timeout(limit, reconcile(object, context));
    let (action, result) = match work.instrument(span).await {
        Ok(Ok(action)) => (action, "ok"),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
            debug!(object = %key, "written by someone else meanwhile; looking again");
            (Action::requeue(Duration::from_millis(200)), "conflict")
        }
        Ok(Err(error)) => {
            warn!(object = %key, "Kubernetes failed: {error}");
            (Action::requeue(context.backoff.next(&key)), "error")
        }
        Err(_) => {
            warn!(object = %key, "not done within {limit:?}; looking again");
            (Action::requeue(context.backoff.next(&key)), "timeout")
        }
    };
    context.metrics.reconciled(K::KIND.into(), result, begun.elapsed());
    action
}
