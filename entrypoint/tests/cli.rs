//! The command line as a user meets it: exit codes and the line that says what to do.

#![allow(clippy::expect_used, reason = "tests may fail loudly")]

use std::process::{Command, Output};

/// Runs the program with nothing in its environment but this.
fn entrypoint(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entrypoint"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .expect("the program under test starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn run_beside_qdrants_own_variables_is_refused() {
    for name in ["QDRANT_URI", "QDRANT_BOOTSTRAP"] {
        let output = entrypoint(&["run"], &[(name, "http://10.0.0.1:6335")]);
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(name) && said.contains("remove"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn an_unknown_command_and_an_unknown_variable_are_64() {
    let unknown = entrypoint(&["rnu"], &[]);
    assert_eq!(unknown.status.code(), Some(64), "{}", stderr(&unknown));
    let typo = entrypoint(&["check-config"], &[("ENTRYPOINT_CLUSTER_SISE", "3")]);
    assert_eq!(typo.status.code(), Some(64));
    let said = stderr(&typo);
    assert!(said.contains("ENTRYPOINT_CLUSTER_SIZE"), "{said}");
}

#[test]
fn prune_without_dry_run_is_refused_in_one_line() {
    let output = entrypoint(&["snapshots", "prune"], &[]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("by itself") && said.contains("--dry-run"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_pin_needs_a_reason_and_a_set() {
    for args in [
        ["snapshots", "pin", "20260228T091500Z"].as_slice(),
        ["snapshots", "pin", "yesterday", "--reason", "r"].as_slice(),
    ] {
        let output = entrypoint(args, &[]);
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    }
}

#[test]
fn a_check_that_found_nothing_to_check_is_no_proof() {
    let empty = tempfile::tempdir().unwrap();
    for folder in [empty.path().to_path_buf(), empty.path().join("typo")] {
        let output = entrypoint(&["snapshots", "check", folder.to_str().unwrap()], &[]);
        assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("nothing was checked"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
