//! Reads manifests from files, folders and standard input; it contacts no cluster.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::Kind;
use crate::api::names::{API_GROUP, API_VERSION};
use crate::controller::preview::{Documents, SecretDocument};

/// Extensions of the files to read from a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("failed to read {path}: give a file, a folder, or - for standard input")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not YAML.
    #[error("{path} is not YAML: {reason}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The problem and its place.
        reason: String,
    },
    /// A document does not match its kind.
    #[error("{path}, {object}: {field}: {reason}; see kubectl explain")]
    Document {
        /// The file.
        path: PathBuf,
        /// Kind and name.
        object: String,
        /// The field.
        field: String,
        /// The problem with it.
        reason: String,
    },
    /// Two documents describe the same object.
    #[error("{0} appears twice in the given files: remove one")]
    Twice(String),
}

/// The documents that were read.
#[derive(Debug, Default)]
pub struct Read {
    /// Users, groups, credentials, Secrets and Namespaces.
    pub documents: Documents,
    /// Names of other kinds, which usher ignores.
    pub skipped: BTreeSet<String>,
}

/// Reads all documents of `paths`.
///
/// Errors: a file that cannot be read, or a field that is wrong.
pub fn read(paths: &[PathBuf]) -> Result<Unplaced, Error> {
    let mut read = Read::default();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            let path = || PathBuf::from("standard input");
            io::stdin().read_to_string(&mut text).map_err(|source| Error::Read { path: path(), source })?;
            read.take(&path(), &text)?;
        } else {
            for file in files(path)? {
                let text = std::fs::read_to_string(&file);
                read.take(&file, &text.map_err(|source| Error::Read { path: file.clone(), source })?)?;
            }
        }
    }
    Ok(Unplaced(read))
}

/// The documents that were read, some without a namespace.
pub struct Unplaced(Read);

impl Unplaced {
    /// Puts documents that name no namespace into `namespace`.
    ///
    /// Errors: two documents describe the same object.
    pub fn within(self, namespace: &str) -> Result<Read, Error> {
        let Read { mut documents, skipped } = self.0;
        documents.users.iter_mut().for_each(|user| place(user, namespace));
        documents.groups.iter_mut().for_each(|group| place(group, namespace));
        documents.credentials.iter_mut().for_each(|credential| place(credential, namespace));
        documents.secrets.iter_mut().for_each(|SecretDocument(secret)| place(secret, namespace));
        each_once(&documents)?;
        Ok(Read { documents, skipped })
    }
}

/// Errors: two documents with one kind, namespace and name.
fn each_once(documents: &Documents) -> Result<(), Error> {
    fn named<K: Resource<DynamicType = ()>>(object: &K) -> String {
        let namespace = object.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {namespace}{}", K::kind(&()), object.name_any())
    }
    let Documents { users, groups, credentials, secrets, namespaces } = documents;
    let names = users.iter().map(named).chain(groups.iter().map(named)).chain(credentials.iter().map(named));
    let names = names.chain(secrets.iter().map(|SecretDocument(secret)| named(secret)));
    let mut names = names.chain(namespaces.iter().map(named));
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(name.clone())).map_or(Ok(()), |name| Err(Error::Twice(name)))
}

fn place<K: Resource>(object: &mut K, namespace: &str) {
    object.meta_mut().namespace.get_or_insert_with(|| namespace.to_owned());
}

/// The file itself, or all manifests of a folder and the folders in it, sorted.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    if !path.metadata().map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries: Result<Vec<PathBuf>, io::Error> =
        std::fs::read_dir(path).map_err(failed)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries.into_iter().filter(|entry| !is_hidden(entry)) {
        let known = entry.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if known {
            found.push(entry);
        }
    }
    Ok(found)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

impl Read {
    fn take(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        // Without the snippet, because it would quote the file and a file may hold Secrets.
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Result<Vec<Value>, _> = serde_saphyr::from_multiple_with_options(text, options);
        let parsed = parsed.map_err(|error| Error::Yaml { path: path.to_owned(), reason: error.to_string() })?;
        parsed.iter().try_for_each(|document| self.take_one(path, document))
    }

