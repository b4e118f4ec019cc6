//! Reads the manifests of `usher plan -f` from files, folders and standard input. It contacts no cluster, and no message quotes
//! a value of a Secret.

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

/// Extensions of the files that are read from a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read {path}: give a file, a folder, or - for standard input")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not YAML.
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
    Duplicate(String),
}

/// Manifests with their namespaces.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Users, groups, credentials, Secrets and Namespaces.
    pub documents: Documents,
    /// The names of other kinds, which usher ignores.
    pub skipped: BTreeSet<String>,
}

/// Reads all documents of `paths`.
///
/// Errors: a file that cannot be read, or a field that is wrong.
pub fn read(paths: &[PathBuf]) -> Result<Parsed, Error> {
    let mut manifests = Manifests::default();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            let path = || PathBuf::from("standard input");
            io::stdin().read_to_string(&mut text).map_err(|source| Error::Read { path: path(), source })?;
            manifests.parse(&path(), &text)?;
        } else {
            for file in files(path)? {
                let text = std::fs::read_to_string(&file);
                manifests.parse(&file, &text.map_err(|source| Error::Read { path: file.clone(), source })?)?;
            }
        }
    }
    Ok(Parsed(manifests))
}

/// Manifests that may lack a namespace.
pub struct Parsed(Manifests);

impl Parsed {
    /// Sets `namespace` on every document without a namespace.
    ///
    /// Errors: two documents describe the same object.
    pub fn with_default_namespace(self, namespace: &str) -> Result<Manifests, Error> {
        let Manifests { mut documents, skipped } = self.0;
        documents.users.iter_mut().for_each(|user| set_namespace(user, namespace));
        documents.groups.iter_mut().for_each(|group| set_namespace(group, namespace));
        documents.credentials.iter_mut().for_each(|credential| set_namespace(credential, namespace));
        documents.secrets.iter_mut().for_each(|SecretDocument(secret)| set_namespace(secret, namespace));
        check_duplicates(&documents)?;
        Ok(Manifests { documents, skipped })
    }
}

/// Errors: two documents have the same kind, namespace and name.
fn check_duplicates(documents: &Documents) -> Result<(), Error> {
    fn full_name<K: Resource<DynamicType = ()>>(object: &K) -> String {
        let namespace = object.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {namespace}{}", K::kind(&()), object.name_any())
    }
    let Documents { users, groups, credentials, secrets, namespaces, are_trusted: _ } = documents;
    let names =
        users.iter().map(full_name).chain(groups.iter().map(full_name)).chain(credentials.iter().map(full_name));
    let names = names.chain(secrets.iter().map(|SecretDocument(secret)| full_name(secret)));
    let mut names = names.chain(namespaces.iter().map(full_name));
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(name.clone())).map_or(Ok(()), |name| Err(Error::Duplicate(name)))
}

fn set_namespace<K: Resource>(object: &mut K, namespace: &str) {
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
        let is_manifest = entry.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if is_manifest {
            found.push(entry);
        }
    }
    Ok(found)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

impl Manifests {
    /// Adds all documents of one file.
    fn parse(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        // Without the snippet, because it would quote the file and a file may hold Secrets.
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Result<Vec<Value>, _> = serde_saphyr::from_multiple_with_options(text, options);
        let parsed = parsed.map_err(|error| Error::Yaml { path: path.to_owned(), reason: error.to_string() })?;
        parsed.iter().try_for_each(|document| self.add(path, document))
    }

