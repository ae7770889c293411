//! What only a supervisor of its own process can show: its sudden death, orphans, signals, exit codes.
//!
//! The supervisor is this test binary, started again with the ignored test [`supervisor`], which does
//! what `ROLE` says. `unshare` makes it PID 1; where that is not permitted, the test says so.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests may fail loudly, and so may what they share"
)]

mod child_support;

use child_support::{PATIENCE, until, until_dead};
use entrypoint::child::{
    Environment, Reaper, Spec,
    passthrough::{self, Passthrough, Why},
    spawn,
};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::ffi::OsStringExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

const ROLE: &str = "ROLE_OF_THE_SUPERVISOR";
const SCRIPT: &str = "SCRIPT_OF_THE_CHILD";
const PROGRAM: &str = "PROGRAM_OF_THE_CHILD";

#[test]
#[ignore = "the supervisor that the other tests of this file start; no test by itself"]
fn supervisor() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let role = std::env::var(ROLE).expect("started by another test");
    std::process::exit(runtime.block_on(async {
        match role.as_str() {
            "hold" => hold().await,
            "signals" => run(sh("grep ^SigIgn /proc/self/status")).await,
            "orphans" => orphans(Reaper::as_subreaper().unwrap()).await,
            "orphans of PID 1" => {
                orphans(Reaper::if_pid_one().unwrap().expect("we are PID 1")).await
            }
            "pass through" => pass_through().await,
            other => panic!("unknown role {other}"),
        }
    }));
}

fn sh(text: &str) -> Spec {
    let args = vec!["-c".into(), text.into()];
    Spec::new(
        "/bin/sh".into(),
        args,
        Environment::InheritedPlus(Vec::new()),
    )
}

async fn hold() -> i32 {
    run(sh("echo child $$; exec sleep 600")).await
}

async fn run(spec: Spec) -> i32 {
    spawn(spec).await.unwrap().wait().await.exit_code()
}

/// Children end while orphans do; every child's code must reach us, every orphan be reaped.
async fn orphans(reaper: Reaper) -> i32 {
    const ROUNDS: i32 = 40;
    let mut reaped = reaper.reaped();
    tokio::spawn(reaper.run());
    let children = (0..ROUNDS).map(|n| async move {
        // The inner shell starts a process and ends before it: an orphan.
        let text = format!("(sh -c 'exit 9' &); exit {n}");
        assert_eq!(spawn(sh(&text)).await.unwrap().wait().await.code, Some(n));
    });
    futures::future::join_all(children).await;
    let all = reaped.wait_for(|n| *n >= ROUNDS as u64);
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("orphans reaped in time")
        .unwrap();
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    assert_eq!(waitid(Id::All, look), Err(Errno::ECHILD), "nobody is left");
    println!("\nall well");
    0
}

async fn pass_through() -> i32 {
    let mut args = vec!["-c".into(), std::env::var_os(SCRIPT).unwrap(), "sh".into()];
    args.extend(odd_args());
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| "/bin/sh".into());
    let all = Passthrough {
        args,
        why: Why::Flag("-c".into()),
    };
    passthrough::run(all, program.into(), |name| std::env::var_os(name)).await
}

fn odd_args() -> [OsString; 3] {
    [
        "--uri=http://a b:6335".into(),
        "".into(),
        OsString::from_vec(b"\xff*".to_vec()),
    ]
}

/// A supervisor process, its lines, and nothing of it left behind at the end.
struct Supervisor {
    process: Child,
    lines: mpsc::Receiver<Vec<u8>>,
}