    fn take_one(&mut self, path: &Path, document: &Value) -> Result<(), Error> {
        if document.is_null() {
            return Ok(());
        }
        let version = document["apiVersion"].as_str().unwrap_or_default();
        let kind = document["kind"].as_str().unwrap_or("a document without a kind");
        match (version, kind) {
            (API_VERSION, "PlatformUser") => self.documents.users.push(typed(path, document)?),
            (API_VERSION, "PlatformGroup") => self.documents.groups.push(typed(path, document)?),
            (API_VERSION, "ProviderCredential") => self.documents.credentials.push(typed(path, document)?),
            (version, _) if version.split_once('/').is_some_and(|(group, _)| group == API_GROUP) => {
                let kinds = [Kind::User, Kind::Group, Kind::Credential].map(|kind| kind.to_string()).join(", ");
                let help = format!("there is no {kind} in {version}: usher has {kinds} in {API_VERSION}");
                return Err(wrong(path, document, "kind", help));
            }
            ("v1", "Secret") => self.documents.secrets.push(secret(path, document)?),
            ("v1", "Namespace") => self.documents.namespaces.push(plain(path, document)?),
            ("v1", "List") => {
                for item in document["items"].as_array().into_iter().flatten() {
                    self.take_one(path, item)?;
                }
            }
            _ => drop(self.skipped.insert(kind.to_owned())),
        }
        Ok(())
    }
}

/// A user, group or credential.
fn typed<K: DeserializeOwned + Serialize>(path: &Path, document: &Value) -> Result<K, Error> {
    let typed: K = plain(path, document)?;
    let known = serde_json::to_value(&typed).map_err(|error| wrong(path, document, "spec", error.to_string()))?;
    match unknown(&document["spec"], &known["spec"], "spec") {
        Some(field) => Err(wrong(path, document, field, "there is no such field")),
        None => Ok(typed),
    }
}

/// A document of a kind that holds no secrets.
fn plain<K: DeserializeOwned>(path: &Path, document: &Value) -> Result<K, Error> {
    is_named(path, document)?;
    serde_path_to_error::deserialize(document)
        .map_err(|error| wrong(path, document, error.path().to_string(), error.inner().to_string()))
}

/// A Secret. The error leaves out the parser's message, because that would quote a value.
fn secret(path: &Path, document: &Value) -> Result<SecretDocument, Error> {
    is_named(path, document)?;
    let secret: Result<Secret, _> = serde_path_to_error::deserialize(document);
    secret.map(SecretDocument).map_err(|error| {
        let help = "is not valid in a Secret: data takes base64, stringData takes quoted text";
        wrong(path, document, error.path().to_string(), help)
    })
}

/// Errors: the name is missing, or name or namespace is not valid.
fn is_named(path: &Path, document: &Value) -> Result<(), Error> {
    let fits = |name: &str| {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        !name.is_empty() && name.bytes().all(letters)
    };
    for (field, needed) in [("name", true), ("namespace", false)] {
        match &document["metadata"][field] {
            Value::Null if needed => return Err(wrong(path, document, format!("metadata.{field}"), "is missing")),
            Value::Null => {}
            Value::String(name) if fits(name) => {}
            _ => {
                let help = "is not a valid name: use lower-case letters, digits, - and .";
                return Err(wrong(path, document, format!("metadata.{field}"), help));
            }
        }
    }
    Ok(())
}

fn wrong(path: &Path, document: &Value, field: impl Into<String>, reason: impl Into<String>) -> Error {
    let part = |part: &Value| part.as_str().unwrap_or_default().to_owned();
    let object = format!("{} {}", part(&document["kind"]), part(&document["metadata"]["name"]));
    Error::Document { path: path.to_owned(), object, field: field.into(), reason: reason.into() }
}

