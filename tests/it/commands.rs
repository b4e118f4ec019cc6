//! Every command of README.md, CONTRIBUTING.md, SECURITY.md and docs/ is run by a test, or the reason why it cannot be is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs whose calls count as commands.
const PROGRAMS: [&str; 7] = ["cargo ", "usher ", "kubectl ", "docker ", "bash ", "curl ", "export "];

/// How a documented command is covered.
enum Cover {
    /// The named test runs it, or does in this process what it does.
    Test(&'static str),
    /// No test can run it, for this reason.
    Cannot(&'static str),
}
use Cover::{Cannot, Test};

/// Every command that is documented, without comments.
const COMMANDS: &[(&str, Cover)] = &[
    ("bash .ci/run", Cannot("it runs this test")),
    ("cargo +nightly fuzz run pegasus", Cannot("it needs a nightly compiler; the same properties are tested in src/")),
    ("cargo check --workspace --all-targets", Cannot("it compiles what this test was compiled from")),
    ("cargo demo", Test("the_demo_tells_its_story_to_the_end")),
    ("cargo demo --keep", Test("what_the_demo_keeps_answers_the_commands_of_the_readme")),
    ("cargo doc --open", Cannot("it opens a browser; .ci/run builds the same pages")),
    ("cargo plane", Test("a_control_plane_that_runs_is_used_again_without_objects_of_earlier_runs")),
    ("cargo run --bin usher -- crds --out crds", Test("the_definitions_in_the_repository_are_current")),
    ("cargo scale", Test("five_users_are_made_with_the_defaults")),
    ("cargo scale --hostile", Test("one_tenant_is_served_beside_slow_ones_in_a_small_form")),
    ("cargo scale --remove --at-most 50", Test("at_most_two_of_five_deleted_users_are_removed")),
    ("cargo install just", Cannot("it installs a program; each recipe works without it")),
    ("cargo test --workspace", Cannot("it runs this test")),
    (
        "docker build -f Containerfile -t registry.example.com/usher:0.1.0 . && docker push registry.example.com/usher:0.1.0",
        Cannot("it needs a container daemon and a registry"),
    ),
    (
        "kubectl annotate --overwrite puser ada usher.dev/reconcile-at=\"$(date)\"",
        Test("what_the_demo_keeps_answers_the_commands_of_the_readme"),
    ),
    (
        "kubectl annotate --overwrite pcred main usher.dev/owner-cluster=UID",
        Test("another_clusters_account_is_not_removed_until_the_credential_names_this_cluster"),
    ),
    (
        "kubectl get namespace kube-system -o jsonpath={.metadata.uid}",
        Test("another_clusters_account_is_not_removed_until_the_credential_names_this_cluster"),
    ),
    (
        "kubectl annotate puser ada usher.dev/paused=true",
        Test("what_the_demo_keeps_answers_the_commands_of_the_readme"),
    ),
    ("kubectl apply -k crds", Test("the_api_server_takes_all_of_deploy_and_grants_exactly_its_permissions")),
    ("kubectl apply -k deploy", Test("the_api_server_takes_all_of_deploy_and_grants_exactly_its_permissions")),
    ("kubectl apply -k deploy/tenancy", Test("tenancy_asks_for_the_right_to_use_and_to_adopt")),
    ("kubectl delete -k crds", Test("uninstalling_with_the_definitions_first_leaves_every_account")),
    ("kubectl delete -k deploy", Cannot("it deletes what `kubectl apply -k deploy` made; usher does not run any more")),
    ("kubectl explain", Test("every_field_is_explained_and_bounded_and_none_has_a_default")),
    ("kubectl explain platformuser.spec --recursive", Test("what_the_demo_keeps_answers_the_commands_of_the_readme")),
    ("kubectl get usher -A -o wide", Test("what_the_demo_keeps_answers_the_commands_of_the_readme")),
    (
        "kubectl get puser,pgroup,pcred -A -o go-template='{{range .items}}{{.kind}} {{.metadata.name}} -n {{.metadata.namespace}}{{\"\\n\"}}{{end}}' | xargs -rL1 kubectl patch --type merge -p '{\"metadata\":{\"finalizers\":null}}'",
        Test("an_operator_that_was_removed_first_leaves_a_way_out"),
    ),
    (
        "kubectl get secrets -A -o go-template='{{range .items}}{{$s := .metadata}}{{range $s.finalizers}}{{if eq . \"usher.dev/credential-in-use\"}}{{$s.name}} -n {{$s.namespace}}{{\"\\n\"}}{{end}}{{end}}{{end}}' | xargs -rL1 kubectl patch secret --type merge -p '{\"metadata\":{\"finalizers\":null}}'",
        Test("an_operator_that_was_removed_first_leaves_a_way_out"),
    ),
    (
        "kubectl -n usher-system annotate secret usher-password-digest usher.dev/bindings-sealed-",
        Test("bindings_without_a_seal_of_this_key_stay_when_usher_starts"),
    ),
    (
        "kubectl kustomize . | usher plan -f -",
        Test("files_not_applied_show_what_enforce_then_does_and_nothing_is_written"),
    ),
    (
        "kubectl -n identity annotate puser katherine usher.dev/reconcile-at=now",
        Test("the_demo_tells_its_story_to_the_end"),
    ),
    ("kubectl -n identity delete puser radia", Test("the_demo_tells_its_story_to_the_end")),
    (
        "kubectl -n identity patch puser ada --type merge -p '{\"spec\":{\"phone\":\"+44 20 7946 0001\"}}'",
        Test("the_demo_tells_its_story_to_the_end"),
    ),
    ("usher plan", Test("what_the_demo_keeps_answers_the_commands_of_the_readme")),
    ("usher plan --all", Test("what_the_demo_keeps_answers_the_commands_of_the_readme")),
    ("usher plan --all -n identity -o json", Test("what_the_demo_keeps_answers_the_commands_of_the_readme")),
    ("usher plan -f manifests/ -n identity", Test("what_the_demo_keeps_answers_the_commands_of_the_readme")),
    ("usher run --help", Test("help_is_printed_to_standard_output")),
];

#[test]
fn every_documented_command_is_run_by_a_test() {
    let documented: BTreeSet<String> =
        pages().iter().flat_map(|page| commands(&fs::read_to_string(page).unwrap())).collect();
    let covered: BTreeSet<String> = COMMANDS.iter().map(|(command, _)| (*command).to_owned()).collect();
    let new: Vec<_> = documented.difference(&covered).collect();
    assert!(new.is_empty(), "no test is named for {new:#?}: add one, and the command to COMMANDS");
    let old: Vec<_> = covered.difference(&documented).collect();
    assert!(old.is_empty(), "no page has {old:#?} any more: remove it from COMMANDS");
}

#[test]
fn every_test_that_covers_a_command_exists() {
    let tests: Vec<String> =
        ["src", "tests", "sandbox"].iter().flat_map(|room| rust_files(&root().join(room))).collect();
    for (command, cover) in COMMANDS {
        match cover {
            Test(name) => {
                let declaration = format!("fn {name}(");
                assert!(tests.iter().any(|text| text.contains(&declaration)), "{command}: there is no test {name}");
            }
            Cannot(reason) => assert!(!reason.is_empty(), "{command}: give a reason"),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages for people who use usher or work on it.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    ["README.md", "CONTRIBUTING.md", "SECURITY.md"].iter().map(|name| root().join(name)).chain(pages).collect()
}

/// Texts of all Rust files below `dir`.
fn rust_files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => rust_files(&path),
            Some(extension) if extension == "rs" => vec![fs::read_to_string(&path).unwrap()],
            _ => Vec::new(),
        })
        .collect()
}

/// The commands of a page: lines of its blocks, and texts in back-ticks.
fn commands(page: &str) -> Vec<String> {
    let (blocks, prose) = split(page);
    let lines = blocks.iter().flat_map(|block| {
        let has_prompts = block.iter().any(|line| line.starts_with("$ "));
        // In a block with prompts, the other lines are output.
        block
            .iter()
            .filter(move |line| !has_prompts || line.starts_with("$ "))
            .map(|line| line.trim_start_matches("$ "))
    });
    let lines = lines.map(|line| line.split(" # ").next().unwrap().trim().to_owned());
    let inline = prose.split('`').skip(1).step_by(2).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.chain(inline).filter(|text| PROGRAMS.iter().any(|program| text.starts_with(program))).collect()
}

/// Blocks, fenced as commands or indented, and the rest as one text. Blocks of other languages are left out, and so are tables,
/// whose texts are examples of what usher prints.
fn split(page: &str) -> (Vec<Vec<&str>>, String) {
    let (mut blocks, mut prose, mut fence): (Vec<Vec<&str>>, String, Option<bool>) = (Vec::new(), String::new(), None);
    let mut is_inside = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(matches!(language, "" | "sh" | "bash" | "console")) };
            is_inside = false;
            continue;
        }
        let command = if fence.is_some() { Some(line) } else { line.strip_prefix("    ") };
        match command {
            // An empty line may be inside an indented block.
            None if line.is_empty() => {}
            Some(command) if fence != Some(false) => {
                if !is_inside {
                    blocks.push(Vec::new());
                }
                blocks.last_mut().unwrap().push(command);
                is_inside = true;
            }
            Some(_) => {}
            None => {
                is_inside = false;
                if !line.starts_with('|') {
                    prose.push_str(line);
                    prose.push('\n');
                }
            }
        }
    }
    (blocks, prose)
}

