//! Runs reconciles: an object that was enqueued is reconciled in a task of its own as soon as it has a slot, within a time.
//!
//! It is our own instead of kube's `applier`, which has one line for all objects, and polls all reconciles under way whenever one of
//! them can go on. An object is in one reconcile at a time; one that is enqueued meanwhile is reconciled again. Of several times for its
//! next reconcile the soonest counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::time::{DelayQueue, delay_queue};
use tracing::{Instrument, debug, error, info_span, warn};

use crate::api::{Kind, ObjectKey};
use crate::controller::backoff::Action;
use crate::controller::context::Context;
use crate::controller::hints::message_of;
use crate::controller::queue::{Enqueued, Request};
use crate::controller::slots::{Place, Slots};
use crate::controller::watch::enqueue::Watched;

/// Longest wait of an object that comes back by itself; a credential with a longer interval is reconciled in between, which does nothing.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The requests of one kind.
pub type Requests = mpsc::UnboundedReceiver<Request>;

/// Sends enqueued objects to the controllers of their kinds: users, groups, credentials.
pub fn route(mut enqueued: Enqueued) -> (Requests, Requests, Requests, BoxFuture<'static, ()>) {
    let (users, for_users) = mpsc::unbounded_channel();
    let (groups, for_groups) = mpsc::unbounded_channel();
    let (credentials, for_credentials) = mpsc::unbounded_channel();
    let router = async move {
        while let Some(request) = enqueued.recv().await {
            let target = match request.object.kind {
                Kind::User => &users,
                Kind::Group => &groups,
                Kind::Credential => &credentials,
            };
            if target.send(request).is_err() {
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
    mut requests: Requests,
    stop: &CancellationToken,
    reconcile: Reconcile<K>,
) {
    tokio::select! {
        () = context.cluster.synced() => {}
        () = stop.cancelled() => return,
    }
    let mut controller = Controller::new(context.clone(), reconcile);
    loop {
        controller.start();
        tokio::select! {
            () = stop.cancelled() => break,
            Some(request) = requests.recv() => controller.enqueue(request),
            Some(due) = controller.due.next(), if !controller.due.is_empty() => controller.come_back(due.into_inner()),
            Some(ended) = controller.reconciles.join_next_with_id() => controller.finish(ended),
        }
    }
    while controller.reconciles.join_next().await.is_some() {}
}

/// The reconciles of one kind.
struct Controller<K> {
    context: Arc<Context>,
    reconcile: Reconcile<K>,
    slots: Slots,
    reconciles: JoinSet<Action>,
    /// The object of each task.
    objects: HashMap<task::Id, ObjectKey>,
    /// The objects that come back by themselves, by time.
    due: DelayQueue<ObjectKey>,
    timers: HashMap<ObjectKey, delay_queue::Key>,
}

impl<K: Watched> Controller<K> {
    fn new(context: Arc<Context>, reconcile: Reconcile<K>) -> Self {
        Self {
            slots: Slots::new(context.settings.concurrency, context.backlog.clone()),
            context,
            reconcile,
            reconciles: JoinSet::new(),
            objects: HashMap::new(),
            due: DelayQueue::new(),
            timers: HashMap::new(),
        }
    }

    /// Lets an object wait for a slot, if it exists.
    fn enqueue(&mut self, Request { object, is_admitted }: Request) {
        if let Some(timer) = self.timers.remove(&object) {
            self.due.try_remove(&timer);
        }
        let Some(latest) = K::cache(&self.context.cluster).get(&object.namespace, &object.name) else { return };
        let (credential, class) = latest.lane();
        self.slots.enqueue(object, Place { credential, class, is_admitted });
    }

    /// Lets an object wait for a slot whose time has come.
    fn come_back(&mut self, object: ObjectKey) {
        self.timers.remove(&object);
        self.enqueue(Request { object, is_admitted: false });
    }

    /// Starts the reconciles that have a slot.
    fn start(&mut self) {
        while let Some(key) = self.slots.start() {
            let stored = ObjectRef::<K>::new(&key.name).within(&key.namespace);
            let Some(object) = K::cache(&self.context.cluster).store().get(&stored) else {
                self.slots.finish(&key);
                continue;
            };
            let (context, reconcile) = (self.context.clone(), self.reconcile);
            let task = self.reconciles.spawn(async move { bounded(object, &context, reconcile).await });
            self.objects.insert(task.id(), key);
        }
    }

    /// Frees the slot of a reconcile that has ended, and notes when its object comes back.
    fn finish(&mut self, ended: Result<(task::Id, Action), JoinError>) {
        let (id, action) = match ended {
            Ok((id, action)) => (id, Some(action)),
            Err(error) => (error.id(), None),
        };
        let Some(object) = self.objects.remove(&id) else { return };
        let action = action.unwrap_or_else(|| self.panicked(&object));
        let waits = self.slots.finish(&object);
        if let Some(wait) = action.wait.filter(|_| !waits) {
            let timer = self.due.insert(object.clone(), wait.min(LONGEST_WAIT));
            self.timers.insert(object, timer);
        }
    }

    /// A panic is that of one object, which is tried again with back-off.
    fn panicked(&self, object: &ObjectKey) -> Action {
        error!(%object, "its reconcile panicked; reconciled again");
        self.context.metrics.reconciled(K::KIND.into(), "panic", Duration::ZERO);
        Action::requeue(self.context.backoff.next(object))
    }
}

/// One reconcile within its time, in its span, and counted. A failure of Kubernetes is retried with back-off.
async fn bounded<K: Watched>(object: Arc<K>, context: &Context, reconcile: Reconcile<K>) -> Action {
    let key = object.key();
    let span = info_span!("reconcile", kind = %key.kind, namespace = key.namespace, name = key.name, provider = K::vendor_label(&object));
    let begun = Instant::now();
    let limit = context.settings.reconcile_timeout;
    let work = tokio::time::timeout(limit, reconcile(object, context));
    let (action, result) = match work.instrument(span).await {
        Ok(Ok(action)) => (action, "ok"),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
            debug!(object = %key, "written meanwhile; reconciled again");
            (Action::requeue(Duration::from_millis(200)), "conflict")
        }
        Ok(Err(error)) => {
            warn!(object = %key, "Kubernetes did not answer: {}", message_of(&error));
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use async_trait::async_trait;
    use http::Response;
    use k8s_openapi::api::core::v1::Secret;
    use kube::Client;
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::api::ProviderCredential;
    use crate::controller::cluster::object::Object as _;
    use crate::controller::cluster::secrets::SecretReader;
    use crate::controller::context::{self, Results};
    use crate::controller::credential;

    /// Panics whenever a Secret is read.
    struct Panicking;

    #[async_trait]
    impl SecretReader for Panicking {
        async fn read(&self, _: &str, _: &str) -> Result<Option<Secret>, kube::Error> {
            panic!("a mistake")
        }
    }

    #[tokio::test]
    async fn a_panic_is_counted_told_in_the_status_and_retried_with_back_off() {
        let metadata =
            json!({"name": "main", "namespace": "identity", "uid": "1", "finalizers": [crate::api::names::FINALIZER]});
        let credential = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": metadata,
            "spec": {"provider": {"pegasus": {}}, "secretRef": {"name": "main"}}});
        let patches = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (patches.clone(), credential.to_string());
        let client = tower::service_fn(move |request: http::Request<Body>| {
            let (seen, answer) = (seen.clone(), answer.clone());
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await.unwrap();
                seen.lock().push(format!("{path} {}", String::from_utf8_lossy(&body)));
                Ok::<_, Infallible>(Response::new(Body::from(answer.into_bytes())))
            }
        });
        let secret = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        let results = Arc::new(Results::default());
        let credential: ProviderCredential = serde_json::from_value(credential).unwrap();
        let object = credential.key();
        let secrets = vec![serde_json::from_value(secret).unwrap()];
        let mut context = context::context(&Client::new(client, "identity"), secrets, vec![credential]);
        (context.cluster.secret_reader, context.metrics) = (Arc::new(Panicking), results.clone());
        let (context, stop) = (Arc::new(context), CancellationToken::new());
        let (enqueue, requests) = mpsc::unbounded_channel();
        enqueue.send(Request { object: object.clone(), is_admitted: false }).unwrap();
        let controller = control::<ProviderCredential>(&context, requests, &stop, |credential, context| {
            credential::reconcile::reconcile(credential, context).boxed()
        });
        let panicked_twice = async {
            while results.0.lock().len() < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = controller => {}
            () = panicked_twice => {}
            () = tokio::time::sleep(Duration::from_secs(10)) => {}
        }
        assert_eq!(*results.0.lock(), ["panic", "panic"]);
        // The third failure in a row waits four seconds or longer.
        assert!(context.backoff.next(&object) >= Duration::from_secs(4));
        let patches = patches.lock();
        let status = patches.iter().find(|patch| patch.contains("providercredentials/main/status"));
        let said = status.unwrap_or_else(|| panic!("{patches:?}"));
        assert!(said.contains("Unsupported") && said.contains("this version of usher fails on this object"), "{said}");
    }
}