/// The path of a field in `written` that the kind does not have.
fn unknown(written: &Value, known: &Value, path: &str) -> Option<String> {
    match (written, known) {
        (Value::Object(written), _) => written.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            known.get(key).map_or(Some(path.clone()), |known| unknown(value, known, &path))
        }),
        (Value::Array(written), Value::Array(known)) => {
            let pairs = written.iter().zip(known).enumerate();
            { pairs }.find_map(|(index, (written, known))| unknown(written, known, &format!("{path}[{index}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<Read, String> {
        let mut read = Read::default();
        read.take(Path::new("people.yaml"), text).map_err(|error| error.to_string())?;
        Unplaced(read).within("identity").map_err(|error| error.to_string())
    }

    fn user(further: &str) -> String {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: PlatformUser\nmetadata: {{name: ada}}\nspec: {{credentialRef: {{name: main}}, email: a@example.com{further}}}\n"
        )
    }

    #[test]
    fn other_kinds_are_skipped_with_a_note_and_namespaces_filled_in() {
        let read = taken(&format!("{}---\nkind: Service\napiVersion: v1\n---\n# nothing\n", user(""))).unwrap();
        assert_eq!(read.skipped, BTreeSet::from(["Service".to_owned()]));
        assert_eq!(read.documents.users[0].namespace().as_deref(), Some("identity"));
    }

    #[test]
    fn an_error_names_file_object_and_field() {
        let said = taken(&user(", groups: [{groupRef: {}}]")).unwrap_err();
        assert!(said.starts_with("people.yaml, PlatformUser ada: spec.groups[0]"), "{said}");
        let said = taken(&user(", phne: '1'")).unwrap_err();
        assert!(said.starts_with("people.yaml, PlatformUser ada: spec.phne: there is no such field"), "{said}");
        let said = taken("kind: [A").unwrap_err();
        assert!(said.starts_with("people.yaml is not YAML"), "{said}");
    }

    #[test]
    fn an_unknown_kind_or_version_of_the_api_group_is_an_error() {
        for (was, is) in [("PlatformUser", "PlatformUsers"), ("v1alpha1", "v1")] {
            let said = taken(&user("").replace(was, is)).unwrap_err();
            assert!(
                said.contains("usher has PlatformUser, PlatformGroup, ProviderCredential in usher.dev/v1alpha1"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_parse_error_quotes_no_value() {
        let said = taken("kind: Secret\nstringData: {password: Fake-Passw0rd, [}\n").unwrap_err();
        assert!(!said.contains("Fake-Passw0rd"), "{said}");
    }

    #[test]
    fn secrets_are_read_and_never_printed() {
        let secret = |entries: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\n{entries}\n");
        let read = taken(&secret("stringData: {password: Fake-Passw0rd}")).unwrap();
        assert_eq!(format!("{read:?}").matches("Fake-Passw0rd").count(), 0, "{read:?}");
        assert!(format!("{read:?}").contains("Secret identity/login"), "{read:?}");
        for (entries, field) in [
            ("stringData: {password: 4711471147}", "stringData.password"),
            ("data: {password: Fake-Passw0rd}", "data.password"),
            ("data: Fake-Passw0rd", "data"),
        ] {
            let said = taken(&secret(entries)).unwrap_err();
            assert!(
                said.starts_with(&format!("people.yaml, Secret login: {field}: is not valid in a Secret")),
                "{said}"
            );
            assert!(!said.contains("Passw0rd") && !said.contains("4711"), "{said}");
        }
    }

    #[test]
    fn an_invalid_name_is_refused() {
        for name in ["Ada", "a/b", "a?dryRun=", "'a b'", "1.5", "''"] {
            let said = taken(&user("").replace("name: ada", &format!("name: {name}"))).unwrap_err();
            assert!(said.contains("metadata.name: is not a valid name"), "{name}: {said}");
        }
        let said = taken(&user("").replace("name: ada", "generateName: ada")).unwrap_err();
        assert!(said.contains("metadata.name: is missing"), "{said}");
    }

    #[test]
    fn lists_are_expanded_and_duplicates_refused() {
        let one = user("").replace('\n', "\n  ");
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {one}");
        assert_eq!(taken(&list).unwrap().documents.users.len(), 1);
        let placed = user("").replace("name: ada", "name: ada, namespace: identity");
        let said = taken(&format!("{}---\n{placed}", user(""))).unwrap_err();
        assert!(said.starts_with("PlatformUser identity/ada appears twice"), "{said}");
    }
}
