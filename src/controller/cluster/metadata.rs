//! The metadata of an object that usher reads. No decisions.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;

use crate::api::names;

/// Most characters of an annotation that are kept. An annotation may have 256 KiB, and usher compares short values alone.
const MAX_ANNOTATION: usize = 256;

/// Drops the metadata that usher does not read, because a cache holds all objects of a cluster: labels, owners, managed fields, and all
/// annotations but usher's own. usher never writes metadata back as a whole.
pub fn drop_unread(meta: &mut ObjectMeta) {
    (meta.managed_fields, meta.labels, meta.owner_references) = (None, None, None);
    let annotations = meta.annotations.take().unwrap_or_default().into_iter();
    let own = annotations.filter(|(name, _)| names::READ_ANNOTATIONS.contains(&&**name));
    let short = own.map(|(name, value)| (name, value.chars().take(MAX_ANNOTATION).collect::<String>()));
    meta.annotations = Some(short.collect()).filter(|own: &BTreeMap<_, _>| !own.is_empty());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_metadata_that_usher_reads_is_kept() {
        let mut meta: ObjectMeta = serde_json::from_value(json!({
            "name": "ada", "uid": "1", "finalizers": [names::FINALIZER], "labels": {"a": "b"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "a", "uid": "2"}],
            "annotations": {
                names::PAUSED: "true", names::RECONCILE_AT: "x".repeat(100_000),
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
            "managedFields": [{"manager": "kubectl"}],
        }))
        .unwrap();
        drop_unread(&mut meta);
        let kept = json!(meta);
        assert_eq!(
            (&kept["name"], &kept["uid"], &kept["finalizers"]),
            (&json!("ada"), &json!("1"), &json!([names::FINALIZER]))
        );
        assert_eq!(kept["annotations"], json!({names::PAUSED: "true", names::RECONCILE_AT: "x".repeat(256)}));
        assert_eq!(kept.as_object().unwrap().len(), 4);
    }
}
