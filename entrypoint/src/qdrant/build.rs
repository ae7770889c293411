//! Which Qdrant this is: its release, and which of our patches were compiled into it. The binary says so itself
//! (`--version`; patches/0000-build-marker), before it touches a disk or a port.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{PipeReader, pipe};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use crate::child::{self, Environment, Output, Spec};

/// In front of the names of the patches.
const MARK: &str = "qdrant-ecs patches: ";
/// An answer that takes longer, or is longer, is none.
const LONGEST: Duration = Duration::from_secs(10);
const LARGEST: u64 = 4 << 10;

/// What each patch gives that a Qdrant without it lacks; the marker itself gives nothing.
const GIVES: [(&str, &str); 4] = [
    (
        "no-accidental-founder",
        "an empty disk founds a second cluster whenever nobody tells it of the first; only this entrypoint keeps it from that",
    ),
    (
        "durable-snapshot-paths",
        "snapshots of its own API are announced before they are on stable storage, and those of two nodes in one directory can overwrite each other; our sets are not concerned",
    ),
    (
        "whole-snapshots",
        "snapshots of a collection that its own API makes lack points that were acknowledged meanwhile; our sets are not concerned",
    ),
    (
        "wide-snapshot-streams",
        "a shard is streamed 4 KiB at a time: sets take longer, and are as good",
    ),
];

/// A build of Qdrant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Its release.
    pub version: String,
    /// Our patches that are in it.
    pub patches: BTreeSet<String>,
    /// Over the text of all of them; `None` of a plain one.
    pub fingerprint: Option<String>,
}

impl Build {
    /// What is missing without the patches that it does not have; for people.
    pub fn lacks(&self) -> Vec<&'static str> {
        let missing = GIVES
            .iter()
            .filter(|(name, _)| !self.patches.contains(*name));
        missing.map(|(_, without)| *without).collect()
    }

    /// Reads `qdrant 1.19.0`, after which a patched one names its patches in brackets.
    ///
    /// # Errors
    /// It is something else; for people.
    pub fn parse(said: &str) -> Result<Self, String> {
        let line = said.lines().next().unwrap_or_default().trim();
        let other = || format!("{line:?} is no answer of Qdrant's to --version");
        let rest = line.strip_prefix("qdrant ").ok_or_else(other)?;
        let (version, patched) = match rest.split_once(" (") {
            None => (rest, None),
            Some((version, more)) => (version, Some(more.strip_suffix(')').ok_or_else(other)?)),
        };
        if version.is_empty() || version.contains(' ') {
            return Err(other());
        }
        // Whatever else somebody's build says in brackets is none of our patches.
        let Some(patched) = patched.and_then(|more| more.strip_prefix(MARK)) else {
            return Ok(Self {
                version: version.to_owned(),
                patches: BTreeSet::new(),
                fingerprint: None,
            });
        };
        let (names, fingerprint) = patched.split_once("; ").ok_or_else(other)?;
        Ok(Self {
            version: version.to_owned(),
            patches: names
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect(),
            fingerprint: Some(fingerprint.to_owned()),
        })
    }
}

/// Asks the binary. `Err`: it could not be asked, or gave no such answer; for people.
pub(super) async fn ask(program: &Path, env: Vec<(OsString, OsString)>) -> Result<Build, String> {
    let (answer, output) = pipe().map_err(|error| format!("make a pipe: {error}"))?;
    let args = vec!["--version".into()];
    let mut spec = Spec::new(program.to_owned(), args, Environment::Exactly(env));
    spec.output = Output::To(output.into());
    let late = |_| format!("--version has not ended after {LONGEST:?}");
    let child = timeout(LONGEST, child::spawn(spec)).await.map_err(late)?;
    let child = child.map_err(|error| error.to_string())?;
    let ended = timeout(LONGEST, async {
        let exit = child.wait().await;
        // Whoever it started and left behind may hold the pipe.
        (exit, read(answer).await)
    });
    let ended = ended.await.map_err(late);
    child.kill();
    let (exit, said) = ended?;
    let said = said.map_err(|error| format!("read what --version says: {error}"))?;
    match exit.is_clean() {
        true => Build::parse(&said),
        false => {
            let line = said.lines().next().unwrap_or_default();
            Err(format!("--version: {exit}: {line}"))
        }
    }
}

async fn read(answer: PipeReader) -> std::io::Result<String> {
    let mut said = Vec::new();
    let answer = Receiver::from_owned_fd(answer.into())?;
    answer.take(LARGEST).read_to_end(&mut said).await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_one_has_no_patches_and_lacks_them_all() {
        for said in ["qdrant 1.19.0\n", "qdrant 1.19.0 (built by hand)"] {
            let build = Build::parse(said).unwrap();
            assert_eq!(
                (build.version.as_str(), &build.fingerprint),
                ("1.19.0", &None)
            );
            assert_eq!(build.lacks().len(), GIVES.len());
        }
    }

    #[test]
    fn a_patched_one_names_its_patches() {
        let build = Build::parse(
            "qdrant 1.19.0 (qdrant-ecs patches: build-marker,no-accidental-founder,whole-snapshots,wide-snapshot-streams; 0a1b)\n",
        )
        .unwrap();
        assert_eq!(build.fingerprint.as_deref(), Some("0a1b"));
        assert_eq!(build.patches.len(), 4);
        let lacks = build.lacks();
        assert_eq!(lacks.len(), 1);
        assert!(lacks[0].contains("stable storage"), "{lacks:?}");
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        for said in [
            "",
            "qdrant",
            "qdrant ",
            "Qdrant 1.19.0",
            "qdrant one two",
            "qdrant 1.19.0 (qdrant-ecs patches: build-marker)",
            "qdrant 1.19.0 (qdrant-ecs patches: build-marker; 0a1b",
        ] {
            let why = Build::parse(said).unwrap_err();
            assert!(why.contains("--version"), "{said:?}: {why}");
        }
    }

    /// The marker is filled with the names in the patches' own files (ci/src/patch).
    #[test]
    fn every_patch_of_this_repository_is_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../patches");
        let mut there = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let Ok(text) = std::fs::read_to_string(entry.unwrap().path().join("patch.toml")) else {
                continue;
            };
            let name = text.lines().find_map(|line| line.strip_prefix("name = "));
            there.insert(name.unwrap().trim_matches('"').to_owned());
        }
        assert!(there.remove("build-marker"));
        let known: BTreeSet<_> = GIVES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(known, there);
    }

    async fn answer_of(script: &str) -> Result<Build, String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("qdrant");
        // Not written by us: a program that another test starts just then would inherit the open file.
        let text = format!("printf '#!/bin/sh\\n%s\\n' '{script}' > \"$0\"; chmod 755 \"$0\"");
        let mut write = std::process::Command::new("sh");
        assert!(
            write
                .arg("-c")
                .arg(text)
                .arg(&program)
                .status()
                .unwrap()
                .success()
        );
        ask(&program, vec![("PATH".into(), "/bin:/usr/bin".into())]).await
    }

    #[tokio::test]
    async fn the_binary_is_asked() {
        let build = answer_of("echo qdrant 1.19.0").await.unwrap();
        assert_eq!(build.version, "1.19.0");
        let why = answer_of("echo broken >&2; exit 3").await.unwrap_err();
        assert!(why.contains("broken") && why.contains('3'), "{why}");
        let missing = ask(Path::new("/nowhere/qdrant"), Vec::new()).await;
        assert!(missing.unwrap_err().contains("ENTRYPOINT_QDRANT_BIN"));
    }
}
