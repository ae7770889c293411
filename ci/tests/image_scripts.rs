//! The scripts that the Dockerfile runs: the release gate, the skeleton that dependency layers are built from, the
//! dashboard that is pinned or left out, and the stripping that leaves build information.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests by the lint"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn script(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../image")
            .join(name),
    );
    command
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const RUST_DIGEST: &str = "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const RUNTIME_DIGEST: &str =
    "sha256:0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

fn pinned() -> String {
    format!(
        "[upstream]\ntag = \"v1.19.0\"\n[images.rust]\nname = \"rust:1\"\ndigest = \"{RUST_DIGEST}\"\n\
         [images.runtime]\nname = \"some:tag\"\ndigest = \"{RUNTIME_DIGEST}\"\n[webui]\nversion = \"1\"\n"
    )
}

/// Arguments of a release that lacks nothing.
fn whole() -> Vec<String> {
    [
        "RELEASE=1",
        "QDRANT_FROM=source",
        "QDRANT_PATCHED=1",
        "QDRANT_PIN=upstream",
        "ENTRYPOINT_FROM=source",
        "VERSION=1.19.0-0.1.0",
        "REVISION=0123",
        "CREATED=2026-01-31T12:00:00Z",
        "APT_SNAPSHOT=20260131T120000Z",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("RUST_IMAGE=rust:1@{RUST_DIGEST}"),
        format!("RUNTIME_BASE=some:tag@{RUNTIME_DIGEST}"),
    ])
    .collect()
}

