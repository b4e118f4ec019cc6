//! All objects of a kind in their latest state: the state of the watch, usher's own writes that the watch has not delivered yet, and
//! an index. No decisions.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use super::index_key::{IndexKey, Indexed};

/// All objects of a kind, with usher's own writes that the watch has not delivered yet.
pub struct Cache<K: Indexed> {
    store: Store<K>,
    ours: Mutex<Ours<K>>,
}

/// The state that the store lacks.
struct Ours<K: Indexed> {
    /// Own writes that the watch has not delivered yet, by uid.
    assumed: HashMap<String, Arc<K>>,
    index_keys: HashMap<ObjectRef<K>, HashSet<IndexKey>>,
    objects: HashMap<IndexKey, HashSet<ObjectRef<K>>>,
}

impl<K: Indexed> Cache<K> {
    /// A cache over `store`, which the watch fills.
    pub fn new(store: Store<K>) -> Self {
        let ours = Ours { assumed: HashMap::new(), index_keys: HashMap::new(), objects: HashMap::new() };
        let cache = Self { store, ours: Mutex::new(ours) };
        cache.store.state().iter().for_each(|object| cache.ours().index(object));
        cache
    }

    fn ours(&self) -> MutexGuard<'_, Ours<K>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store that the watch fills.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// The latest of `object`, its state in the watch, and its state after usher's own last write.
    pub fn latest(&self, object: Arc<K>) -> Arc<K> {
        let written = object.meta().uid.as_ref().and_then(|uid| self.ours().assumed.get(uid).cloned());
        [self.shown(&object), written]
            .into_iter()
            .flatten()
            .fold(object, |latest, other| if is_newer(&*other, &latest) { other } else { latest })
    }

    /// Keeps `object`, Kubernetes' answer to an own write, until the watch has caught up.
    pub fn assume(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        // The watch removes an object from the store before it asks for this lock, so a removed object is never kept.
        let mut ours = self.ours();
        let uid = object.uid().filter(|_| self.shown(&object).is_some_and(|shown| is_newer(&*object, &shown)));
        if let Some(uid) = uid.filter(|uid| ours.assumed.get(uid).is_none_or(|known| is_newer(&*object, known))) {
            ours.index(&object);
            ours.assumed.insert(uid, object.clone());
        }
        drop(ours);
        object
    }

    /// Takes `object` from the watch, and forgets own writes before that state.
    pub fn observe(&self, object: &K) {
        let mut ours = self.ours();
        let written = object.meta().uid.as_ref().and_then(|uid| ours.assumed.get(uid));
        if written.is_some_and(|written| is_newer(&**written, object)) {
            return;
        }
        if let Some(uid) = &object.meta().uid {
            ours.assumed.remove(uid);
        }
        ours.index(object);
    }

    /// Forgets `object`, which the watch reported as deleted.
    pub fn remove(&self, object: &K) {
        let mut ours = self.ours();
        if let Some(uid) = &object.meta().uid {
            ours.assumed.remove(uid);
        }
        ours.forget(&ObjectRef::from_obj(object));
    }

    /// Forgets the objects that a fresh listing of the watch lacks, and returns them: their deletion was not reported.
    pub fn listed(&self) -> Vec<ObjectRef<K>> {
        let mut ours = self.ours();
        let lost: Vec<_> = ours.index_keys.keys().filter(|place| self.store.get(place).is_none()).cloned().collect();
        lost.iter().for_each(|place| ours.forget(place));
        ours.assumed.retain(|_, written| self.shows(&**written));
        lost
    }

    /// Whether the watch still has this very object (the same uid). A deleted object leaves no newer state behind that would show
    /// its deletion.
    pub fn shows(&self, object: &K) -> bool {
        self.shown(object).is_some()
    }

    /// This very object in the state of the watch.
    fn shown(&self, object: &K) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::from_obj(object)).filter(|shown| shown.meta().uid == object.meta().uid)
    }

    /// The object with this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace)).map(|object| self.latest(object))
    }

    /// All objects with one of these keys that `filter` admits in their latest state; each once.
    pub fn by_index(&self, index_keys: &[IndexKey], filter: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let places: HashSet<ObjectRef<K>> = {
            let ours = self.ours();
            index_keys.iter().filter_map(|key| ours.objects.get(key)).flatten().cloned().collect()
        };
        let shown = places.iter().filter_map(|place| self.store.get(place));
        let found = shown.map(|object| self.latest(object)).filter(|object| filter(object));
        found.filter(|object| object.index_keys().iter().any(|key| index_keys.contains(key))).collect()
    }

    /// Whether any object has this key.
    pub fn has(&self, key: &IndexKey) -> bool {
        self.ours().objects.contains_key(key)
    }

    /// How many objects have this key.
    pub fn count(&self, key: &IndexKey) -> usize {
        self.ours().objects.get(key).map_or(0, HashSet::len)
    }

    /// All objects in their latest state.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state().into_iter().map(|object| self.latest(object)).collect()
    }
}

impl<K: Indexed> Ours<K> {
    fn index(&mut self, object: &K) {
        let place = ObjectRef::from_obj(object);
        let index_keys: HashSet<IndexKey> = object.index_keys().into_iter().collect();
        if self.index_keys.get(&place) == Some(&index_keys) {
            return;
        }
        self.forget(&place);
        for key in &index_keys {
            self.objects.entry(key.clone()).or_default().insert(place.clone());
        }
        self.index_keys.insert(place, index_keys);
    }

    fn forget(&mut self, place: &ObjectRef<K>) {
        for key in self.index_keys.remove(place).into_iter().flatten() {
            if let Some(objects) = self.objects.get_mut(&key) {
                objects.remove(place);
                if objects.is_empty() {
                    self.objects.remove(&key);
                }
            }
        }
    }
}

/// Whether `object` is a later state than `other`. Kubernetes answers the write that removes the last finalizer with the version
/// before it.
fn is_newer<K: Resource>(object: &K, other: &K) -> bool {
    version(object) > version(other) || is_over(object)
}

/// Whether `object` is the answer to the write that removed its last finalizer.
fn is_over<K: Resource>(object: &K) -> bool {
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
    fn only_the_very_object_is_shown_and_only_until_it_is_gone() {
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
    fn the_write_an_object_went_with_outlasts_what_the_watch_still_shows() {
        let (store, mut writer) = store();
        let cache = Cache::new(store);
        let mut going = user("ada");
        going.metadata.uid = Some("1".into());
        going.metadata.resource_version = Some("7".into());
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        let mut gone = going.clone();
        going.finalizers_mut().push(crate::api::names::FINALIZER.into());
        writer.apply_watcher_event(&Event::Apply(going.clone()));
        cache.assume(gone.clone());
        cache.observe(&going);
        assert_eq!(cache.latest(Arc::new(going.clone())).finalizers(), gone.finalizers());
        gone.metadata.resource_version = Some("8".into());
        writer.apply_watcher_event(&Event::Delete(gone.clone()));
        cache.remove(&gone);
        assert!(cache.ours().assumed.is_empty() && cache.get("identity", "ada").is_none());
    }

    #[test]
    fn what_went_while_nobody_watched_is_told_by_the_next_listing() {
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
        assert_eq!(cache.listed(), []);
        list(&both[..1]);
        assert_eq!(cache.listed(), [ObjectRef::from_obj(&both[1])]);
        assert!(cache.has(&IndexKey::key("ADA@example.com")) && !cache.has(&IndexKey::key("eve@example.com")));
    }
}
