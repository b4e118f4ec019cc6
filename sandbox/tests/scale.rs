//! `cargo scale` as people call it, small.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

fn scale(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scale"));
    command.args(arguments);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// The figure in the line that begins with `name`.
fn figure<'a>(printed: &'a str, name: &str) -> Option<&'a str> {
    printed.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[test]
fn five_users_are_made_with_the_defaults() {
    let output = scale(&["--users", "5"]).output().unwrap();
    let (printed, complaint) = text(&output);
    assert!(output.status.success(), "{printed}{complaint}");
    assert_eq!(figure(&printed, "vendor calls per user").map(|calls| calls.parse::<f64>().unwrap() < 3.0), Some(true));
}

#[test]
fn at_most_two_of_five_deleted_users_are_removed() {
    let output = scale(&["--users", "5", "--remove", "--at-most", "2"]).output().unwrap();
    let (printed, complaint) = text(&output);
    assert!(output.status.success(), "{printed}{complaint}");
    // How many go through before all five are counted, of which the budget then lets none through, is a matter of time.
    let number = |name: &str| figure(&printed, name).and_then(|number| number.parse::<f64>().ok()).unwrap_or(f64::NAN);
    let (removed, held) = (number("users removed"), number("users that exceed the removal budget"));
    assert!(removed <= 2.0 && (removed + held - 5.0).abs() < 0.1, "{printed}");
}

#[test]
fn one_tenant_is_served_beside_slow_ones_in_a_small_form() {
    let arguments = ["--hostile", "--slow-credentials", "40", "--waiting-users", "80"];
    let output = scale(&arguments).output().unwrap();
    let (printed, complaint) = text(&output);
    assert!(output.status.success(), "{printed}{complaint}");
    // The figures exist only if every change was made; these show that the slow ones were still at it.
    assert_eq!(figure(&printed, "sweeps of the slow vendor that ended meanwhile"), Some("0"), "{printed}");
    let made = figure(&printed, "users made at one call a minute meanwhile").and_then(|made| made.parse::<u32>().ok());
    assert!(made.is_some_and(|made| made < 10), "{printed}");
    // The time is loose, because the machine has other work; slots that the slow ones hold would make it seconds.
    for change in ["new user", "edit", "removal"] {
        let row = figure(&printed, &format!("{change}, milliseconds: alone, beside, ratio")).unwrap();
        let ratio: f64 = row.split(' ').next_back().unwrap().parse().unwrap();
        assert!(ratio < 5.0, "{printed}");
    }
}

#[test]
fn a_number_that_the_api_would_refuse_is_refused_as_an_argument() {
    let output = scale(&["--at-most", "4294967295"]).output().unwrap();
    let (_, complaint) = text(&output);
    assert!(!output.status.success() && complaint.contains("100000"), "{complaint}");
}

#[test]
fn without_a_control_plane_one_sentence_says_what_to_set() {
    let output = scale(&["--users", "5"]).env("KUBEBUILDER_ASSETS", "/nowhere").output().unwrap();
    let (_, complaint) = text(&output);
    assert_eq!(
        complaint,
        "scale: KUBEBUILDER_ASSETS is set, but /nowhere/etcd is not there: put it there, or unset KUBEBUILDER_ASSETS to build it with Go\n"
    );
    assert!(!output.status.success());
}
