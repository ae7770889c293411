//! What the tests of child supervision share. All children are /bin/sh scripts.
#![allow(dead_code, reason = "each test binary uses its part")]

use entrypoint::child::{Child, Environment, Line, Output, Spec, spawn};
use std::{
    ffi::OsString,
    fmt::Debug,
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
pub async fn start(text: &str, dir: &Path) -> (Child, mpsc::Receiver<Line>) {
    let (tx, rx) = mpsc::channel(1000);
    let mut spec = script(text, dir);
    spec.output = Output::through_us(Some(tx));
    (spawn(spec).await.expect("start"), rx)
}

/// The next line, as text.
pub async fn line(lines: &mut mpsc::Receiver<Line>) -> String {
    let next = tokio::time::timeout(PATIENCE, lines.recv())
        .await
        .expect("a line in time");
    String::from_utf8(next.expect("a line before the end").bytes).expect("text")
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
