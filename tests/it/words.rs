//! Fails where comments, messages or docs use a banned word. docs/glossary.md defines the few terms that are usher's own.

use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders to check, relative to the repository.
const PATHS: [&str; 6] = ["src", "sandbox/src", "deploy", "docs", "README.md", "CHANGELOG.md"];

/// Words and phrases, in lower case, that a newcomer cannot guess or that are not plain English.
const BANNED: [&str; 34] = [
    "brake",
    "comes about",
    "coming about",
    "deed",
    "farewell",
    "heed",
    "heeded",
    "heir",
    "heirs",
    "in any dress",
    "in doubt",
    "in vain",
    "invitation",
    "nobody has looked",
    "of late",
    "rival",
    "rivals",
    "salvage",
    "salvaged",
    "shall",
    "shelf",
    "shelves",
    "shelved",
    "somebody else's",
    "the gate",
    "the good end",
    "unknown end",
    "untold",
    "vault",
    "vaults",
    "whoever",
    "whomever",
    "whosoever",
    "woken",
];

#[test]
fn prose_uses_no_banned_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = PATHS.iter().flat_map(|path| files_of(&root.join(path)));
    let found: Vec<String> = files.flat_map(|file| banned_in(&file, root)).collect();
    assert!(found.is_empty(), "banned words:\n{}", found.join("\n"));
}

#[test]
fn only_whole_words_are_banned() {
    assert!(
        has_word("The shelf, again", "shelf") && has_word("`In vain`", "in vain") && has_word("not_in_vain", "in vain")
    );
    assert!(!has_word("bookshelf", "shelf") && !has_word("marshall", "shall") && !has_word("braked", "brake"));
}

/// The lines of a file that hold a banned word, as `file:line: word`.
fn banned_in(file: &Path, root: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let name = file.strip_prefix(root).unwrap().display();
    let lines = text.lines().zip(1..);
    let found = lines.flat_map(|(line, number)| {
        BANNED.iter().filter(|word| has_word(line, word)).map(move |word| (number, word)).collect::<Vec<(usize, _)>>()
    });
    found.map(|(number, word)| format!("{name}:{number}: {word}")).collect()
}

/// Whether `line` holds the whole `word` in upper or lower case. An underscore counts as a space, because test names are prose.
fn has_word(line: &str, word: &str) -> bool {
    let line = line.to_lowercase().replace('_', " ");
    let is_edge = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric());
    line.match_indices(word).any(|(start, found)| {
        is_edge(line[..start].chars().next_back()) && is_edge(line[start + found.len()..].chars().next())
    })
}

/// The file itself, or all Rust, Markdown and YAML files in and below a folder.
fn files_of(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        return entries.flat_map(|entry| files_of(&entry)).collect();
    }
    let is_prose = path.extension().is_some_and(|ending| ["rs", "md", "yaml"].iter().any(|known| ending == *known));
    if is_prose { vec![path.to_owned()] } else { Vec::new() }
}
