//! The rooms import only what lib.rs says.

use std::fs;
use std::path::{Path, PathBuf};

/// Room → rooms it may import.
const DOORS: [(&str, &[&str]); 6] = [
    ("api", &["api"]),
    ("plan", &["api", "plan"]),
    ("providers", &["api", "plan", "providers"]),
    ("controller", &["api", "plan", "providers", "controller"]),
    ("runtime", &["runtime"]),
    ("cli", &["api", "plan", "providers", "controller", "runtime", "cli"]),
];

#[test]
fn rooms_import_only_what_the_map_allows() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (room, doors) in DOORS {
        for file in rust_files(&source.join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            for target in text.split("crate::").skip(1) {
                let name: String =
                    target.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                assert!(doors.contains(&name.as_str()), "{} in {room}/ imports crate::{name}", file.display());
            }
        }
    }
}

#[test]
fn the_workshop_vendors_share_no_code_with_the_client() {
    let vendors = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/src/vendors");
    for file in rust_files(&vendors) {
        assert!(!fs::read_to_string(&file).unwrap().contains("usher::"), "{} imports usher", file.display());
    }
}

/// Every Rust file under `dir`.
pub fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