fn gate(pin: &str, arguments: &[String]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pin.toml");
    fs::write(&path, pin).unwrap();
    script("release-gate.sh")
        .arg(path)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_release_that_is_pinned_to_the_last_byte_passes() {
    let done = gate(&pinned(), &whole());
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(text(&done), "");
}

#[test]
fn each_thing_that_a_release_lacks_is_one_line() {
    for (number, line) in [
        (1, "ENTRYPOINT_FROM=binary"),
        (2, "VERSION is empty"),
        (3, "RUNTIME_BASE=some:tag is named by tag"),
        (4, "QDRANT_PIN=fallback"),
        (5, "QDRANT_PATCHED=0: a release has our patches"),
        (6, "QDRANT_PATCHED=: a release has our patches"),
        (7, "QDRANT_FROM=official: it has none of our patches"),
        (8, "QDRANT_FROM=binary: nothing pins"),
        (9, "is not what pin.toml names: rust:1@sha256:0a"),
        (10, "is not what pin.toml names: some:tag@sha256:0b"),
        (11, "is not what pin.toml names: some:tag@sha256:0b"),
    ] {
        let arguments: Vec<_> = whole()
            .into_iter()
            .map(|one| match number {
                1 => one.replace("ENTRYPOINT_FROM=source", "ENTRYPOINT_FROM=binary"),
                2 => one.replace("VERSION=1.19.0-0.1.0", "VERSION="),
                4 => one.replace("QDRANT_PIN=upstream", "QDRANT_PIN=fallback"),
                5 => one.replace("QDRANT_PATCHED=1", "QDRANT_PATCHED=0"),
                6 => one.replace("QDRANT_PATCHED=1", "QDRANT_PATCHED="),
                7 => one.replace("QDRANT_FROM=source", "QDRANT_FROM=official"),
                8 => one.replace("QDRANT_FROM=source", "QDRANT_FROM=binary"),
                // Of another image, of another day, and of another name.
                9 if one.starts_with("RUST_IMAGE") => one.replace(RUST_DIGEST, RUNTIME_DIGEST),
                10 if one.starts_with("RUNTIME_BASE") => one.replace(RUNTIME_DIGEST, RUST_DIGEST),
                11 => one.replace("some:tag", "other:tag"),
                3 if one.starts_with("RUNTIME_BASE") => {
                    one.replace(&format!("@{RUNTIME_DIGEST}"), "")
                }
                _ => one,
            })
            .collect();
        let done = gate(&pinned(), &arguments);
        assert!(!done.status.success(), "passed although {line}");
        assert_eq!(text(&done).lines().count(), 1, "{}", text(&done));
        assert!(
            text(&done).contains(line) && text(&done).starts_with("release refused: "),
            "{}",
            text(&done)
        );
    }
}

#[test]
fn an_empty_value_of_the_pin_is_named_by_its_section_and_stops_only_a_release() {
    let pin = pinned().replace(RUST_DIGEST, "");
    let done = gate(&pin, &whole());
    assert!(!done.status.success());
    assert!(
        text(&done).contains("[images.rust] digest is empty"),
        "{}",
        text(&done)
    );

    let arguments: Vec<_> = whole()
        .into_iter()
        .filter(|one| one != "RELEASE=1")
        .collect();
    let done = gate(&pin, &arguments);
    assert!(done.status.success());
    assert!(
        text(&done).starts_with("note: no release: "),
        "{}",
        text(&done)
    );
}

#[test]
fn what_is_neither_a_release_nor_none_is_refused_and_0_is_none() {
    for (release, taken) in [
        ("", true),
        ("0", true),
        ("1", false),
        ("true", false),
        ("yes", false),
    ] {
        let arguments = [format!("RELEASE={release}"), "QDRANT_PATCHED=0".to_owned()];
        let done = gate(&pinned(), &arguments);
        assert_eq!(done.status.success(), taken, "{release:?}: {}", text(&done));
        if !["", "0", "1"].contains(&release) {
            assert_eq!(text(&done).lines().count(), 1, "{}", text(&done));
            let said = format!("RELEASE={release}: give 1");
            assert!(text(&done).contains(&said), "{}", text(&done));
        }
    }
}

/// A file of this repository.
fn ours(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn dockerfile_and_workflow_give_the_gate_all_that_it_asks_for() {
    let gate = ours("image/release-gate.sh");
    for (path, from, to) in [
        ("Dockerfile", "RUN sh /gate/release-gate.sh", "&& mkdir"),
        (
            ".github/workflows/release.yml",
            "sh image/release-gate.sh",
            "for image in",
        ),
    ] {
        let text = ours(path);
        let (_, call) = text.split_once(from).unwrap();
        let (call, _) = call.split_once(to).unwrap();
        let mut keys = 0;
        for line in gate.lines() {
            let Some((key, _)) = line.trim().split_once(") ") else {
                continue;
            };
            if line.contains("=\"$value\" ;;") {
                assert!(call.contains(&format!("{key}=")), "{path} gives no {key}");
                keys += 1;
            }
        }
        assert!(keys > 5, "{keys}");
    }
}

/// As `cargo ci patch apply` writes it.
const STATE: &str = "{\n  \"patches\": [\n    \"0001-one\",\n    \"0002-two\"\n  ],\n  \"fingerprint\": \"0123\",\n  \
                     \"files\": {\n    \"src/main.rs\": \"4567\"\n  }\n}\n";

#[test]
fn the_build_note_names_the_patches_that_the_tree_says_are_in_it() {
    let dockerfile = ours("Dockerfile");
    let (_, command) = dockerfile.split_once("\"patches=$(").unwrap();
    let (command, _) = command.split_once(")\" \\\n").unwrap();
    for (state, said) in [
        (None, ""),
        (Some(STATE.to_owned()), "0001-one 0002-two "),
        (
            Some(STATE.replace("[\n    \"0001-one\",\n    \"0002-two\"\n  ]", "[]")),
            "",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        if let Some(state) = &state {
            fs::write(folder.path().join(".qdrant-patches.json"), state).unwrap();
        }
        let done = Command::new("sh")
            .args(["-c", command])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert_eq!(text(&done), said, "{state:?}");
    }
}

/// A workspace of one member with a program, a library, a bench and a build script.
fn workspace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in [
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"member\"]\nresolver = \"3\"\n",
        ),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"member\"\nversion = \"1.0.0\"\n",
        ),
        (
            "member/Cargo.toml",
            "[package]\nname = \"member\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n\
             [[bin]]\nname = \"other\"\npath = \"src/tools/other.rs\"\n\n[[bench]]\nname = \"fast\"\nharness = false\n",
        ),
        (
            "member/src/lib.rs",
            "mod inner; compile_error!(\"the real one\");",
        ),
        ("member/src/inner.rs", "pub fn secret() {}"),
        ("member/src/main.rs", "fn main() { member::secret() }"),
        (
            "member/src/tools/other.rs",
            "fn main() { member::secret() }",
        ),
        ("member/benches/fast.rs", "fn main() { member::secret() }"),
        ("member/build.rs", "fn main() { panic!() }"),
        ("target/debug/Cargo.toml", "not a manifest"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn skeleton(of: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("skeleton");
    let done = script("skeleton.sh").arg(of).arg(&to).output().unwrap();
    assert!(done.status.success(), "{}", text(&done));
    (folder, to)
}

#[test]
fn a_skeleton_has_every_target_and_no_source() {
    let workspace = workspace();
    let (_folder, skeleton) = skeleton(workspace.path());
    assert!(!skeleton.join("member/src/inner.rs").exists());
    assert!(!skeleton.join("target").exists());
    let done = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--locked", "--all-targets", "--quiet"])
        .args(["--target-dir".as_ref(), skeleton.join("out").as_os_str()])
        .current_dir(&skeleton)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done));
}

/// Every file below a folder, as seen from there, in order.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_change_in_a_source_changes_no_byte_of_the_skeleton() {
    let workspace = workspace();
    let listing = |folder: &Path| {
        let paths = files_below(folder).into_iter();
        paths
            .map(|path| (path.clone(), fs::read(folder.join(path)).unwrap()))
            .collect::<Vec<_>>()
    };
    let (_before, before) = skeleton(workspace.path());
    fs::write(workspace.path().join("member/src/main.rs"), "fn main() {}").unwrap();
    fs::write(
        workspace.path().join("member/src/new.rs"),
        "pub fn new() {}",
    )
    .unwrap();
    let (_after, after) = skeleton(workspace.path());
    assert_eq!(listing(&before), listing(&after));
}

