//! All objects of a kind in their latest state: the state of the watch, usher's own writes that the watch has not delivered yet, and
//! an index. No decisions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::index_key::{IndexKey, Indexed};
use super::metadata::drop_unread;

/// All objects of a kind, with usher's own writes that the watch has not delivered yet.
pub struct Cache<K: Indexed> {
    store: Store<K>,
    overlay: Mutex<Overlay<K>>,
}

/// What the store lacks: usher's own writes and the index.
struct Overlay<K: Indexed> {
    /// The latest own write to each object that the watch has not delivered yet, by the object's uid.
    assumed: HashMap<String, Arc<K>>,
    /// The keys of each object.
    index_keys: HashMap<ObjectRef<K>, HashSet<IndexKey>>,
    /// The objects with each key.
    objects: HashMap<IndexKey, HashSet<ObjectRef<K>>>,
}

impl<K: Indexed> Cache<K> {
    /// A cache over `store`, which the watch fills.
    pub fn new(store: Store<K>) -> Self {
        let overlay = Overlay { assumed: HashMap::new(), index_keys: HashMap::new(), objects: HashMap::new() };
        let cache = Self { store, overlay: Mutex::new(overlay) };
        cache.store.state().iter().for_each(|object| cache.overlay.lock().index(object));
        cache
    }

    /// The store that the watch fills.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// The latest state of `object`: the given one, the one in the watch, or the one after usher's last write.
    pub fn latest(&self, object: Arc<K>) -> Arc<K> {
        let written = object.meta().uid.as_ref().and_then(|uid| self.overlay.lock().assumed.get(uid).cloned());
        [self.watched(&object), written]
            .into_iter()
            .flatten()
            .fold(object, |latest, other| if is_newer(&*other, &latest) { other } else { latest })
    }

    /// Keeps `object`, the API server's answer to an own write, until the watch delivers that state. Returns `object`.
    pub fn assume(&self, mut object: K) -> Arc<K> {
        drop_unread(object.meta_mut());
        let object = Arc::new(object);
        // The watch removes an object from the store before it asks for this lock, so a removed object is never kept.
        let mut overlay = self.overlay.lock();
        let uid = object.uid().filter(|_| self.watched(&object).is_some_and(|watched| is_newer(&*object, &watched)));
        if let Some(uid) = uid.filter(|uid| overlay.assumed.get(uid).is_none_or(|known| is_newer(&*object, known))) {
            overlay.index(&object);
            overlay.assumed.insert(uid, object.clone());
        }
        drop(overlay);
        object
    }

    /// Indexes `object`, which the watch delivered, and forgets own writes before that state.
    pub fn observe(&self, object: &K) {
        let mut overlay = self.overlay.lock();
        let written = object.meta().uid.as_ref().and_then(|uid| overlay.assumed.get(uid));
        if written.is_some_and(|written| is_newer(&**written, object)) {
            return;
        }
        if let Some(uid) = &object.meta().uid {
            overlay.assumed.remove(uid);
        }
        overlay.index(object);
    }

    /// Forgets `object`, which the watch reported as deleted.
    pub fn remove(&self, object: &K) {
        let mut overlay = self.overlay.lock();
        if let Some(uid) = &object.meta().uid {
            overlay.assumed.remove(uid);
        }
        overlay.forget(&ObjectRef::from_obj(object));
    }

    /// Forgets the objects that the watch's fresh listing lacks, and returns them, because the watch did not report their deletion.
    pub fn forget_unlisted(&self) -> Vec<ObjectRef<K>> {
        let mut overlay = self.overlay.lock();
        let lost: Vec<_> =
            overlay.index_keys.keys().filter(|object| self.store.get(object).is_none()).cloned().collect();
        lost.iter().for_each(|object| overlay.forget(object));
        overlay.assumed.retain(|_, written| self.shows(&**written));
        lost
    }

    /// Whether the store still holds this very object (the same uid). The cache keeps no state of a deleted object, so its absence is
    /// the only sign of the deletion.
    pub fn shows(&self, object: &K) -> bool {
        self.watched(object).is_some()
    }

    /// This very object in the state that the watch delivered last.
    fn watched(&self, object: &K) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::from_obj(object)).filter(|watched| watched.meta().uid == object.meta().uid)
    }

    /// The object with this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace)).map(|object| self.latest(object))
    }

    /// The objects that have one of these keys in their latest state and pass `filter`; each once.
    pub fn by_index(&self, index_keys: &[IndexKey], filter: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let references: HashSet<ObjectRef<K>> = {
            let overlay = self.overlay.lock();
            index_keys.iter().filter_map(|key| overlay.objects.get(key)).flatten().cloned().collect()
        };
        let watched = references.iter().filter_map(|reference| self.store.get(reference));
        let found = watched.map(|object| self.latest(object)).filter(|object| filter(object));
        found.filter(|object| object.index_keys().iter().any(|key| index_keys.contains(key))).collect()
    }

    /// Whether any object has this key.
    pub fn has(&self, key: &IndexKey) -> bool {
        self.overlay.lock().objects.contains_key(key)
    }

    /// How many objects have this key.
    pub fn count(&self, key: &IndexKey) -> usize {
        self.overlay.lock().objects.get(key).map_or(0, HashSet::len)
    }

    /// All objects in their latest state.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state().into_iter().map(|object| self.latest(object)).collect()
    }
}

