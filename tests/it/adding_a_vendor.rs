//! docs/adding-a-vendor.md names every place that a new vendor must be added to, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use rstest::rstest;
use strum::IntoEnumIterator;
use usher::api::Vendor;

use crate::architecture::rust_files;

/// The brackets around a list of every vendor, and the code before them.
struct List {
    head: String,
    body: String,
}

impl List {
    /// Whether the compiler refuses it without a new vendor.
    fn is_closed(&self) -> bool {
        let is_match = self.head.contains("match ") && !self.body.contains(" _ =>");
        is_match || self.head.contains("enum ")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `text` with blanks in place of comments, strings and characters.
fn code(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if rest.starts_with("r#\"") => 3 + rest[3..].find("\"#").map_or(0, |end| end + 2),
            '"' => quoted(rest, '"'),
            '\'' if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => quoted(rest, '\''),
            _ => 0,
        };
        code.push(if skipped == 0 { first } else { ' ' });
        rest = &rest[skipped.max(first.len_utf8())..];
    }
    code
}

/// How long the quoted text at the beginning of `text` is.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The innermost brackets of `code` that hold the name of every vendor.
fn lists(code: &str) -> Vec<List> {
    let names: Vec<String> = Vendor::iter().map(|vendor| format!("{vendor:?}")).collect();
    let (mut open, mut lists): (Vec<(usize, bool)>, Vec<List>) = (Vec::new(), Vec::new());
    for (at, letter) in code.char_indices() {
        if matches!(letter, '{' | '[' | '(') {
            open.push((at, false));
        }
        if matches!(letter, '}' | ']' | ')') {
            let (begin, holds_list) = open.pop().expect("brackets in pairs");
            let words: BTreeSet<&str> = code[begin..at].split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            if names.iter().all(|name| words.contains(name.as_str())) {
                if !holds_list {
                    let head = code[..begin].rsplit([';', '{', '}']).next().unwrap_or_default();
                    lists.push(List { head: head.to_owned(), body: code[begin..at].to_owned() });
                }
                if let Some(outer) = open.last_mut() {
                    outer.1 = true;
                }
            }
        }
    }
    lists
}

/// The Rust files of ours that list every vendor, by their paths.
fn places() -> Vec<(String, Vec<List>)> {
    let folders = ["src", "sandbox/src", "tests", "fuzz/fuzz_targets"].map(|folder| rust_files(&root().join(folder)));
    let files = folders.into_iter().flatten();
    let found = files.map(|file| {
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        (name, lists(&code(&fs::read_to_string(&file).unwrap())))
    });
    found.filter(|(_, lists)| !lists.is_empty()).collect()
}

/// The first path of each numbered line under a heading of the document.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = read("docs/adding-a-vendor.md");
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading is there");
    let lines = section.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    lines.filter_map(|line| line.split('`').nth(1)).map(str::to_owned).collect()
}

#[test]
fn the_compiler_names_each_place_that_the_page_says_it_names() {
    let closed = places().into_iter().filter(|(_, lists)| lists.iter().any(List::is_closed));
    let closed: BTreeSet<String> = closed.map(|(name, _)| name).collect();
    assert_eq!(closed, documented("Places that the compiler names"));
}

#[test]
fn no_place_lists_the_vendors_by_hand_but_those_that_a_test_compares() {
    let open = |lists: &[List]| lists.iter().any(|list| !list.head.contains("match ") && !list.head.contains("enum "));
    let open = places().into_iter().filter(|(_, lists)| open(lists)).map(|(name, _)| name);
    assert_eq!(open.collect::<Vec<_>>(), ["tests/it/vendors.rs"]);
}

#[test]
fn the_page_numbers_its_places_from_one_on() {
    let page = read("docs/adding-a-vendor.md");
    let numbers = page.lines().filter_map(|line| line.split_once(". ")?.0.parse::<usize>().ok());
    assert!(numbers.eq(1..=23), "renumber the list");
    for path in documented("Places that a test names") {
        let path = path.replace("acme", "pegasus");
        assert!(root().join(&path).exists(), "{path} is not there");
    }
}

#[test]
fn every_vendor_has_its_folders_targets_and_texts() {
    let (readme, fuzz, examples) =
        (read("README.md"), read("fuzz/Cargo.toml"), read("deploy/examples/kustomization.yaml"));
    let columns = readme.lines().find(|line| line.starts_with("| | ")).expect("README has a table of vendors");
    let help = usher::cli::Cli::command().render_long_help().to_string();
    for vendor in Vendor::iter() {
        let there = |path: String| assert!(Path::new(&root().join(&path)).exists(), "{path} is not there");
        for file in ["mod.rs", "wire.rs"] {
            there(format!("src/providers/{vendor}/{file}"));
        }
        there(format!("deploy/examples/{vendor}/kustomization.yaml"));
        there(format!("fuzz/fuzz_targets/{vendor}.rs"));
        assert!(fuzz.contains(&format!("path = \"fuzz_targets/{vendor}.rs\"")), "{vendor} is not in fuzz/Cargo.toml");
        assert!(
            examples.contains(&format!("\n  - {vendor}\n")),
            "{vendor} is not in deploy/examples/kustomization.yaml"
        );
        assert!(columns.contains(&format!("| {} |", vendor.title())), "{vendor} has no column in README");
        assert!(help.contains(vendor.title()), "{vendor} is not in the help text");
    }
}

#[rstest]
#[case::closed("fn f(v: Vendor) { match v { Vendor::Pegasus | Vendor::Amani => 1, Vendor::Plaspy | Vendor::Industrility | Vendor::Ozmap => 2 } }", &[true])]
#[case::open("fn f(v: Vendor) { match v { Vendor::Pegasus => 1, Vendor::Amani | Vendor::Plaspy | Vendor::Industrility | Vendor::Ozmap => 2, _ => 3 } }", &[false])]
#[case::array("const ALL: [Vendor; 5] = [Pegasus, Amani, Plaspy, Industrility, Ozmap];", &[false])]
#[case::words("fn f<'a>(c: char) { if c != '{' { say(\"Pegasus, Amani, Plaspy, Industrility, Ozmap\") } } // Pegasus", &[])]
fn a_list_is_told_from_a_mention(#[case] text: &str, #[case] closed: &[bool]) {
    assert_eq!(lists(&code(text)).iter().map(List::is_closed).collect::<Vec<_>>(), closed);
}
