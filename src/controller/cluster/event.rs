//! The writer of events.

use std::time::Duration;

use kube::runtime::events::{Event, EventType};
use tracing::debug;

use super::Cluster;
use super::object::Object;

/// Longest time for the publication of one event.
const LIMIT: Duration = Duration::from_secs(5);
/// Most characters of a note (a limit of events.k8s.io).
const LONGEST_NOTE: usize = 1024;

/// Publishes an event about `object`. A failure is logged and not returned, because an event is a courtesy.
pub async fn publish<K: Object>(cluster: &Cluster, object: &K, type_: EventType, reason: &str, note: &str) {
    let note: String = note.chars().take(LONGEST_NOTE).collect();
    let event = Event { type_, reason: reason.into(), note: Some(note), action: reason.into(), secondary: None };
    let reference = object.object_ref(&());
    match tokio::time::timeout(LIMIT, cluster.recorder.publish(&event, &reference)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(object = %object.key(), "the event was not published: {error}"),
        Err(_) => debug!(object = %object.key(), "the event was not published in time"),
    }
}
