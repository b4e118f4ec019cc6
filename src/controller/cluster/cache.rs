//! All objects of a kind as they are now: what the watch shows, what we wrote since, and an index by what they are about; no decisions.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use super::managed::Managed;
use crate::api::status::Identity;
use crate::api::user::GroupEntry;
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential};

/// What objects are found by without a walk through all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexKey {
    /// Uses this credential.
    Credential(ObjectKey),
    /// Is being deleted, and uses this credential.
    Deleting(ObjectKey),
    /// Wants, or is bound to, an account with this natural key, in lower case.
    Key(String),
    /// Wants, or is bound to, the account with this id.
    Account(String),
    /// Names this PlatformGroup.
    Group(ObjectKey),
    /// Takes values from the Secret with this namespace and name.
    Secret(String, String),
}

impl IndexKey {
    /// A natural key, whatever its case.
    pub fn key(key: &str) -> Self {
        Self::Key(key.to_ascii_lowercase())
    }
}

/// A kind whose objects are found by tags.
pub trait Indexed: Resource<DynamicType = ()> + Clone + 'static {
    /// All that this object is found by.
    fn index_keys(&self) -> Vec<IndexKey>;
}

impl Indexed for PlatformUser {
    fn index_keys(&self) -> Vec<IndexKey> {
        let namespace = self.namespace().unwrap_or_default();
        let groups = self.spec.groups.iter().flatten().filter_map(|entry| match entry {
            GroupEntry::GroupRef(reference) => Some(ObjectKey::new(Kind::Group, &*namespace, &*reference.name)),
            GroupEntry::ExternalId(_) | GroupEntry::ExternalName(_) => None,
        });
        let secret = self.spec.password_secret_ref.as_ref();
        let secret = secret.map(|reference| IndexKey::Secret(namespace.clone(), reference.name.clone()));
        common(self).into_iter().chain(groups.map(IndexKey::Group)).chain(secret).collect()
    }
}

impl Indexed for PlatformGroup {
    fn index_keys(&self) -> Vec<IndexKey> {
        common(self)
    }
}

impl Indexed for ProviderCredential {
    fn index_keys(&self) -> Vec<IndexKey> {
        vec![IndexKey::Secret(self.namespace().unwrap_or_default(), self.spec.secret_ref.name.clone())]
    }
}

fn common<K: Managed>(object: &K) -> Vec<IndexKey> {
    let credential = object.credential_key();
    let identity = object.status().map(|status| &status.identity);
    let known = identity.into_iter().flat_map(Identity::known_keys).map(String::as_str);
    let bound = identity.and_then(Identity::known_id).map(String::as_str);
    let keys = object.natural_keys().chain(known).map(IndexKey::key);
    let accounts = object.external_id().into_iter().chain(bound).map(|id| IndexKey::Account(id.to_owned()));
    let going = object.is_deleting().then(|| IndexKey::Deleting(credential.clone()));
    keys.chain(accounts).chain(going).chain([IndexKey::Credential(credential)]).collect()
}

/// All objects of a kind, with what we wrote ourselves and the watch has not shown yet.
pub struct Cache<K: Indexed> {
    store: Store<K>,
    ours: Mutex<Ours<K>>,
}

/// What the store does not know.
struct Ours<K: Indexed> {
    /// What we wrote and the watch has not shown yet, by uid.
    newer: HashMap<String, Arc<K>>,
    index_keys: HashMap<ObjectRef<K>, HashSet<IndexKey>>,
    objects: HashMap<IndexKey, HashSet<ObjectRef<K>>>,
}

impl<K: Indexed> Cache<K> {
    /// A shelf over what the watch shows.
    pub fn new(store: Store<K>) -> Self {
        let ours = Ours { newer: HashMap::new(), index_keys: HashMap::new(), objects: HashMap::new() };
        let cache = Self { store, ours: Mutex::new(ours) };
        cache.store.state().iter().for_each(|object| cache.ours().index(object));
        cache
    }

    fn ours(&self) -> MutexGuard<'_, Ours<K>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the watch shows.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// The newest of `object`, what the watch shows of it and what we wrote to it.
    pub fn latest(&self, object: Arc<K>) -> Arc<K> {
        let written = object.meta().uid.as_ref().and_then(|uid| self.ours().newer.get(uid).cloned());
        [self.shown(&object), written]
            .into_iter()
            .flatten()
            .fold(object, |latest, other| if is_newer(&*other, &latest) { other } else { latest })
    }