    /// Adds one document, or the items of a List.
    fn add(&mut self, path: &Path, document: &Value) -> Result<(), Error> {
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
                    self.add(path, item)?;
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
    match unknown_field(&document["spec"], &known["spec"], "spec") {
        Some(field) => Err(wrong(path, document, field, "there is no such field")),
        None => Ok(typed),
    }
}

/// A document of a kind that holds no secrets.
fn plain<K: DeserializeOwned>(path: &Path, document: &Value) -> Result<K, Error> {
    check_name(path, document)?;
    serde_path_to_error::deserialize(document)
        .map_err(|error| wrong(path, document, error.path().to_string(), error.inner().to_string()))
}

/// A Secret. The error leaves out the parser's message, because that would quote a value.
fn secret(path: &Path, document: &Value) -> Result<SecretDocument, Error> {
    check_name(path, document)?;
    let secret: Result<Secret, _> = serde_path_to_error::deserialize(document);
    secret.map(SecretDocument).map_err(|error| {
        let help = "is not valid in a Secret: data takes base64, stringData takes quoted text";
        wrong(path, document, error.path().to_string(), help)
    })
}

/// Errors: the name is missing, or name or namespace is not valid.
fn check_name(path: &Path, document: &Value) -> Result<(), Error> {
    let is_valid = |name: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        !name.is_empty() && name.bytes().all(is_allowed)
    };
    for (field, is_required) in [("name", true), ("namespace", false)] {
        match &document["metadata"][field] {
            Value::Null if is_required => return Err(wrong(path, document, format!("metadata.{field}"), "is missing")),
            Value::Null => {}
            Value::String(name) if is_valid(name) => {}
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
fn unknown_field(written: &Value, known: &Value, path: &str) -> Option<String> {
    match (written, known) {
        (Value::Object(written), _) => written.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            known.get(key).map_or(Some(path.clone()), |known| unknown_field(value, known, &path))
        }),
        (Value::Array(written), Value::Array(known)) => {
            let pairs = written.iter().zip(known).enumerate();
            { pairs }.find_map(|(index, (written, known))| unknown_field(written, known, &format!("{path}[{index}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifests, String> {
        let mut manifests = Manifests::default();
        manifests.parse(Path::new("people.yaml"), text).map_err(|error| error.to_string())?;
        Parsed(manifests).with_default_namespace("identity").map_err(|error| error.to_string())
    }

    fn user(further: &str) -> String {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: PlatformUser\nmetadata: {{name: ada}}\nspec: {{credentialRef: {{name: main}}, email: a@example.com{further}}}\n"
        )
    }

    #[test]
    fn other_kinds_are_skipped_and_the_default_namespace_is_set() {
        let manifests = parse(&format!("{}---\nkind: Service\napiVersion: v1\n---\n# nothing\n", user(""))).unwrap();
        assert_eq!(manifests.skipped, BTreeSet::from(["Service".to_owned()]));
        assert_eq!(manifests.documents.users[0].namespace().as_deref(), Some("identity"));
    }

    #[test]
    fn an_error_names_file_object_and_field() {
        let error = parse(&user(", groups: [{groupRef: {}}]")).unwrap_err();
        assert!(error.starts_with("people.yaml, PlatformUser ada: spec.groups[0]"), "{error}");
        let error = parse(&user(", phne: '1'")).unwrap_err();
        assert!(error.starts_with("people.yaml, PlatformUser ada: spec.phne: there is no such field"), "{error}");
        let error = parse("kind: [A").unwrap_err();
        assert!(error.starts_with("people.yaml is not YAML"), "{error}");
    }

    #[test]
    fn an_unknown_kind_or_version_of_the_api_group_is_an_error() {
        for (was, is) in [("PlatformUser", "PlatformUsers"), ("v1alpha1", "v1")] {
            let error = parse(&user("").replace(was, is)).unwrap_err();
            assert!(
                error.contains("usher has PlatformUser, PlatformGroup, ProviderCredential in usher.dev/v1alpha1"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_parse_error_quotes_no_value() {
        let error = parse("kind: Secret\nstringData: {password: Fake-Passw0rd, [}\n").unwrap_err();
        assert!(!error.contains("Fake-Passw0rd"), "{error}");
    }

    #[test]
    fn secrets_are_read_and_never_printed() {
        let secret = |entries: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\n{entries}\n");
        let manifests = parse(&secret("stringData: {password: Fake-Passw0rd}")).unwrap();
        assert_eq!(format!("{manifests:?}").matches("Fake-Passw0rd").count(), 0, "{manifests:?}");
        assert!(format!("{manifests:?}").contains("Secret identity/login"), "{manifests:?}");
        for (entries, field) in [
            ("stringData: {password: 4711471147}", "stringData.password"),
            ("data: {password: Fake-Passw0rd}", "data.password"),
            ("data: Fake-Passw0rd", "data"),
        ] {
            let error = parse(&secret(entries)).unwrap_err();
            assert!(
                error.starts_with(&format!("people.yaml, Secret login: {field}: is not valid in a Secret")),
                "{error}"
            );
            assert!(!error.contains("Passw0rd") && !error.contains("4711"), "{error}");
        }
    }

    #[test]
    fn an_invalid_name_is_refused() {
        for name in ["Ada", "a/b", "a?dryRun=", "'a b'", "1.5", "''"] {
            let error = parse(&user("").replace("name: ada", &format!("name: {name}"))).unwrap_err();
            assert!(error.contains("metadata.name: is not a valid name"), "{name}: {error}");
        }
        let error = parse(&user("").replace("name: ada", "generateName: ada")).unwrap_err();
        assert!(error.contains("metadata.name: is missing"), "{error}");
    }

    #[test]
    fn lists_are_expanded_and_duplicates_refused() {
        let one = user("").replace('\n', "\n  ");
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {one}");
        assert_eq!(parse(&list).unwrap().documents.users.len(), 1);
        let placed = user("").replace("name: ada", "name: ada, namespace: identity");
        let error = parse(&format!("{}---\n{placed}", user(""))).unwrap_err();
        assert!(error.starts_with("PlatformUser identity/ada appears twice"), "{error}");
    }
}
