//! Everything that knows Kubernetes: the reconciles of the three kinds, along resolve → validate → plan → apply → report.
//!
//! The sub-rooms, from the top down; a room imports only rooms below it, and `sync` and `deletion` never each other:
//!
//! - [`preview`]: what would be done, for `usher plan`
//! - `watch`: the watches, and which event enqueues which objects
//! - `object`: the reconcile of a user or group, and its report
//! - `credential`: the reconcile of a credential: log-in, sweep, status, release
//! - `sync`: the account of a live object is made, bound, compared and changed
//! - `apply`: the steps of that are carried out and recorded
//! - `deletion`: the account of a deleted object is taken away
//! - `ownership`: whose account it is: conflicts between objects, and hand-over
//! - `resolve`: from an object to everything that it needs, and to the account that it describes
//! - `context`: what belongs to the process
//! - `connection`: the live side of a credential: session, inventory, creates under way, retries
//! - `cluster`: everything that reads or writes Kubernetes
//! - `runner`, `slots`: which object is reconciled next, and its reconcile in a task of its own
//! - `sweeps`: the sweeps under way
//! - `keys`: usher's own key, for digests of passwords and seals on bindings
//! - `outcome`, `hints`, `backoff`, `queue`, `settings`, `metrics`: values that all of them use
//!
//! No room here looks at an HTTP status of a vendor.

mod apply;
mod backoff;
mod cluster;
mod connection;
mod context;
mod credential;
mod deletion;
mod hints;
mod keys;
mod metrics;
mod object;
mod outcome;
mod ownership;
pub mod preview;
mod queue;
mod resolve;
mod runner;
mod settings;
mod slots;
mod sweeps;
mod sync;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::store;
use kube::runtime::reflector::store::Writer;
use kube::{Api, Client};
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
pub use settings::Settings;

use crate::api::{Kind, PlatformGroup, PlatformUser, ProviderCredential};
use cluster::Cluster;
use cluster::cache::Cache;
use cluster::seal_all;
use context::{Context, Run};
use credential::secret_finalizer;
use object::{group, user};
use queue::Queue;
use runner::{control, route};
use watch::streams;

/// Called with each kind once its first listing is there.
pub type Listed = Box<dyn Fn(&'static str) + Send + Sync>;

/// Runs the three controllers until `stop`, then finishes what is under way.
///
/// Boxed and without type parameters, so that the controllers are compiled in this crate alone and not in each that runs them.
pub fn run(
    client: Client,
    settings: Settings,
    metrics: Arc<dyn Metrics>,
    stop: CancellationToken,
    listed: Listed,
) -> BoxFuture<'static, ()> {
    run_all(client, settings, metrics, stop, listed).boxed()
}

async fn run_all(
    client: Client,
    settings: Settings,
    metrics: Arc<dyn Metrics>,
    stop: CancellationToken,
    listed: Listed,
) {
    let (queue, enqueued) = Queue::new();
    let ((users, user_writer), (groups, group_writer)) = (store(), store());
    let ((credentials, credential_writer), (secrets, secret_writer)) = (store(), store());
    let (namespaces, namespace_writer) = store();
    let own_secrets = Api::<Secret>::namespaced(client.clone(), &settings.namespace);
    let digest_key = tokio::select! {
        key = seal_all::key(&own_secrets, settings.mode) => key,
        () = stop.cancelled() => return,
    };
    let trusts_unsealed = digest_key.as_ref().is_none_or(|key| !key.are_bindings_sealed);
    let reporter = Reporter { controller: "usher".into(), instance: std::env::var("POD_NAME").ok() };
    let cluster = Cluster {
        client: client.clone(),
        users: Cache::new(users),
        groups: Cache::new(groups),
        credentials: Cache::new(credentials),
        secrets,
        secret_reader: Arc::new(client.clone()),
        namespaces,
        queue,
        recorder: Recorder::new(client.clone(), reporter),
        digest_key: OnceCell::new_with(digest_key),
        trusts_unsealed: AtomicBool::new(trusts_unsealed),
        unused_secrets: Notify::new(),
    };
    let context = Arc::new(Context::new(cluster, settings, metrics, Run::Live));
    let writers = (user_writer, group_writer, credential_writer, secret_writer, namespace_writer);
    let watches = watch_all(&context, client, writers);
    let (for_users, for_groups, for_credentials, router) = route(enqueued);
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
        () = secret_finalizer::tidy(&context) => {}
        () = seal_all::seal_all(&context.cluster, &own_secrets, context.settings.mode).then(|()| std::future::pending()) => {}
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

/// Fills the stores and enqueues changed objects, for as long as it is polled.
async fn watch_all(context: &Arc<Context>, client: Client, (users, groups, credentials, secrets, namespaces): Writers) {
    let users = streams::changes(context.clone(), Api::all(client.clone()), users);
    let groups = streams::changes(context.clone(), Api::all(client.clone()), groups);
    let credentials = streams::changes(context.clone(), Api::all(client.clone()), credentials);
    let secrets = streams::secrets(context.clone(), Api::all(client.clone()), secrets);
    let namespaces = streams::namespaces(context.clone(), Api::all(client), namespaces);
    futures::join!(users, groups, credentials, secrets, namespaces);
}

/// Calls `listed` for each kind once its first listing is there.
async fn announce(context: Arc<Context>, listed: Listed) {
    context.cluster.synced().await;
    [Kind::Credential, Kind::Group, Kind::User].into_iter().for_each(|kind| listed(kind.plural()));
}
