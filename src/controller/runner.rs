//! Runs reconciles: objects that were enqueued go to the controller of their kind, each reconcile within its time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use kube::runtime::applier;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

use crate::api::{Kind, ObjectKey};
use crate::controller::context::Context;
use crate::controller::watch::enqueue::Watched;

/// The receiving end of a queue.
pub type Enqueued = mpsc::UnboundedReceiver<ObjectKey>;

/// Sends enqueued objects to the controllers of their kinds: users, groups, credentials.
pub fn route(mut enqueued: Enqueued) -> (Enqueued, Enqueued, Enqueued, BoxFuture<'static, ()>) {
    let (users, for_users) = mpsc::unbounded_channel();
    let (groups, for_groups) = mpsc::unbounded_channel();
    let (credentials, for_credentials) = mpsc::unbounded_channel();
    let router = async move {
        while let Some(object) = enqueued.recv().await {
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
pub type Reconcile<K> = for<'a> fn(Arc<K>, &'a Context) -> BoxFuture<'a, Result<Action, kube::Error>>;

/// Runs the controller of one kind until `stop`; reconciles that are under way then are finished.
pub async fn control<K: Watched>(
    context: &Arc<Context>,
    enqueued: Enqueued,
    stop: &CancellationToken,
    reconcile: Reconcile<K>,
) {
    let listed = {
        let context = context.clone();
        async move { context.cluster.synced().await }
    };
    let enqueued =
        futures::stream::unfold(enqueued, |mut enqueued| async move { Some((enqueued.recv().await?, enqueued)) });
    let queue = futures::stream::once(listed)
        .filter_map(|()| std::future::ready(None))
        .chain(enqueued)
        .take_until(stop.clone().cancelled_owned())
        .map(|key: ObjectKey| Ok::<_, Infallible>(ObjectRef::<K>::new(&key.name).within(&key.namespace)));
    let config = Config::default().concurrency(context.settings.concurrency);
    applier(
        move |object, context: Arc<Context>| {
            async move { Ok::<_, Infallible>(bounded(object, &context, reconcile).await) }.boxed()
        },
        |_, _, _| Action::await_change(),
        context.clone(),
        K::cache(&context.cluster).store(),
        Box::pin(queue),
        config,
    )
    .for_each(|_| std::future::ready(()))
    .await;
}

/// One reconcile within its time, in its span, and counted. A failure of Kubernetes is retried with back-off.
async fn bounded<K: Watched>(object: Arc<K>, context: &Context, reconcile: Reconcile<K>) -> Action {
    let key = object.key();
    let span = info_span!("reconcile", kind = %key.kind, namespace = key.namespace, name = key.name, provider = K::vendor_label(&object));
    let begun = Instant::now();
    let limit = K::limit(context);
    let work = tokio::time::timeout(limit, reconcile(object, context));
    let (action, result) = match work.instrument(span).await {
        Ok(Ok(action)) => (action, "ok"),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
            debug!(object = %key, "written meanwhile; reconciled again");
            (Action::requeue(Duration::from_millis(200)), "conflict")
        }
        Ok(Err(error)) => {
            warn!(object = %key, "Kubernetes did not answer: {error}");
            (Action::requeue(context.backoff.next(&key)), "error")
        }
        Err(_) => {
            warn!(object = %key, "not done within {limit:?}; reconciled again");
            (Action::requeue(context.backoff.next(&key)), "timeout")
        }
    };
    context.metrics.reconciled(K::KIND.into(), result, begun.elapsed());
    action
}
