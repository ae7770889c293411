//! What the tests of child supervision share. All children are /bin/sh scripts.
#![allow(dead_code, reason = "each test binary uses its part")]

use entrypoint::child::{Child, Environment, Output, Spec, spawn};
use std::{
    ffi::OsString,
    fmt::Debug,
    io::{self, BufRead, BufReader},
    path::Path,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Longer than anything here takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A shell script with the usual `PATH` and its own directory as `$DIR`.
pub fn script(text: &str, dir: &Path) -> Spec {
    let env = vec![
        (
            "PATH".into(),
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
        ),
        ("DIR".into(), dir.into()),
    ];
    let args = vec![OsString::from("-c"), text.into()];
    Spec::new("/bin/sh".into(), args, Environment::Exactly(env))
}

/// Starts a script and hands out its lines.
pub async fn start(text: &str, dir: &Path) -> (Child, mpsc::Receiver<String>) {
    let mut spec = script(text, dir);
    let lines = heard(&mut spec);
    (spawn(spec).await.expect("start"), lines)
}

/// What will be written by it; ends when nobody can write any more.
pub fn heard(spec: &mut Spec) -> mpsc::Receiver<String> {
    let (from, to) = io::pipe().expect("a pipe");
    spec.output = Output::To(to.into());
    let (tx, rx) = mpsc::channel(1000);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            if tx.blocking_send(line.expect("text")).is_err() {
                break;
            }
        }
    });
    rx
}

/// The next line.
pub async fn line(lines: &mut mpsc::Receiver<String>) -> String {
    let next = tokio::time::timeout(PATIENCE, lines.recv()).await;
    next.expect("a line in time")
        .expect("a line before the end")
}

/// Looks again and again until `done`, or fails with what was seen last.
pub fn until<T: Debug>(what: &str, look: impl Fn() -> T, done: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let seen = look();
        if done(&seen) {
            return seen;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}, last seen {seen:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The state of a process as in /proc/PID/stat: `R`, `S`, `T`, `Z` …; `None`: there is none.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a process no longer runs (gone, or dead and waiting for a foreign parent).
pub fn until_dead(what: &str, pid: u32) {
    until(what, || state(pid), |s| matches!(s, None | Some('Z' | 'X')));
}
