//! Reads along with everything the shared operator emits — log lines, status, events, metrics — and ends the run when a secret is among it.
//!
//! What was emitted is kept, so that a secret is found, too, that is known only later (a token of a vendor).

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use aho_corasick::AhoCorasick;
use futures::StreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};

/// Bytes of log lines that are searched together, because the searches for all secrets begin anew with each text.
const TOGETHER: usize = 256 * 1024;
/// Searches that are made one after the other before a single one replaces them, because that takes long to prepare.
const SEARCHES: usize = 64;
/// Shorter texts are no secrets of ours, and would be found everywhere.
const SHORTEST: usize = 8;

/// Secrets, and everything that must not hold one.
#[derive(Default)]
struct Watch {
    secrets: BTreeSet<String>,
    /// Together they search for all of `secrets`: the first for most of them, each of the others for those that were added later.
    searches: Vec<AhoCorasick>,
    /// Whole lines that were searched.
    emitted: Vec<Arc<str>>,
    /// Lines that were not searched yet.
    unsearched: String,
    /// The series of metrics that were searched, without their values.
    series: HashSet<String>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

fn watch() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn search_for<'a>(secrets: impl IntoIterator<Item = &'a String>) -> AhoCorasick {
    AhoCorasick::new(secrets).expect("secrets are few and short")
}

/// Ends the run if one of the secrets is in `text`.
fn ensure_none(search: &AhoCorasick, text: &str) {
    if let Some(found) = search.find(text) {
        end_the_run(&text[found.range()], text);
    }
}

/// Ends the run: a panic could be in a thread that no test waits for, or after the last test's end.
fn end_the_run(secret: &str, text: &str) -> ! {
    let line = text.lines().find(|line| line.contains(secret)).unwrap_or(text);
    // Not through the test's own capture: the process ends at once.
    let _ = writeln!(io::stderr(), "\nA SECRET LEAKED: {secret:?} is in\n{line}\n");
    std::process::exit(101);
}

/// Makes secrets known; what was emitted so far is searched for those that are new.
pub fn register(secrets: impl IntoIterator<Item = String>) {
    let (search, emitted) = {
        let mut guard = watch();
        let watch = guard.get_or_insert_default();
        let secrets = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST);
        let fresh: BTreeSet<String> = secrets.filter(|secret| !watch.secrets.contains(secret)).collect();
        if fresh.is_empty() {
            return;
        }
        watch.search();
        (watch.add(fresh), watch.emitted.clone())
    };
    // All of it takes long, and others must be able to log in the meantime.
    emitted.iter().for_each(|text| ensure_none(&search, text));
}

/// Makes the values of a Secret known; the name of a login is none, and is shown.
pub fn register_entries(entries: &Value) {
    let entries = entries.as_object().into_iter().flatten().filter(|(key, _)| *key != "username" && *key != "note");
    register(entries.filter_map(|(_, value)| value.as_str().map(str::to_owned)));
}

impl Watch {
    /// Searches what was not searched yet.
    fn search(&mut self) {
        if self.unsearched.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.unsearched);
        self.searches.iter().for_each(|search| ensure_none(search, &text));
        self.emitted.push(text.into());
    }

    /// Adds secrets that are not known yet, and returns the search for them.
    fn add(&mut self, fresh: BTreeSet<String>) -> AhoCorasick {
        let search = search_for(&fresh);
        self.secrets.extend(fresh);
        if self.searches.len() < SEARCHES {
            self.searches.push(search.clone());
        } else {
            self.searches = vec![search_for(&self.secrets)];
        }
        search
    }

    fn take(&mut self, text: &str) {
        self.unsearched.push_str(text);
        self.unsearched.push('\n');
    }
}

/// Searches what was just emitted, and keeps it.
pub fn emitted(text: &str) {
    let mut guard = watch();
    let watch = guard.get_or_insert_default();
    watch.take(text);
    watch.search();
}

/// Keeps what was just emitted, and searches it a little later: at the end of a test at the latest.
fn emitted_in_between(text: &str) {
    let mut guard = watch();
    let watch = guard.get_or_insert_default();
    watch.take(text);
    if watch.unsearched.len() > TOGETHER {
        watch.search();
    }
}

/// Whether a line that was emitted so far holds all `words`.
pub fn has_line(words: &[&str]) -> bool {
    let mut guard = watch();
    guard.iter_mut().for_each(Watch::search);
    let mut lines = guard.iter().flat_map(|watch| &watch.emitted).flat_map(|text| text.lines());
    lines.any(|line| words.iter().all(|word| line.contains(word)))
}

/// Searches the text of metrics; of what it shows again and again, once.
pub fn counted(text: &str) {
    let fresh: String = {
        let mut guard = watch();
        let known = &mut guard.get_or_insert_default().series;
        let series = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series);
        series.filter(|series| known.insert((*series).to_owned())).collect::<Vec<_>>().join("\n")
    };
    emitted(&fresh);
}

/// Takes log lines.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        emitted_in_between(&String::from_utf8_lossy(bytes));
        if std::env::var_os("USHER_LOG").is_some() {
            io::stderr().write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs everything of ours into the watch; with USHER_LOG as filter also to standard error.
pub fn watch_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = std::env::var("USHER_LOG").unwrap_or_else(|_| "usher=trace,warn".into());
        let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_ansi(false);
        builder.with_writer(|| Lines).try_init().expect("nobody else logs");
    });
}

/// Reads every status and event of the cluster as it comes, until the process ends.
pub fn watch_cluster(client: &Client) {
    watch_all::<PlatformUser>(client, |user| json!(user)["status"].to_string());
    watch_all::<PlatformGroup>(client, |group| json!(group)["status"].to_string());
    watch_all::<ProviderCredential>(client, |credential| json!(credential)["status"].to_string());
    watch_all::<Event>(client, |event| format!("{} {}", json!(event.reason), json!(event.note)));
}

fn watch_all<K>(client: &Client, text: fn(&K) -> String)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let objects = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    tokio::spawn(objects.touched_objects().for_each(move |object| async move {
        if let Ok(object) = object {
            emitted_in_between(&text(&object));
        }
    }));
}

#[test]
fn a_secret_is_found_in_what_was_emitted() {
    let search = search_for(&["fake-secret-of-this-test".to_owned()]);
    assert!(search.is_match("password=fake-secret-of-this-test;"));
    assert!(!search.is_match("password=***"));
}
