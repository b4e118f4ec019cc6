//! Objects that do not fit their schema (stored under another version of it): what can be read of them is kept, so that they hold
//! their accounts, say what is wrong, and can be deleted as their policy says. It repairs nothing.

use std::borrow::Cow;

use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::api::Reason;
use crate::controller::outcome::Stop;

/// In memory only: why an object could not be read.
const UNREADABLE: &str = "usher.dev/unreadable";
/// In memory only: a deletion policy that could not be read.
const UNREAD_POLICY: &str = "usher.dev/unread-policy";
/// In memory only: a mode that could not be read.
const UNREAD_MODE: &str = "usher.dev/unread-mode";
/// All of these.
const MARKS: [&str; 3] = [UNREADABLE, UNREAD_POLICY, UNREAD_MODE];

/// An object as the API server has it.
#[derive(Clone, Debug)]
pub struct Lenient<K>(pub K);

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Value::deserialize(deserializer)?;
        let mut object = match K::deserialize(&stored) {
            Ok(object) => return Ok(Self(unmarked(object))),
            Err(error) => lenient::<K>(&stored).ok_or_else(|| D::Error::custom(&error)).map(|object| (object, error)),
        }?;
        let marks = object.0.annotations_mut();
        marks.insert(UNREADABLE.into(), object.1.to_string());
        for (field, mark) in [("deletionPolicy", UNREAD_POLICY), ("mode", UNREAD_MODE)] {
            let written = stored["spec"].get(field).filter(|value| !reads::<K>(&stored, field, value));
            if let Some(value) = written {
                marks.insert(mark.into(), value.to_string());
            }
        }
        Ok(Self(object.0))
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Lenient<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// It without a mark that it cannot be read: nobody but us may say so.
pub fn unmarked<K: Resource>(mut object: K) -> K {
    if object.meta().annotations.is_some() {
        object.annotations_mut().retain(|name, _| !MARKS.contains(&name.as_str()));
    }
    object
}

/// The object with those fields of spec and status alone that can be read.
fn lenient<K: Resource + DeserializeOwned>(stored: &Value) -> Option<K> {
    let mut lean = bare(stored);
    for part in ["spec", "status"] {
        for (field, value) in stored[part].as_object().into_iter().flatten() {
            let mut candidate = lean.clone();
            candidate[part][field] = value.clone();
            if K::deserialize(&candidate).is_ok() {
                lean = candidate;
            }
        }
    }
    K::deserialize(&lean).ok().map(unmarked)
}

/// The object without what may be unreadable; what a spec needs is there but empty.
fn bare(stored: &Value) -> Value {
    json!({
        "apiVersion": stored["apiVersion"],
        "kind": stored["kind"],
        "metadata": stored["metadata"],
        "spec": {"credentialRef": {"name": ""}, "email": "", "secretRef": {"name": ""}, "provider": {"pegasus": {}}},
        "status": Map::new(),
    })
}

fn reads<K: DeserializeOwned>(stored: &Value, field: &str, value: &Value) -> bool {
    let mut candidate = bare(stored);
    if stored["kind"] != "ProviderCredential" {
        candidate["spec"]["provider"] = Value::Null;
    }
    candidate["spec"][field] = value.clone();
    K::deserialize(&candidate).is_ok()
}

/// Errors: the object could not be read as a whole.
pub fn readable<K: Resource>(object: &K) -> Result<(), Stop> {
    match object.annotations().get(UNREADABLE) {
        Some(error) => Err(Stop::because(Reason::Invalid, message(error))),
        None => Ok(()),
    }
}

/// The message on an object that could not be read as a whole.
pub fn unreadable<K: Resource>(object: &K) -> Option<String> {
    object.annotations().get(UNREADABLE).map(|error| message(error))
}

fn message(error: &str) -> String {
    format!("the stored object does not fit its schema: {error}; correct it and apply it again")
}

/// A deletion policy that could not be read.
pub fn unread_policy<K: Resource>(object: &K) -> Option<&str> {
    object.annotations().get(UNREAD_POLICY).map(String::as_str)
}

/// A mode that could not be read.
pub fn unread_mode<K: Resource>(object: &K) -> Option<&str> {
    object.annotations().get(UNREAD_MODE).map(String::as_str)
}
