//! Started with Qdrant's own flags we are a supervisor and nothing else: no cluster is ordered, no
//! control port opened, nothing restarted. So the image can stand in for the official one.
//!
//! What is kept from the official script: arguments, environment and standard streams reach Qdrant
//! untouched, its exit code is ours, recovery mode. What is better: we end only after Qdrant has.

use super::{
    Child, Environment, Exit, Output, Reaper, SpawnError, Spec, Stdin,
    recovery::{Decision, RECOVERY_MODE, Recovery},
    spawn,
};
use nix::sys::signal::Signal;
use std::{
    ffi::{OsStr, OsString},
    fmt, future, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Qdrant's flags that are also environment variables (main.rs:77-89 of v1.19.0).
const VARIABLES: [&str; 2] = ["QDRANT_URI", "QDRANT_BOOTSTRAP"];
/// Names by which a command line written for the official image calls Qdrant.
const PROGRAMS: [&str; 2] = ["qdrant", "entrypoint.sh"];
/// Flags of ours that Qdrant has as well.
const OURS: [&str; 2] = ["-h", "--help"];

/// We were started in Qdrant's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passthrough {
    /// Qdrant's arguments, byte for byte.
    pub args: Vec<OsString>,
    /// How we know.
    pub why: Why,
}

/// What made us pass everything through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The first argument is a flag that is not ours.
    Flag(OsString),
    /// The first argument names Qdrant or the official script, as `command` in a compose file does.
    Program(OsString),
    /// This variable is set, with no argument.
    Variable(&'static str),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "first argument is Qdrant's {}", flag.display()),
            Self::Program(name) => write!(f, "first argument is the program {}", name.display()),
            Self::Variable(name) => write!(f, "{name} is set"),
        }
    }
}

/// Decides whether to pass everything through. `args` are ours without the program's name. A word that
/// is no flag is a sub-command of ours (or a mistake, for the command line parser to name).
#[must_use]
pub fn detect(
    args: &[OsString],
    env_get: impl Fn(&str) -> Option<OsString>,
) -> Option<Passthrough> {
    let Some((first, rest)) = args.split_first() else {
        let name = variable_set(env_get)?;
        return Some(Passthrough {
            args: Vec::new(),
            why: Why::Variable(name),
        });
    };
    if first.as_encoded_bytes().starts_with(b"-") {
        let ours = OURS.iter().any(|flag| first == OsStr::new(flag));
        return (!ours).then(|| Passthrough {
            args: args.to_vec(),
            why: Why::Flag(first.clone()),
        });
    }
    let name = Path::new(first).file_name()?;
    PROGRAMS
        .iter()
        .any(|p| name == OsStr::new(p))
        .then(|| Passthrough {
            args: rest.to_vec(),
            why: Why::Program(first.clone()),
        })
}

/// Whether the entrypoint that runs as PID 1, whose command line this file holds, passes everything
/// through. False when it cannot be read, or PID 1 is somebody else.
pub fn is_what_pid_one_does(
    command_line: &Path,
    env_get: impl Fn(&str) -> Option<OsString>,
) -> bool {
    let Ok(line) = std::fs::read(command_line) else {
        return false;
    };
    let mut words = line
        .split(|byte| *byte == 0)
        .map(|word| OsStr::from_bytes(word).to_owned());
    let program = words.next().unwrap_or_default();
    let mut args: Vec<OsString> = words.collect();
    // The last word ends with a zero as well.
    args.pop();
    Path::new(&program).file_name() == Some(OsStr::new("entrypoint"))
        && detect(&args, env_get).is_some()
}

/// The variable of Qdrant's own command line that is set, when one is.
pub fn variable_set(env_get: impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    VARIABLES.into_iter().find(|name| env_get(name).is_some())
}

/// Supervises `program` (the path of Qdrant) and returns the code to exit with: Qdrant's own, 128 + n
/// for signal n, 126 or 127 when it cannot be started. Needs a tokio runtime with signals and time.
///
/// TERM, INT, HUP, QUIT, USR1 and USR2 go to Qdrant; when to kill is left to who sends them.
/// What there is to say goes to `tracing`.
pub async fn run(
    passthrough: Passthrough,
    program: PathBuf,
    env_get: impl Fn(&str) -> Option<OsString>,
) -> i32 {
    let recovery = Recovery::from_env(env_get);
    // Before the first child, so that no signal is lost on one that is just starting.
    let (mut signals, reaper) = match listen() {
        Ok(listening) => listening,
        Err(e) => {
            tracing::error!(event = "passthrough.failed", error = %e, "cannot listen for signals");
            return 71;
        }
    };
    let reap = async {
        match reaper {
            Some(reaper) => match reaper.run().await {},
            None => future::pending::<()>().await,
        }
    };
    tokio::select! {
        code = supervise(passthrough.args, program, &recovery, &mut signals) => code,
        () = reap => 71,
    }
}