    /// Keeps what Kubernetes answered to our write until the watch has caught up.
    pub fn assume(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        // The watch takes it out of the store first and then asks for this lock: nothing is kept of what it has shown to be gone.
        let mut ours = self.ours();
        let uid = object.uid().filter(|_| self.shown(&object).is_some_and(|shown| is_newer(&*object, &shown)));
        if let Some(uid) = uid.filter(|uid| ours.newer.get(uid).is_none_or(|known| is_newer(&*object, known))) {
            ours.index(&object);
            ours.newer.insert(uid, object.clone());
        }
        drop(ours);
        object
    }

    /// The watch shows `object`: forgets what we wrote before that.
    pub fn observe(&self, object: &K) {
        let mut ours = self.ours();
        let written = object.meta().uid.as_ref().and_then(|uid| ours.newer.get(uid));
        if written.is_some_and(|written| is_newer(&**written, object)) {
            return;
        }
        if let Some(uid) = &object.meta().uid {
            ours.newer.remove(uid);
        }
        ours.index(object);
    }

    /// The watch shows that `object` is gone.
    pub fn remove(&self, object: &K) {
        let mut ours = self.ours();
        if let Some(uid) = &object.meta().uid {
            ours.newer.remove(uid);
        }
        ours.forget(&ObjectRef::from_obj(object));
    }

    /// The watch has listed everything anew: forgets what is not there any more, and returns it; it went unseen.
    pub fn listed(&self) -> Vec<ObjectRef<K>> {
        let mut ours = self.ours();
        let lost: Vec<_> = ours.index_keys.keys().filter(|place| self.store.get(place).is_none()).cloned().collect();
        lost.iter().for_each(|place| ours.forget(place));
        ours.newer.retain(|_, written| self.shows(&**written));
        lost
    }

    /// Whether the watch still shows this very object. Whoever was handed it a moment ago cannot tell by itself that it went
    /// since: nothing newer is left then.
    pub fn shows(&self, object: &K) -> bool {
        self.shown(object).is_some()
    }

    /// This very object as the watch shows it.
    fn shown(&self, object: &K) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::from_obj(object)).filter(|shown| shown.meta().uid == object.meta().uid)
    }

    /// The object with this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace)).map(|object| self.latest(object))
    }

    /// All objects with one of these tags that `filter` lets through as they are now, our own latest writes included; each once.
    pub fn by_index(&self, index_keys: &[IndexKey], filter: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let places: HashSet<ObjectRef<K>> = {
            let ours = self.ours();
            index_keys.iter().filter_map(|tag| ours.objects.get(tag)).flatten().cloned().collect()
        };
        let shown = places.iter().filter_map(|place| self.store.get(place));
        let found = shown.map(|object| self.latest(object)).filter(|object| filter(object));
        found.filter(|object| object.index_keys().iter().any(|tag| index_keys.contains(tag))).collect()
    }

    /// Whether any object has this tag.
    pub fn has(&self, tag: &IndexKey) -> bool {
        self.ours().objects.contains_key(tag)
    }

    /// How many objects have this tag.
    pub fn count(&self, tag: &IndexKey) -> usize {
        self.ours().objects.get(tag).map_or(0, HashSet::len)
    }

    /// All objects as they are now, our own latest writes included.
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
        for tag in &index_keys {
            self.objects.entry(tag.clone()).or_default().insert(place.clone());
        }
        self.index_keys.insert(place, index_keys);
    }

    fn forget(&mut self, place: &ObjectRef<K>) {
        for tag in self.index_keys.remove(place).into_iter().flatten() {
            if let Some(objects) = self.objects.get_mut(&tag) {
                objects.remove(place);
                if objects.is_empty() {
                    self.objects.remove(&tag);
                }
            }
        }
    }
}

/// Whether `object` is a later state than `other`. An object that goes with its last finalizer is answered with the version it had
/// before.
fn is_newer<K: Resource>(object: &K, other: &K) -> bool {
    version(object) > version(other) || is_over(object)
}

/// Whether this is how Kubernetes answers the write that an object goes with.
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
        assert!(cache.ours().newer.is_empty() && cache.get("identity", "ada").is_none());
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
