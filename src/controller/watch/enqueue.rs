//! Which event enqueues which objects.
//!
//! | event | objects that are enqueued |
//! |---|---|
//! | spec, request in an annotation, or deletion of an object changed | the object ([`super::streams::changes`]) |
//! | a user is gone | its credential, its groups, the objects that wait for its account |
//! | a group is gone | its credential, the objects that wait for its counterpart |
//! | a credential is gone | its users and groups |
//! | a watch started anew and objects are lost | all objects |
//! | a Secret changed | the credentials and users that name it |
//! | a namespace changed | its credentials, and its users and groups that use a credential elsewhere |
//! | a group became usable | the users that name it (`object::group`) |
//! | a credential has news (link, listing, pause, edit) | its users and groups (`credential::reconcile`) |
//! | an object gave a key up | the objects that wait for that key (`ownership::wake`) |
//! | a limiter has room | the next object in its queue |

use kube::ResourceExt;

use crate::api::{ObjectKey, PlatformGroup, PlatformUser, ProviderCredential};
use crate::controller::cluster::Cluster;
use crate::controller::cluster::index_key::{IndexKey, Indexed as _};
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object;
use crate::controller::context::Context;
use crate::controller::credential::release;
use crate::controller::ownership::wake;
use crate::controller::slots::Class;

/// A kind that is watched.
pub trait Watched: Object {
    /// Forgets an object that is gone, and enqueues the objects that waited for that.
    fn gone(&self, context: &Context);

    /// The credential whose slots its reconcile takes, and whether it concerns an account that is there.
    fn lane(&self) -> (ObjectKey, Class);
}

impl Watched for PlatformUser {
    fn gone(&self, context: &Context) {
        gone(context, self);
        let named = self.index_keys().into_iter().filter_map(|key| match key {
            IndexKey::Group(group) => Some(group),
            _ => None,
        });
        named.for_each(|group| context.cluster.enqueue(group));
    }

    fn lane(&self) -> (ObjectKey, Class) {
        lane(self)
    }
}

impl Watched for PlatformGroup {
    fn gone(&self, context: &Context) {
        gone(context, self);
    }

    fn lane(&self) -> (ObjectKey, Class) {
        lane(self)
    }
}

impl Watched for ProviderCredential {
    fn gone(&self, context: &Context) {
        context.cluster.credentials.remove(self);
        context.cluster.unused_secrets.notify_one();
        release::forget(context, self);
        context.cluster.enqueue_users_of(&self.key());
    }

    fn lane(&self) -> (ObjectKey, Class) {
        (self.key(), Class::Known)
    }
}

fn lane<K: Managed>(object: &K) -> (ObjectKey, Class) {
    let is_known = object.is_deleting() || object.has_account();
    (object.credential_key(), if is_known { Class::Known } else { Class::New })
}

fn gone<K: Managed>(context: &Context, object: &K) {
    K::cache(&context.cluster).remove(object);
    wake::enqueue_waiting(context, object);
    forget(context, &object.key());
    if let Some(connection) = context.connections.up(&object.credential_key()) {
        connection.object_memory.forget(&object.key());
    }
    context.cluster.enqueue(object.credential_key());
}

/// Forgets the failures and the metrics of an object that is gone.
pub fn forget(context: &Context, key: &ObjectKey) {
    context.backoff.reset(key);
    context.metrics.object_state(key, None);
}

/// Enqueues all objects.
pub fn enqueue_all(cluster: &Cluster) {
    cluster.credentials.all().iter().for_each(|credential| cluster.enqueue(credential.key()));
    cluster.groups.all().iter().for_each(|group| cluster.enqueue(group.key()));
    cluster.users.all().iter().for_each(|user| cluster.enqueue(user.key()));
}

/// Enqueues all objects that name a Secret, because the store holds a fresh listing of Secrets only once that is whole.
pub fn enqueue_secret_users(cluster: &Cluster) {
    cluster.credentials.all().iter().for_each(|credential| cluster.enqueue(credential.key()));
    let users = cluster.users.all().into_iter().filter(|user| user.spec.password_secret_ref.is_some());
    users.for_each(|user| cluster.enqueue(user.key()));
}

/// Enqueues the objects that name this Secret.
pub fn enqueue_users_of_secret(cluster: &Cluster, namespace: &str, name: &str) {
    let using = [IndexKey::Secret(namespace.to_owned(), name.to_owned())];
    let credentials = cluster.credentials.by_index(&using, |_| true);
    credentials.iter().for_each(|credential| cluster.enqueue(credential.key()));
    cluster.users.by_index(&using, |_| true).iter().for_each(|user| cluster.enqueue(user.key()));
}

/// Enqueues the objects that labels or the deletion of this namespace may concern.
pub fn enqueue_all_in(cluster: &Cluster, namespace: &str) {
    let here = |object: Option<String>| object.as_deref() == Some(namespace);
    let elsewhere = |key: ObjectKey| key.namespace != namespace;
    let credentials = cluster.credentials.all().into_iter().filter(|credential| here(credential.namespace()));
    credentials.for_each(|credential| cluster.enqueue(credential.key()));
    let groups = cluster.groups.all().into_iter();
    let groups = groups.filter(|group| here(group.namespace()) && elsewhere(group.credential_key()));
    groups.for_each(|group| cluster.enqueue(group.key()));
    let users = cluster.users.all().into_iter();
    let users = users.filter(|user| here(user.namespace()) && elsewhere(user.credential_key()));
    users.for_each(|user| cluster.enqueue(user.key()));
}