impl<K: Indexed> Overlay<K> {
    fn index(&mut self, object: &K) {
        let reference = ObjectRef::from_obj(object);
        let index_keys: HashSet<IndexKey> = object.index_keys().into_iter().collect();
        if self.index_keys.get(&reference) == Some(&index_keys) {
            return;
        }
        self.forget(&reference);
        for key in &index_keys {
            self.objects.entry(key.clone()).or_default().insert(reference.clone());
        }
        self.index_keys.insert(reference, index_keys);
    }

    fn forget(&mut self, reference: &ObjectRef<K>) {
        for key in self.index_keys.remove(reference).into_iter().flatten() {
            if let Some(objects) = self.objects.get_mut(&key) {
                objects.remove(reference);
                if objects.is_empty() {
                    self.objects.remove(&key);
                }
            }
        }
    }
}

/// Whether `object` is a later state than `other`. The answer to the write that removes the last finalizer counts as later, because it
/// has the version before that write.
fn is_newer<K: Resource>(object: &K, other: &K) -> bool {
    version(object) > version(other) || is_released(object)
}

/// Whether `object` is the answer to the write that removed its last finalizer.
fn is_released<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some() && object.finalizers().is_empty()
}

/// Resource versions of one kind in one cluster are ordered numbers (documented since Kubernetes 1.35).
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::api::PlatformUser;

    fn user(name: &str) -> PlatformUser {
        let spec = serde_json::json!({"credentialRef": {"name": "main"}, "email": format!("{name}@example.com")});
        let mut user = PlatformUser::new(name, serde_json::from_value(spec).unwrap());
        user.metadata.namespace = Some("identity".into());
        user
    }

    #[test]
    fn the_cache_shows_an_object_by_its_uid_until_its_deletion() {
        let (store, mut writer) = store();
        let cache = Cache::new(store);
        let with_uid = |uid: &str| {
            let mut ada = user("ada");
            ada.metadata.uid = Some(uid.into());
            ada
        };
        let (first, second) = (with_uid("1"), with_uid("2"));
        writer.apply_watcher_event(&Event::Apply(first.clone()));
        assert!(cache.shows(&first));
        writer.apply_watcher_event(&Event::Delete(first.clone()));
        assert!(!cache.shows(&first));
        writer.apply_watcher_event(&Event::Apply(second.clone()));
        assert!(cache.shows(&second) && !cache.shows(&first));
    }

    #[test]
    fn the_write_that_releases_an_object_wins_over_an_older_state_in_the_watch() {
        let (store, mut writer) = store();
        let cache = Cache::new(store);
        let mut deleting = user("ada");
        deleting.metadata.uid = Some("1".into());
        deleting.metadata.resource_version = Some("7".into());
        deleting.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        let mut released = deleting.clone();
        deleting.finalizers_mut().push(crate::api::names::FINALIZER.into());
        writer.apply_watcher_event(&Event::Apply(deleting.clone()));
        cache.assume(released.clone());
        cache.observe(&deleting);
        assert_eq!(cache.latest(Arc::new(deleting.clone())).finalizers(), released.finalizers());
        released.metadata.resource_version = Some("8".into());
        writer.apply_watcher_event(&Event::Delete(released.clone()));
        cache.remove(&released);
        assert!(cache.overlay.lock().assumed.is_empty() && cache.get("identity", "ada").is_none());
    }

    #[test]
    fn the_next_listing_reveals_objects_that_were_deleted_unwatched() {
        let (store, mut writer) = store();
        let mut list = |users: &[PlatformUser]| {
            writer.apply_watcher_event(&Event::Init);
            users.iter().for_each(|user| writer.apply_watcher_event(&Event::InitApply(user.clone())));
            writer.apply_watcher_event(&Event::InitDone);
        };
        let cache = Cache::new(store);
        let both = [user("ada"), user("eve")];
        list(&both);
        both.iter().for_each(|user| cache.observe(user));
        assert_eq!(cache.forget_unlisted(), []);
        list(&both[..1]);
        assert_eq!(cache.forget_unlisted(), [ObjectRef::from_obj(&both[1])]);
        assert!(cache.has(&IndexKey::key("ADA@example.com")) && !cache.has(&IndexKey::key("eve@example.com")));
    }
}
