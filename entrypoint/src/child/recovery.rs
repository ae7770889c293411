//! Parity with the official script's `QDRANT_ALLOW_RECOVERY_MODE`: a Qdrant that was killed before it
//! had initialised is started once more in recovery mode, where collections are not loaded and can
//! be deleted. Decides only; starts nothing.
//!
//! Qdrant removes its init file when it starts and writes it anew when its servers run
//! (startup.rs:11-61 of v1.19.0), so a missing file means *killed while loading*.

use super::{cgroup::Oom, exit::Exit};
use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

/// The variable that puts Qdrant into recovery mode; its value is what it answers to requests.
pub const RECOVERY_MODE: &str = "QDRANT__STORAGE__RECOVERY_MODE";
const ALLOW: &str = "QDRANT_ALLOW_RECOVERY_MODE";
const INIT_FILE: &str = "QDRANT_INIT_FILE_PATH";
const DEFAULT_INIT_FILE: &str = ".qdrant-initialized";

/// What the user allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// `QDRANT_ALLOW_RECOVERY_MODE` is exactly `true`, as the script has it.
    pub allowed: bool,
    /// `QDRANT_INIT_FILE_PATH`, default `.qdrant-initialized`; relative to Qdrant's working directory.
    pub init_file: PathBuf,
}

/// Whether Qdrant's init file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitFile {
    /// It is: Qdrant had initialised.
    Present,
    /// It is not, or is no regular file.
    Missing,
    /// It could not be looked at.
    Unknown,
}

/// What to do after an exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Leave it at that, for this reason.
    Leave(&'static str),
    /// Start Qdrant once more, with [`RECOVERY_MODE`] set to this message.
    Rerun(String),
}

impl Recovery {
    /// Reads the two variables of the official script.
    #[must_use]
    pub fn from_env(env_get: impl Fn(&str) -> Option<OsString>) -> Self {
        Self {
            allowed: env_get(ALLOW).is_some_and(|v| v == OsStr::new("true")),
            // The script's `:-` takes the default for an empty value, too.
            init_file: env_get(INIT_FILE)
                .filter(|v| !v.is_empty())
                .map_or_else(|| DEFAULT_INIT_FILE.into(), PathBuf::from),
        }
    }

    /// Looks for the init file; `cwd` is Qdrant's working directory.
    #[must_use]
    pub fn look(&self, cwd: &Path) -> InitFile {
        match std::fs::metadata(cwd.join(&self.init_file)) {
            Ok(file) if file.is_file() => InitFile::Present,
            Ok(_) => InitFile::Missing,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                InitFile::Missing
            }
            Err(_) => InitFile::Unknown,
        }
    }

    /// Decides. `stopping`: somebody asked for the end (the script would start it again even then).
    /// `rerun`: this exit is already that of the second run.
    #[must_use]
    pub fn decide(
        &self,
        exit: &Exit,
        init_file: InitFile,
        stopping: bool,
        rerun: bool,
    ) -> Decision {
        if !self.allowed {
            return Decision::Leave("QDRANT_ALLOW_RECOVERY_MODE is not true");
        }
        if !exit.was_killed() {
            return Decision::Leave("Qdrant was not killed");
        }
        if stopping || exit.killed_by_us {
            return Decision::Leave("we are stopping");
        }
        if rerun {
            return Decision::Leave("it was already the run in recovery mode");
        }
        match init_file {
            InitFile::Present => Decision::Leave("Qdrant had initialised"),
            InitFile::Unknown => Decision::Leave("its init file could not be looked at"),
            InitFile::Missing => Decision::Rerun(message(exit.oom)),
        }
    }
}

/// What Qdrant answers in recovery mode.
fn message(oom: Oom) -> String {
    let cause = match oom {
        Oom::Yes => "The kernel killed Qdrant while it was loading: out of memory.",
        Oom::No => {
            "Qdrant was killed while it was loading, and not by this container's memory limit."
        }
        Oom::Unknown => "Qdrant was killed while it was loading, probably for lack of memory.",
    };
    format!(
        "{cause} It now runs in recovery mode: collections are not loaded and can only be deleted. \
         Give the container more memory or delete collections, then restart it."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

    fn exit(raw: i32) -> Exit {
        Exit::of(
            Some(ExitStatus::from_raw(raw)),
            false,
            (Some(0), Some(1)),
            Duration::ZERO,
        )
    }

    fn allowed() -> Recovery {
        Recovery::from_env(|k| (k == ALLOW).then(|| "true".into()))
    }

    #[test]
    fn only_a_kill_while_loading_leads_to_recovery_mode_once() {
        let r = allowed();
        let Decision::Rerun(text) = r.decide(&exit(9), InitFile::Missing, false, false) else {
            panic!("not rerun");
        };
        assert!(
            text.contains("out of memory") && !text.contains('\n'),
            "{text}"
        );
        assert!(matches!(
            r.decide(&exit(137 << 8), InitFile::Missing, false, false),
            Decision::Rerun(_)
        ));

        let left = |r: &Recovery, raw, file, stopping, rerun| {
            matches!(
                r.decide(&exit(raw), file, stopping, rerun),
                Decision::Leave(_)
            )
        };
        assert!(left(&r, 9, InitFile::Present, false, false));
        assert!(left(&r, 9, InitFile::Unknown, false, false));
        assert!(left(&r, 9, InitFile::Missing, true, false));
        assert!(left(&r, 9, InitFile::Missing, false, true));
        assert!(left(&r, 15, InitFile::Missing, false, false));
        assert!(left(&r, 101 << 8, InitFile::Missing, false, false));
        let not_allowed = Recovery {
            allowed: false,
            ..r.clone()
        };
        assert!(left(&not_allowed, 9, InitFile::Missing, false, false));
        let mut ours = exit(9);
        ours.killed_by_us = true;
        assert!(matches!(
            r.decide(&ours, InitFile::Missing, false, false),
            Decision::Leave("we are stopping")
        ));
    }

    #[test]
    fn the_variables_read_as_the_script_reads_them() {
        assert_eq!(allowed().init_file, PathBuf::from(".qdrant-initialized"));
        assert!(!Recovery::from_env(|k| (k == ALLOW).then(|| "1".into())).allowed);
        assert!(!Recovery::from_env(|_| None).allowed);
        let with = |path: &'static str| {
            Recovery::from_env(move |k| (k == INIT_FILE).then(|| path.into())).init_file
        };
        assert_eq!(with("/data/ready"), PathBuf::from("/data/ready"));
        assert_eq!(with(""), PathBuf::from(".qdrant-initialized"));
    }

    #[test]
    fn the_init_file_is_a_regular_file_below_qdrants_directory() {
        let dir = tempfile::tempdir().unwrap();
        let r = allowed();
        assert_eq!(r.look(dir.path()), InitFile::Missing);
        std::fs::create_dir(dir.path().join(DEFAULT_INIT_FILE)).unwrap();
        assert_eq!(r.look(dir.path()), InitFile::Missing);
        let file = Recovery {
            init_file: "ready".into(),
            ..r
        };
        std::fs::write(dir.path().join("ready"), "").unwrap();
        assert_eq!(file.look(dir.path()), InitFile::Present);
        let below_a_file = Recovery {
            init_file: "ready/x".into(),
            ..file.clone()
        };
        assert_eq!(below_a_file.look(dir.path()), InitFile::Missing);
        let endless = Recovery {
            init_file: "x".repeat(5000).into(),
            ..file
        };
        assert_eq!(endless.look(dir.path()), InitFile::Unknown);
    }
}