#[test]
fn without_a_pinned_dashboard_the_image_goes_without_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("pin.toml");
    fs::write(
        &pin,
        "[upstream]\nversion = \"not this one\"\nsha256 = \"nor this\"\n[webui]\nversion = \"\"\nsha256 = \"\"\n",
    )
    .unwrap();
    let to = folder.path().join("static");
    let done = script("web-ui.sh")
        .arg("fetch")
        .arg(&pin)
        .arg(&to)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done));
    assert!(text(&done).contains("no dashboard"), "{}", text(&done));
    assert!(!to.join("index.html").exists());
}

/// `curl` and `unzip` are stood in for: no network here.
#[test]
fn a_pinned_dashboard_says_so_and_one_of_another_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for (name, text) in [
        (
            "curl",
            "while [ \"$1\" != --output ]; do shift; done; printf archive >\"$2\"",
        ),
        (
            "unzip",
            "mkdir \"$4/dist\"; echo page >\"$4/dist/index.html\"",
        ),
    ] {
        let path = programs.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let fetch = |sha256: &str| {
        let pin = folder.path().join("pin.toml");
        let text = format!("[webui]\nversion = \"1\"\nsha256 = \"{sha256}\"\n");
        fs::write(&pin, text).unwrap();
        let to = folder.path().join(sha256);
        let done = script("web-ui.sh")
            .arg("fetch")
            .args([&pin, &to])
            .env("PATH", &path)
            .output()
            .unwrap();
        (done, to)
    };
    // Of the word above.
    let right = "0eb3e36bfb24dcd9bb1d1bece1531216b59539a8fde17ee80224af0653c92aa3";
    let (done, to) = fetch(right);
    assert!(done.status.success(), "{}", text(&done));
    assert!(to.join("index.html").is_file());
    assert_eq!(
        fs::read_to_string(to.join(".pinned")).unwrap().trim(),
        right
    );
    let (done, to) = fetch(&"0".repeat(64));
    assert!(!done.status.success());
    assert!(text(&done).contains("pinned is 000"), "{}", text(&done));
    assert!(!to.join(".pinned").exists());
}

