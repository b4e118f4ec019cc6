//! Reads deploy/examples/ as a user would apply it and points it at simulated vendors; it sends nothing.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Failure;
use crate::controlplane::{documents, workspace};
use crate::vendors::Simulator;

/// Every object of the examples in the order of their kustomizations, with the address and login of each vendor replaced by the
/// simulated one's. All else is as in the files.
///
/// Errors: a file cannot be read.
pub fn objects(vendors: &[Simulator]) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    collect(&workspace().join("deploy/examples"), &mut objects)?;
    for vendor in vendors {
        point_at(vendor, &mut objects);
    }
    Ok(objects)
}

/// Collects the objects of a kustomization: of its files, and of folders with a kustomization of their own.
fn collect(folder: &Path, objects: &mut Vec<Value>) -> Result<(), Failure> {
    for kustomization in documents(&read(&folder.join("kustomization.yaml"))?)? {
        for resource in kustomization["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let path = folder.join(resource);
            if path.is_dir() {
                collect(&path, objects)?;
            } else {
                objects.extend(documents(&read(&path)?)?);
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()).into())
}

/// Changes the vendor's ProviderCredentials and the Secrets that they name.
fn point_at(vendor: &Simulator, objects: &mut [Value]) {
    let name = vendor.vendor().name();
    let mut secrets = Vec::new();
    for object in objects.iter_mut().filter(|object| kind(object) == "ProviderCredential") {
        let spec = &mut object["spec"];
        if spec["provider"].get(name).is_some() {
            spec["provider"][name]["url"] = json!(vendor.url());
            spec["allowInsecureHttp"] = json!(true);
            secrets.push(spec["secretRef"]["name"].clone());
        }
    }
    for object in objects.iter_mut().filter(|object| kind(object) == "Secret") {
        if secrets.contains(&object["metadata"]["name"]) {
            object["stringData"] = json!(vendor.secret());
        }
    }
}

/// The kind of an object.
pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::Vendor;

    #[tokio::test]
    async fn only_address_and_login_of_a_vendor_are_changed() {
        let pegasus = Simulator::start(Vendor::Pegasus).await.unwrap();
        let (written, pointed) = (objects(&[]).unwrap(), objects(std::slice::from_ref(&pegasus)).unwrap());
        let pairs = written.iter().zip(&pointed);
        let changed: Vec<&Value> = pairs.filter(|(before, after)| before != after).map(|(_, after)| after).collect();
        assert_eq!(
            changed.iter().map(|object| (kind(object), name(object))).collect::<Vec<_>>(),
            [("Secret", "pegasus-api"), ("ProviderCredential", "pegasus"),]
        );
        assert_eq!(changed[1]["spec"]["provider"]["pegasus"]["url"], json!(pegasus.url()));
    }

    #[test]
    fn every_vendor_has_two_users_and_a_group() {
        let objects = objects(&[]).unwrap();
        for vendor in Vendor::ALL {
            let count = |wanted: &str| {
                let of_vendor = |object: &&Value| object["spec"]["credentialRef"]["name"] == vendor.name();
                objects.iter().filter(|object| kind(object) == wanted).filter(of_vendor).count()
            };
            assert_eq!((count("PlatformUser"), count("PlatformGroup") > 0), (2, true), "{vendor:?}");
        }
    }
}
