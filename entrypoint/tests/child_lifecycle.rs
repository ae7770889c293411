//! Starting, ending and stopping real processes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests may fail loudly, and so may what they share"
)]

mod child_support;

use child_support::{PATIENCE, heard, line, script, start, until_dead};
use entrypoint::child::{Oom, SpawnError, Stopped, spawn};
use nix::sys::signal::{SigSet, Signal};
use std::{
    fs,
    future::poll_fn,
    os::unix::fs::PermissionsExt,
    path::Path,
    pin::pin,
    sync::mpsc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

fn here() -> &'static Path {
    Path::new("/")
}

#[tokio::test]
async fn its_exit_code_is_kept_for_everybody_who_asks() {
    let child = spawn(script("exit 42", here())).await.unwrap();
    let (one, two) = tokio::join!(child.wait(), child.wait());
    assert_eq!(
        (one.code, one.signal, one.exit_code()),
        (Some(42), None, 42)
    );
    assert_eq!(one, two);
    assert_eq!(child.exited(), Some(one));
    assert!(
        !child.signal(Signal::SIGTERM).unwrap(),
        "it has ended: no signal is sent"
    );
    assert!(!child.kill());
}

#[tokio::test]
async fn a_signal_ends_it_with_128_plus_n() {
    let child = spawn(script("kill -USR1 $$", here())).await.unwrap();
    let exit = child.wait().await;
    assert_eq!(
        (exit.code, exit.signal, exit.exit_code()),
        (None, Some(10), 138)
    );
    assert_eq!((exit.oom, exit.killed_by_us), (Oom::No, false));
}

#[tokio::test]
async fn the_memory_counter_tells_out_of_memory_from_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup"), "0::/\n").unwrap();
    for (script_text, expected) in [
        (
            "echo 'oom_kill 1' > $DIR/memory.events; kill -KILL $$",
            Oom::Yes,
        ),
        ("kill -KILL $$", Oom::No),
        ("rm $DIR/memory.events; kill -KILL $$", Oom::Unknown),
    ] {
        fs::write(dir.path().join("memory.events"), "oom_kill 0\n").unwrap();
        let mut spec = script(script_text, dir.path());
        spec.cgroup.membership = dir.path().join("cgroup");
        spec.cgroup.mount = dir.path().into();
        let exit = spawn(spec).await.unwrap().wait().await;
        assert_eq!(
            (exit.exit_code(), exit.oom),
            (137, expected),
            "{script_text}"
        );
    }
}

/// Trap T17: the official script is gone some milliseconds after SIGTERM, Qdrant's flush is cut off.
#[tokio::test]
async fn a_stop_waits_for_the_flush() {
    let dir = tempfile::tempdir().unwrap();
    let text = "trap 'sleep 0.3; echo done > $DIR/flushed; exit 7' TERM
                echo ready; while :; do sleep 5 & wait $!; done";
    let (child, mut lines) = start(text, dir.path()).await;
    assert_eq!(line(&mut lines).await, "ready");
    let Stopped { exit, forced } = child.stop(Signal::SIGTERM, Duration::from_secs(30)).await;
    assert_eq!((exit.exit_code(), forced), (7, false));
    assert_eq!(
        fs::read_to_string(dir.path().join("flushed")).unwrap(),
        "done\n"
    );
}

#[tokio::test]
async fn who_ignores_term_is_killed_with_his_whole_group_when_the_grace_is_over() {
    let text = "trap '' TERM; sleep 600 & echo $!; wait";
    let (child, mut lines) = start(text, here()).await;
    let grandchild: u32 = line(&mut lines).await.parse().unwrap();
    let grace = Duration::from_millis(300);
    let asked = Instant::now();
    let Stopped { exit, forced } = child.stop(Signal::SIGTERM, grace).await;
    assert!(
        asked.elapsed() >= grace,
        "killed after {:?}",
        asked.elapsed()
    );
    assert_eq!((exit.signal, forced), (Some(9), true));
    assert_eq!((exit.killed_by_us, exit.oom), (true, Oom::No));
    until_dead("grandchild", grandchild);
}

#[tokio::test]
async fn what_its_group_leaves_behind_is_killed_when_it_ends_by_itself() {
    let (child, mut lines) = start("sleep 600 >/dev/null 2>&1 & echo $!; exit 3", here()).await;
    let left_behind: u32 = line(&mut lines).await.parse().unwrap();
    assert_eq!(child.wait().await.exit_code(), 3);
    until_dead("left behind", left_behind);
}