/// What a release says to a dashboard that was given, by the mark that it carries.
fn verified(sha256: &str, files: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("pin.toml");
    // The hash of another section is none of the dashboard's.
    fs::write(
        &pin,
        format!(
            "[upstream]\nsha256 = \"{}\"\n[webui]\nsha256 = \"{sha256}\"\n",
            "b".repeat(64)
        ),
    )
    .unwrap();
    let given = folder.path().join("given");
    fs::create_dir(&given).unwrap();
    for (name, text) in files {
        fs::write(given.join(name), text).unwrap();
    }
    script("web-ui.sh")
        .arg("verify")
        .args([&pin, &given])
        .output()
        .unwrap()
}

#[test]
fn a_copied_dashboard_passes_only_with_the_hash_of_this_pin() {
    let pinned = "a".repeat(64);
    let page = ("index.html", "page");
    let done = verified(&pinned, &[page, (".pinned", &format!("{pinned}\n"))]);
    assert!(done.status.success(), "{}", text(&done));
    for (mark, refusal) in [
        // Out of a build of an older pin.
        (
            "b".repeat(64),
            format!("sha256 {}, pinned is {pinned}", "b".repeat(64)),
        ),
        // Two at once, a part, nothing.
        (
            format!("{pinned}\nmore"),
            format!("sha256 {pinned} more, pinned"),
        ),
        (pinned[1..].to_owned(), format!("pinned is {pinned}")),
        (String::new(), format!("pinned is {pinned}")),
    ] {
        let done = verified(&pinned, &[page, (".pinned", &mark)]);
        assert!(!done.status.success(), "passed with {mark:?}");
        assert_eq!(text(&done).lines().count(), 1, "{}", text(&done));
        assert!(text(&done).contains(&refusal), "{}", text(&done));
    }
}

#[test]
fn a_dashboard_without_a_mark_a_mark_without_a_dashboard_and_a_pin_without_a_hash_are_refused() {
    let pinned = "a".repeat(64);
    let page = ("index.html", "page");
    for (sha256, files, refusal) in [
        (pinned.as_str(), vec![page], "that nothing pins"),
        (&pinned, vec![(".pinned", pinned.as_str())], "no dashboard"),
        ("", vec![page, (".pinned", "")], "has no sha256"),
    ] {
        let done = verified(sha256, &files);
        assert!(!done.status.success(), "passed although {refusal}");
        assert_eq!(text(&done).lines().count(), 1, "{}", text(&done));
        assert!(text(&done).contains(refusal), "{}", text(&done));
    }
}

/// The commands of a stage of the Dockerfile, with all that is absolute below `root`.
fn commands_of_stage(name: &str, root: &Path) -> String {
    let dockerfile = ours("Dockerfile");
    let (_, stage) = dockerfile.split_once(&format!(" AS {name}\n")).unwrap();
    let (stage, _) = stage.split_once("\nFROM ").unwrap();
    let stage = stage.replace("\\\n", " ");
    let commands: Vec<_> = stage
        .lines()
        .filter_map(|line| line.strip_prefix("RUN "))
        .collect();
    commands
        .join("\n")
        .replace(" /", &format!(" {}/", root.display()))
}

