//! Reads the repository's own manifests unchanged, so that tests run with the files that users get. It applies nothing.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::Error;
use super::apply::documents;
use super::assets::workspace;
use super::error::io;

/// The kinds of deploy/ that matter when the operator runs as a local process instead of a Pod: its permissions and the
/// admission policies.
const PERMISSIONS: [&str; 8] = [
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// The part of a kustomization that this module reads.
#[derive(Deserialize)]
struct Kustomization {
    resources: Vec<String>,
}

/// All objects of deploy/, as `kubectl apply -k deploy` applies them.
///
/// Errors: a file cannot be read.
pub fn deploy() -> Result<String, Error> {
    Ok(files("deploy")?.join("\n---\n"))
}

/// Namespace, `ServiceAccount`, RBAC and admission policies of deploy/, without the Deployment and its companions.
///
/// Errors: a file cannot be read.
pub fn operator_manifests() -> Result<String, Error> {
    let mut chosen = Vec::new();
    for file in files("deploy")? {
        let kinds = documents(&file)?;
        if kinds.iter().all(|document| PERMISSIONS.iter().any(|kind| document["kind"] == **kind)) {
            chosen.push(file);
        }
    }
    Ok(chosen.join("\n---\n"))
}

/// The admission policies for clusters of many teams, which deploy/ leaves out.
///
/// Errors: a file cannot be read.
pub fn tenancy() -> Result<String, Error> {
    Ok(files("deploy/tenancy")?.join("\n---\n"))
}

/// The committed `CustomResourceDefinitions`.
///
/// Errors: a file cannot be read.
pub fn crds() -> Result<String, Error> {
    Ok(files("crds")?.join("\n---\n"))
}

/// The files that a folder's kustomization.yaml names, in its order.
fn files(folder: &str) -> Result<Vec<String>, Error> {
    let folder = workspace().join(folder);
    let text = read(&folder.join("kustomization.yaml"))?;
    let kustomization: Kustomization =
        serde_saphyr::from_str(&text).map_err(|error| Error::Manifest(error.to_string()))?;
    kustomization.resources.iter().map(|name| read(&folder.join(name))).collect()
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(io(format!("read {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(yaml: &str) -> Vec<String> {
        let kind = |document: &serde_json::Value| document["kind"].as_str().unwrap_or_default().to_owned();
        documents(yaml).unwrap().iter().map(kind).collect()
    }

    #[test]
    fn permissions_are_chosen_and_the_deployment_is_not() {
        let chosen = kinds(&operator_manifests().unwrap());
        assert!(PERMISSIONS.iter().all(|kind| chosen.iter().any(|one| one == kind)), "{chosen:?}");
        assert!(chosen.iter().all(|one| PERMISSIONS.contains(&one.as_str())), "{chosen:?}");
        assert!(kinds(&deploy().unwrap()).contains(&"Deployment".to_owned()));
    }

    #[test]
    fn the_three_kinds_are_there() {
        assert_eq!(kinds(&crds().unwrap()), ["CustomResourceDefinition"; 3]);
    }

    #[test]
    fn no_rule_of_usher_has_a_wildcard_or_removes_anything() {
        for role in documents(&operator_manifests().unwrap()).unwrap() {
            if role["metadata"]["name"] != "usher" {
                continue;
            }
            for rule in role["rules"].as_array().into_iter().flatten() {
                let words = ["apiGroups", "resources", "verbs"].map(|list| rule[list].as_array().cloned());
                for word in words.into_iter().flatten().flatten() {
                    assert!(word != "*" && word != "delete" && word != "deletecollection", "{rule}");
                    assert!(word != "escalate" && word != "bind" && word != "impersonate", "{rule}");
                }
            }
        }
    }
}