#[tokio::test]
async fn it_leads_its_own_group_and_has_its_environment_only_and_no_signal_blocked() {
    SigSet::all().thread_block().unwrap();
    let text = "env | sort; grep ^SigBlk /proc/self/status; cut -d' ' -f5 /proc/$$/stat";
    let (child, mut lines) = start(text, here()).await;
    let exit = child.wait().await;
    assert_eq!(exit.exit_code(), 0);
    let mut said = Vec::new();
    // It ends with its last writer.
    while let Some(line) = lines.recv().await {
        said.push(line);
    }
    assert!(said.contains(&"DIR=/".into()), "{said:?}");
    assert!(!said.iter().any(|l| l.starts_with("CARGO")), "{said:?}");
    assert!(
        said.contains(&"SigBlk:\t0000000000000000".into()),
        "{said:?}"
    );
    assert_eq!(
        said.last().unwrap(),
        &child.pid().to_string(),
        "the group it is in"
    );
}

/// The kernel kills a child when the *thread* that forked it ends. Ours must survive the end of the
/// thread and of the runtime that asked for it.
#[tokio::test]
async fn it_outlives_the_thread_and_the_runtime_that_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let spec = script("mkfifo $DIR/go; read word < $DIR/go; exit $word", &path);
        tx.send(runtime.block_on(spawn(spec)).unwrap()).unwrap();
    })
    .join()
    .unwrap();
    let child = rx.recv().unwrap();
    let fifo = dir.path().join("go");
    child_support::until("fifo", || fifo.exists(), |there| *there);
    tokio::task::spawn_blocking(move || fs::write(fifo, "7\n").unwrap())
        .await
        .unwrap();
    assert_eq!(child.wait().await.exit_code(), 7);
}

#[tokio::test]
async fn a_caller_who_went_away_leaves_no_child() {
    let mut spec = script("exec sleep 600", here());
    let mut lines = heard(&mut spec);
    {
        // Polled once, so that the thread is started, then dropped.
        let mut starting = pin!(spawn(spec));
        if let Poll::Ready(child) = poll_fn(|cx| Poll::Ready(starting.as_mut().poll(cx))).await {
            child.unwrap().kill();
        }
    }
    // Its output ends only when it has.
    let end = tokio::time::timeout(PATIENCE, lines.recv()).await;
    assert_eq!(end.expect("the unwanted child lives on"), None);
}

#[tokio::test]
async fn what_cannot_be_started_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let fails = |program: std::path::PathBuf, cwd: Option<&Path>| {
        let mut spec = script("", here());
        spec.program = program;
        spec.cwd = cwd.map(Path::to_path_buf);
        async { spawn(spec).await.expect_err("cannot start") }
    };

    let missing = fails(dir.path().join("qdrant"), None).await;
    assert!(matches!(missing, SpawnError::Missing { .. }), "{missing:?}");
    assert_eq!(missing.exit_code(), 127);
    let shut = fails(file("shut", "#!/bin/sh\n", 0o644), None).await;
    assert!(matches!(shut, SpawnError::NotExecutable { .. }), "{shut:?}");
    assert_eq!(shut.exit_code(), 126);
    let folder = fails(dir.path().to_path_buf(), None).await;
    assert!(
        matches!(folder, SpawnError::NotExecutable { .. }),
        "{folder:?}"
    );
    let loader = fails(file("loader", "#!/nonexistent\n", 0o755), None).await;
    assert!(matches!(loader, SpawnError::NoLoader { .. }), "{loader:?}");
    let noise = fails(file("noise", "\x7fELF but no more", 0o755), None).await;
    assert!(matches!(noise, SpawnError::WrongFormat { .. }), "{noise:?}");
    let cwd = fails("/bin/sh".into(), Some(&dir.path().join("nowhere"))).await;
    assert!(
        matches!(cwd, SpawnError::WorkingDirectory { .. }),
        "{cwd:?}"
    );

    for (error, path, advice) in [
        (&missing, "qdrant", "ENTRYPOINT_QDRANT_BIN"),
        (&shut, "shut", "chmod"),
        (&loader, "loader", "base image"),
        (&noise, "noise", "architecture"),
        (&cwd, "nowhere", "working directory"),
    ] {
        let text = error.to_string();
        assert!(
            text.contains(&*dir.path().join(path).to_string_lossy()),
            "{text}"
        );
        assert!(text.contains(advice) && !text.contains('\n'), "{text}");
    }
}