/// Names of the recipes of the justfile, each with its lines.
fn recipes() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join("justfile")).unwrap();
    let mut recipes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains(":=")) {
        if let Some(command) = line.strip_prefix("    ") {
            recipes.get_mut(last.as_ref().unwrap()).unwrap().push(command.to_owned());
            continue;
        }
        let name = line.strip_suffix(':').and_then(|head| head.split(' ').next()).expect(line).to_owned();
        recipes.insert(name.clone(), Vec::new());
        last = Some(name);
    }
    recipes
}

#[test]
fn every_recipe_is_in_contributing_and_runs_cargo_commands_that_exist() {
    let contributing = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let aliases = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    for (name, lines) in recipes().iter().filter(|(name, _)| *name != "default") {
        assert!(contributing.contains(&format!("`just {name}")), "CONTRIBUTING.md does not name just {name}");
        assert!(!lines.is_empty(), "{name} is empty");
        for command in lines.iter().filter_map(|line| line.split_once("cargo ")) {
            let command = command.1.split(' ').next().unwrap();
            let is_alias = aliases.lines().any(|line| line.starts_with(&format!("{command} = ")));
            assert!(is_alias || ["build", "test", "fmt", "clippy"].contains(&command), "{name}: cargo {command}");
        }
    }
    for named in contributing.split("`just ").skip(1) {
        let name: String = named.chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(recipes().contains_key(&name), "CONTRIBUTING.md names just {name}, which the justfile does not have");
    }
}

#[test]
fn the_definitions_in_the_repository_are_current() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_usher")).args(["crds", "--check", "crds"]).current_dir(root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn commands_are_found_in_blocks_and_in_prose() {
    let page = "Run `cargo\nsome` and `spec.mode`.\n\n    $ cargo first\n    cargo output\n\n    $ usher second   # a comment\n\n\
                ```yaml\ncargo: third\n```\n\n```sh\ncargo fourth\n```\n| `kubectl in a table` |\n";
    assert_eq!(commands(page), ["cargo first", "usher second", "cargo fourth", "cargo some"]);
}
