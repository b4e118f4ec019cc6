//! The rooms import only what lib.rs and src/controller/mod.rs say, and no file of the controller and the plan is part of an import circle.

use std::collections::{BTreeMap, BTreeSet};
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

/// The floors of src/controller, top down: a room imports only its own files and rooms on lower floors.
const FLOORS: [&[&str]; 17] = [
    &["runner"],
    &["preview"],
    &["watch"],
    &["object"],
    &["credential"],
    &["sync", "deletion"],
    &["apply"],
    &["ownership"],
    &["resolve"],
    &["context"],
    &["sweeps"],
    &["connection"],
    &["cluster"],
    &["keys"],
    &["hints"],
    &["outcome"],
    &["backoff", "metrics", "queue", "settings", "slots"],
];

/// Most lines of one room of src/controller, unit tests aside.
const LARGEST_ROOM: usize = 1500;

/// A module path below src/, by segments; the file `controller/sync/mod.rs` is `["controller", "sync"]`.
type Module = Vec<String>;

#[test]
fn rooms_import_only_what_the_map_allows() {
    for (module, imports) in imports() {
        let Some((room, doors)) = DOORS.iter().find(|(room, _)| module.first().is_some_and(|first| first == room))
        else {
            continue;
        };
        for import in imports {
            assert!(doors.contains(&&*import[0]), "{} in {room}/ imports {}", module.join("::"), import.join("::"));
        }
    }
}

#[test]
fn the_rooms_of_the_controller_import_only_rooms_on_lower_floors() {
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    for (module, imports) in imports() {
        let ["controller", room, ..] = *segments(&module) else { continue };
        let own = floor(room).unwrap_or_else(|| panic!("the room controller/{room} is on no floor: add it to FLOORS"));
        for import in imports {
            let ["controller", other, ..] = *segments(&import) else {
                assert_ne!(*segments(&import), ["controller"], "{} imports the whole controller", module.join("::"));
                continue;
            };
            let below = floor(other).is_some_and(|floor| floor > own);
            assert!(
                other == room || below,
                "{} imports {}, which is no lower room",
                module.join("::"),
                import.join("::")
            );
        }
    }
}

#[test]
fn no_file_of_the_controller_and_the_plan_is_part_of_an_import_circle() {
    let is_checked = |module: &Module| module.first().is_some_and(|room| room == "controller" || room == "plan");
    let mut imports = imports();
    imports.retain(|module, _| is_checked(module));
    imports.values_mut().for_each(|imports| imports.retain(is_checked));
    for module in imports.keys() {
        let mut reached: BTreeSet<&Module> = BTreeSet::new();
        let mut next: Vec<&Module> = imports[module].iter().collect();
        while let Some(import) = next.pop() {
            assert_ne!(import, module, "{} is part of an import circle", module.join("::"));
            if reached.insert(import) {
                next.extend(&imports[import]);
            }
        }
    }
}

#[test]
fn no_room_of_the_controller_is_too_large() {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for (module, file) in modules() {
        if let ["controller", room, ..] = *segments(&module) {
            *lines.entry(room.to_owned()).or_default() +=
                without_tests(&fs::read_to_string(file).unwrap()).lines().count();
        }
    }
    let large: Vec<_> = lines.iter().filter(|(_, lines)| **lines > LARGEST_ROOM).collect();
    assert!(large.is_empty(), "more than {LARGEST_ROOM} lines: {large:?}");
}

#[test]
fn imports_are_followed_in_every_form() {
    let here: Module = ["controller", "sync", "bind"].map(str::to_owned).into();
    let text = "use super::{progress::Progress, reconciliation as r};\nuse crate::plan::{a, b::{self, C}};\nuse child::D;\n\
        // use crate::cli::run;\nfn f() { crate::api::names::g(); super::super::queue::h(); }\n#[cfg(test)]\nmod tests { use crate::cli; }";
    let found: BTreeSet<String> = paths(text, &here).iter().map(|path| path.join("::")).collect();
    let expected = [
        "api::names::g",
        "controller::queue::h",
        "controller::sync::bind::child::D",
        "controller::sync::progress::Progress",
        "controller::sync::reconciliation",
        "plan::a",
        "plan::b",
        "plan::b::C",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn the_workshop_vendors_share_no_code_with_the_client() {
    let vendors = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/src/vendors");
    for file in rust_files(&vendors) {
        assert!(!fs::read_to_string(&file).unwrap().contains("usher::"), "{} imports usher", file.display());
    }
}

fn segments(module: &Module) -> Box<[&str]> {
    module.iter().map(String::as_str).collect()
}

/// Every module below src/ → the modules of other files that it imports.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let modules = modules();
    let file_of =
        |path: Module| (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|one| modules.contains_key(one));
    let of_file = |(module, file): (&Module, &PathBuf)| {
        let text = fs::read_to_string(file).unwrap();
        let imports = paths(&text, module).into_iter().filter_map(file_of).filter(|import| import != module).collect();
        (module.clone(), imports)
    };
    modules.iter().map(of_file).collect()
}

/// Every module below src/ → its file.
fn modules() -> BTreeMap<Module, PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = |file: PathBuf| {
        let path = file.strip_prefix(&source).unwrap().with_extension("");
        let mut module: Module = path.iter().map(|segment| segment.to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| last == "mod");
        (module, file)
    };
    rust_files(&source).into_iter().map(module).collect()
}

/// The text before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// The paths below `crate` that `text`, the file of the module `here`, names outside comments and tests.
fn paths(text: &str, here: &Module) -> Vec<Module> {
    let lines = without_tests(text).lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = lines.collect::<Vec<_>>().join(" ");
    let mut paths = Vec::new();
    let uses = code.match_indices("use ").map(|(at, word)| (at, at + word.len()));
    let inline = code.match_indices("crate::").chain(code.match_indices("super::")).map(|(at, _)| (at, at));
    for (at, tree) in uses.chain(inline) {
        // A word may end in `use `, and `super::super::` is met at its first `super`.
        let is_inside = code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':');
        if !is_inside {
            leaves(&code[tree..], "", &mut |path| paths.push(absolute(path, here)));
        }
    }
    paths
}

/// Calls `found` with each path of the use tree or path that `tree` begins with; returns what follows it.
fn leaves<'a>(tree: &'a str, before: &str, found: &mut impl FnMut(&str)) -> &'a str {
    let end =
        tree.find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':')).unwrap_or(tree.len());
    let path = format!("{before}{}", &tree[..end]);
    let Some(mut rest) = tree[end..].strip_prefix('{').filter(|_| path.ends_with("::")) else {
        found(path.trim_end_matches("::self").trim_end_matches("::"));
        return &tree[end..];
    };
    loop {
        rest = leaves(rest.trim_start(), &path, found).trim_start();
        // An alias names nothing of ours.
        let close = rest.find([',', '}']).unwrap_or(rest.len());
        rest = &rest[close..];
        match rest.strip_prefix(',').map(str::trim_start) {
            Some(more) if !more.starts_with('}') => rest = more,
            Some(more) => return &more[1..],
            None => return rest.strip_prefix('}').unwrap_or_default(),
        }
    }
}

/// A path as written in the module `here`, below `crate`. One of another crate leads to no module, or to `here`.
fn absolute(path: &str, here: &Module) -> Module {
    let mut base = here.clone();
    let mut segments = path.split("::").peekable();
    if segments.next_if_eq(&"crate").is_some() {
        base.clear();
    }
    while segments.next_if_eq(&"super").is_some() {
        base.pop();
    }
    base.extend(segments.map(str::to_owned));
    base
}

/// All Rust files below a folder.
pub fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