async fn supervise(
    args: Vec<OsString>,
    program: PathBuf,
    recovery: &Recovery,
    signals: &mut mpsc::UnboundedReceiver<Signal>,
) -> i32 {
    let mut plus = Vec::new();
    let mut stopping = false;
    loop {
        let rerun = !plus.is_empty();
        let mut spec = Spec::new(
            program.clone(),
            args.clone(),
            Environment::InheritedPlus(plus),
        );
        spec.stdin = Stdin::Inherited;
        spec.output = Output::Inherited;
        let child = match spawn(spec).await {
            Ok(child) => child,
            Err(e) => return not_started(&e),
        };
        let exit = forward(&child, signals, &mut stopping).await;
        match recovery.decide(&exit, recovery.look(Path::new("")), stopping, rerun) {
            Decision::Leave(why) => {
                if recovery.allowed && exit.was_killed() {
                    tracing::warn!(event = "recovery.refused", %exit, why);
                }
                return exit.exit_code();
            }
            Decision::Rerun(message) => {
                tracing::warn!(event = "recovery.started", %exit, message);
                plus = vec![(RECOVERY_MODE.into(), message.into())];
            }
        }
    }
}

fn not_started(e: &SpawnError) -> i32 {
    let cause = std::error::Error::source(e).map(ToString::to_string);
    tracing::error!(event = "qdrant.not_started", error = %e, cause);
    e.exit_code()
}

/// Hands signals on until the child has ended.
async fn forward(
    child: &Child,
    signals: &mut mpsc::UnboundedReceiver<Signal>,
    stopping: &mut bool,
) -> Exit {
    loop {
        tokio::select! {
            exit = child.wait() => return exit,
            Some(signal) = signals.recv() => {
                *stopping |= matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT);
                if let Err(e) = child.signal(signal) {
                    tracing::warn!(event = "signal.not_forwarded", %signal, error = %e);
                }
            }
        }
    }
}

type Listening = (mpsc::UnboundedReceiver<Signal>, Option<Reaper>);

/// Takes over the signals that are Qdrant's, and SIGCHLD when we are PID 1. Unbounded, as tokio merges
/// a burst of one signal into one.
fn listen() -> io::Result<Listening> {
    let (tx, rx) = mpsc::unbounded_channel();
    for s in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ] {
        let mut arriving = signal(SignalKind::from_raw(s as i32))?;
        let tx = tx.clone();
        tokio::spawn(async move { while arriving.recv().await.is_some() && tx.send(s).is_ok() {} });
    }
    Ok((rx, Reaper::if_pid_one()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn pid_one_is_known_by_its_command_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (line, uri, passes) in [
            (
                &b"/qdrant/entrypoint\0--uri\0http://a:6335\0"[..],
                false,
                true,
            ),
            (b"/qdrant/entrypoint\0", true, true),
            (b"/qdrant/entrypoint\0", false, false),
            (b"/qdrant/entrypoint\0run\0", false, false),
            (b"/sbin/init\0--uri\0", true, false),
            (b"", true, false),
        ] {
            std::fs::write(file.path(), line).unwrap();
            let env = |name: &str| (uri && name == "QDRANT_URI").then(OsString::new);
            assert_eq!(
                is_what_pid_one_does(file.path(), env),
                passes,
                "{}",
                line.escape_ascii()
            );
        }
        assert!(!is_what_pid_one_does(Path::new("/nonexistent"), |_| None));
    }

    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn on(args: &[&str], set: &[&str]) -> Option<Passthrough> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        detect(&args, |name| {
            set.contains(&name).then(|| "http://a:6335".into())
        })
    }

    #[test]
    fn every_flag_of_qdrant_is_passed_through_with_all_that_follows() {
        for flag in [
            "--uri",
            "--bootstrap",
            "--reinit",
            "--config-path",
            "--snapshot",
            "--storage-snapshot",
            "--force-snapshot",
            "-f",
            "--disable-telemetry",
            "--stacktrace",
            "--version",
            "-V",
            "--uri=http://a:6335",
            "--",
            "-",
            "--of-a-later-qdrant",
        ] {
            let p = on(&[flag, "check-config", ""], &[]).unwrap_or_else(|| panic!("{flag}"));
            assert_eq!(p.args, [flag, "check-config", ""]);
            assert_eq!(p.why, Why::Flag(flag.into()));
        }
        let odd = OsString::from_vec(b"--uri=\xff\xfe".to_vec());
        assert_eq!(
            detect(std::slice::from_ref(&odd), |_| None).unwrap().args,
            [odd]
        );
    }

    #[test]
    fn a_command_line_for_the_official_image_works_here() {
        for name in ["./qdrant", "qdrant", "/qdrant/qdrant", "./entrypoint.sh"] {
            let p = on(&[name, "--uri", "http://a b:6335"], &[]).unwrap();
            assert_eq!(p.args, ["--uri", "http://a b:6335"]);
            assert_eq!(p.why, Why::Program(name.into()));
        }
    }

    #[test]
    fn variables_count_only_without_a_sub_command() {
        let p = on(&[], &["QDRANT_BOOTSTRAP"]).unwrap();
        assert_eq!((p.args, p.why), (vec![], Why::Variable("QDRANT_BOOTSTRAP")));
        assert!(on(&[], &["QDRANT_URI", "QDRANT_BOOTSTRAP"]).is_some());
        assert_eq!(on(&["check-config"], &["QDRANT_URI"]), None);
    }

    #[test]
    fn what_is_ours_stays_ours() {
        for args in [
            &[][..],
            &["health"],
            &["status"],
            &["--help"],
            &["-h"],
            &["helth"],
            &[""],
            &["/"],
        ] {
            assert_eq!(on(args, &[]), None, "{args:?}");
        }
    }
}