impl Supervisor {
    fn start(role: &str, set_up: impl FnOnce(&mut Command)) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), role, set_up)
    }

    /// As PID 1 of a new namespace; `None`, said aloud, where that is not permitted.
    fn start_as_pid_one(role: &str, set_up: impl FnOnce(&mut Command)) -> Option<Self> {
        const UNSHARE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--"];
        let possible = Command::new("unshare").args(UNSHARE).arg("true").output();
        if !possible.is_ok_and(|o| o.status.success()) {
            eprintln!("skipped: no new PID namespace can be made here (unshare --pid --fork)");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(UNSHARE).arg(std::env::current_exe().unwrap());
        Some(Self::start_by(command, role, set_up))
    }

    fn start_by(mut command: Command, role: &str, set_up: impl FnOnce(&mut Command)) -> Self {
        command
            .args(["--exact", "supervisor", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        set_up(&mut command);
        let mut process = command.spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let (tx, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut line = Vec::new();
            while out.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                if tx.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    fn running(script: &str, dir: &Path) -> Self {
        Self::start("pass through", |c| {
            c.env(SCRIPT, script).current_dir(dir);
        })
    }

    /// The rest of the next line that begins so (the test harness writes lines of its own).
    fn line(&self, begins: &str) -> Vec<u8> {
        let mut before = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no line {begins:?}, only {before:?}");
            };
            match line.strip_prefix(begins.as_bytes()) {
                Some(rest) => return rest.trim_ascii().to_vec(),
                None => before.push(String::from_utf8_lossy(&line).into_owned()),
            }
        }
    }

    fn number(&self, begins: &str) -> u32 {
        String::from_utf8(self.line(begins))
            .unwrap()
            .parse()
            .unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        let id = self.process.id();
        until(
            "end of the supervisor",
            || child_support::state(id),
            |s| *s == Some('Z'),
        );
        self.process.wait().unwrap().code()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_supervisor_that_is_killed_takes_its_child_along() {
    let held = Supervisor::start("hold", |_| {});
    let child = held.number("child ");
    assert_ne!(child_support::state(child), None);
    held.signal(Signal::SIGKILL);
    until_dead("child of a killed supervisor", child);
}

/// A wrapper like `nohup` leaves signals ignored; Qdrant must get them all the same.
#[test]
fn signals_ignored_above_us_are_not_ignored_in_the_child() {
    let mut wrapper = Command::new("/bin/sh");
    wrapper.args(["-c", r#"trap '' HUP INT QUIT USR1 TERM; exec "$0" "$@""#]);
    wrapper.arg(std::env::current_exe().unwrap());
    let supervisor = Supervisor::start_by(wrapper, "signals", |_| {});
    let ignored = String::from_utf8(supervisor.line("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    // Bits 0 to 30 are the signals with names; the C library keeps the next two to itself.
    assert_eq!(ignored & 0x7fff_ffff, 0, "{ignored:x}");
}

#[test]
fn orphans_are_reaped_and_no_childs_code_is_stolen() {
    let mut reaping = Supervisor::start("orphans", |_| {});
    reaping.line("all well");
    assert_eq!(reaping.exit_code(), Some(0));
}

#[test]
fn pid_one_reaps_orphans() {
    if let Some(mut reaping) = Supervisor::start_as_pid_one("orphans of PID 1", |_| {}) {
        reaping.line("all well");
        assert_eq!(reaping.exit_code(), Some(0));
    }
}

#[test]
fn passed_through_arguments_environment_and_input_are_untouched() {
    let script = r#"printf '\n%s|%s|%s|%s|%s\n' args "$#" "$1" "$2" "$3"
        printf 'env %s\n' "$ODD"; read word; printf 'in %s\n' "$word"; exit 17"#;
    let mut passing = Supervisor::start("pass through", |c| {
        c.env(SCRIPT, script)
            .env("ODD", OsString::from_vec(b"\xfe=\xff".to_vec()));
    });
    assert_eq!(passing.line("args|"), b"3|--uri=http://a b:6335||\xff*");
    assert_eq!(passing.line("env "), b"\xfe=\xff");
    passing
        .process
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"hello\n")
        .unwrap();
    assert_eq!(passing.line("in "), b"hello");
    assert_eq!(passing.exit_code(), Some(17));
}

#[test]
fn passed_through_signals_arrive_and_the_end_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let script = "for s in HUP INT QUIT USR1 USR2; do trap \"echo got $s\" $s; done
        trap 'sleep 0.3; echo done > flushed; exit 0' TERM
        echo; echo ready; while :; do sleep 5 & wait $!; done";
    let mut passing = Supervisor::running(script, dir.path());
    passing.line("ready");
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
    ] {
        passing.signal(signal);
        assert_eq!(passing.line("got "), name.as_bytes());
    }
    passing.signal(Signal::SIGTERM);
    assert_eq!(passing.exit_code(), Some(0));
    assert_eq!(
        fs::read_to_string(dir.path().join("flushed")).unwrap(),
        "done\n"
    );
}

/// Trap T17 as it happens: the end of PID 1 is the SIGKILL of all others.
#[test]
fn as_pid_one_a_term_lets_the_child_flush() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'sleep 0.3; echo done > flushed; exit 6' TERM
        echo; echo ready; while :; do sleep 5 & wait $!; done";
    let started = Supervisor::start_as_pid_one("pass through", |c| {
        c.env(SCRIPT, script).current_dir(dir.path());
    });
    let Some(mut passing) = started else { return };
    passing.line("ready");
    // Its own pid is 1; ours for it is that of unshare's only child.
    let id = passing.process.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    kill(
        Pid::from_raw(children.trim().parse().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(passing.exit_code(), Some(6));
    assert_eq!(
        fs::read_to_string(dir.path().join("flushed")).unwrap(),
        "done\n"
    );
}

#[test]
fn passed_through_a_killed_supervisor_takes_its_child_along() {
    let passing = Supervisor::running("echo; echo child $$; exec sleep 600", Path::new("/"));
    let child = passing.number("child ");
    passing.signal(Signal::SIGKILL);
    until_dead("child of a killed supervisor", child);
}

#[test]
fn passed_through_codes_are_those_of_a_shell() {
    for (script, program, code) in [
        ("kill -SEGV $$", "/bin/sh", 139),
        ("kill -KILL $$", "/bin/sh", 137),
        ("", "/nonexistent/qdrant", 127),
        ("", "/etc/passwd", 126),
    ] {
        let mut passing = Supervisor::start("pass through", |c| {
            c.env(SCRIPT, script).env(PROGRAM, program);
        });
        assert_eq!(passing.exit_code(), Some(code), "{script} {program}");
    }
}

#[test]
fn killed_while_loading_it_runs_once_more_in_recovery_mode_if_that_is_allowed() {
    let script = r#"echo x >> runs; [ -z "$QDRANT__STORAGE__RECOVERY_MODE" ] && kill -KILL $$
        printf '\nmode %s\n' "$QDRANT__STORAGE__RECOVERY_MODE"; kill -KILL $$"#;
    for (allow, init_file, runs) in [
        ("true", false, "x\nx\n"),
        ("true", true, "x\n"),
        ("false", false, "x\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        if init_file {
            fs::write(dir.path().join(".qdrant-initialized"), "").unwrap();
        }
        let mut passing = Supervisor::start("pass through", |c| {
            c.env(SCRIPT, script)
                .env("QDRANT_ALLOW_RECOVERY_MODE", allow)
                .current_dir(dir.path());
        });
        if runs.len() > 2 {
            let said = String::from_utf8(passing.line("mode ")).unwrap();
            assert!(said.contains("recovery mode"), "{said}");
        }
        assert_eq!(passing.exit_code(), Some(137));
        assert_eq!(fs::read_to_string(dir.path().join("runs")).unwrap(), runs);
    }
}