#[test]
fn the_dockerfile_holds_the_dashboard_of_a_release_to_the_pin_and_leaves_the_mark_behind() {
    let pinned = "a".repeat(64);
    for (release, mark, taken) in [
        ("1", pinned.clone(), true),
        ("1", "b".repeat(64), false),
        ("", "b".repeat(64), true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (path, text) in [
            ("pin/pin.toml", format!("[webui]\nsha256 = \"{pinned}\"\n")),
            ("web-ui/index.html", "page".to_owned()),
            ("web-ui/.pinned", mark.clone()),
            ("source/docs/redoc/master/openapi.json", "{}".to_owned()),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image");
        fs::create_dir(root.join("image")).unwrap();
        fs::copy(image.join("web-ui.sh"), root.join("image/web-ui.sh")).unwrap();
        fs::create_dir(root.join("out")).unwrap();
        let done = Command::new("sh")
            .args(["-ec", &commands_of_stage("qdrant-from-source", root)])
            .env("RELEASE", release)
            .current_dir(root.join("source"))
            .output()
            .unwrap();
        let case = format!("RELEASE={release:?}, {mark}: {}", text(&done));
        assert_eq!(done.status.success(), taken, "{case}");
        for (name, there) in [
            ("index.html", taken),
            ("openapi.json", taken),
            (".pinned", false),
        ] {
            let path = root.join("out/static").join(name);
            assert_eq!(path.exists(), there, "{name}, {case}");
        }
    }
}

#[test]
fn of_a_folder_with_a_given_qdrant_only_what_is_documented_gets_into_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for path in [
        "qdrant",
        "LICENSE",
        "config/config.yaml",
        "licenses/NOTICES.txt",
        "storage/raft_state.json",
        "entrypoint",
        ".env",
        "build/image.toml",
    ] {
        let path = root.join("given").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let done = Command::new("sh")
        .args(["-ec", &commands_of_stage("qdrant-from-binary", root)])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(
        files_below(&root.join("out")),
        [
            "build/qdrant.toml",
            "config/config.yaml",
            "licenses/NOTICES.txt",
            "licenses/qdrant/LICENSE",
            "qdrant",
        ]
        .map(PathBuf::from)
    );
    let mode = fs::metadata(root.join("out/qdrant")).unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o755
    );
}

#[test]
fn a_finished_program_runs_and_says_what_it_was_built_from() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("small.rs");
    fs::write(&source, "fn main() { println!(\"runs\"); }").unwrap();
    let program = folder.path().join("small");
    let done = Command::new("rustc")
        .arg("-g")
        .args(["-o".as_ref(), program.as_os_str(), source.as_os_str()])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done));
    let out = folder.path().join("out");
    let symbols = folder.path().join("symbols");
    let finish = |pair: &str| {
        script("finish.sh")
            .args([program.as_os_str(), out.as_os_str()])
            .args(["small", "tag=v1.2.3", pair])
            .env("SYMBOLS", &symbols)
            .output()
            .unwrap()
    };
    let done = finish("patches=one two ");
    assert!(done.status.success(), "{}", text(&done));
    let finished = out.join("small");
    let done = Command::new(&finished).output().unwrap();
    assert_eq!(text(&done), "runs\n");
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(size(&finished) < size(&program) / 2);
    assert!(symbols.join("small.debug").is_file());
    let note = fs::read_to_string(out.join("build/small.toml")).unwrap();
    assert!(
        note.contains("from = \"source\"\ntag = \"v1.2.3\"\npatches = \"one two\"\n"),
        "{note}"
    );
    let found = folder.path().join("found");
    let done = Command::new("objcopy")
        .args(["-O", "binary", "--only-section=.build-info"])
        .args(["--set-section-flags", ".build-info=alloc"])
        .args([&finished, &found])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(fs::read_to_string(&found).unwrap(), note);
    // A value that would break the note is refused.
    assert!(!finish("patches=\"").status.success());
}

#[test]
fn a_snapshot_that_is_no_time_is_refused_before_anything_is_installed() {
    let done = script("apt.sh")
        .args(["yesterday", "dash"])
        .output()
        .unwrap();
    assert!(!done.status.success());
    assert!(text(&done).contains("is no time"), "{}", text(&done));
}
