//! Ways out that several messages name: kubectl commands and short advice; and what Kubernetes said. Texts only.

use crate::api::names::OWNER_CLUSTER;
use crate::api::{ObjectKey, Reason};
use crate::controller::outcome::Stop;

/// The way out for an object whose account's id is not known.
pub const WITH_ID: &str = "delete this object with deletionPolicy: Orphan and apply it anew with spec.externalId";

/// The command that lets an object go and keeps its account.
pub fn orphan_command(key: &ObjectKey) -> String {
    let ObjectKey { kind, namespace, name } = key;
    format!(
        "kubectl -n {namespace} patch {} {name} --type merge -p '{{\"spec\":{{\"deletionPolicy\":\"Orphan\"}}}}'",
        kind.short()
    )
}

/// The command that names the cluster `own` as the owner of an object's account.
pub fn own_command(key: &ObjectKey, own: &str) -> String {
    let ObjectKey { kind, namespace, name } = key;
    format!("kubectl -n {namespace} annotate --overwrite {} {name} {OWNER_CLUSTER}={own}", kind.short())
}

/// The removal of `object` cannot proceed because of `why`; the message carries the command that gives the account up.
pub fn blocked(object: &ObjectKey, why: &str) -> Stop {
    Stop::because(Reason::DeletionBlocked, format!("{why}; or give the account up: {}", orphan_command(object)))
}

/// The message on an object whose reconcile panicked.
pub const PANICKED: &str = "this version of usher fails on this object: its log says where; usher tries again";

/// What Kubernetes said, without the Debug text that `kube::Error` adds.
pub fn message_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => error.to_string(),
    }
}
