//! The child's output on its way through us, with real pipes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests may fail loudly, and so may what they share"
)]

mod child_support;

use child_support::{PATIENCE, script};
use entrypoint::child::{Output, Sink, Stream, spawn};
use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// A sink that keeps everything.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(bytes.ends_with(b"\n"), "only whole lines");
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A sink that takes nothing until it is opened.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// 20 MB in lines of 100 bytes that carry their number, as fast as awk writes (well over 10 MB/s).
const LOUD: &str = r#"awk 'BEGIN { for (i = 0; i < 200000; i++) printf "%099d\n", i }'"#;

#[tokio::test]
async fn a_loud_writer_is_not_held_up_and_no_line_is_lost() {
    let kept = Kept::default();
    let mut spec = script(LOUD, Path::new("/"));
    spec.output = Output::Piped {
        out: Sink::new(kept.clone()),
        err: Sink::new(io::sink()),
        observer: None,
    };
    let started = Instant::now();
    let child = spawn(spec).await.unwrap();
    assert_eq!(child.wait().await.exit_code(), 0);
    let took = started.elapsed();
    assert_eq!(child.lost_lines(), 0);
    let got = kept.take();
    assert_eq!(got.len(), 20_000_000);
    for (n, line) in got.split_inclusive(|b| *b == b'\n').enumerate() {
        assert_eq!(line, format!("{n:099}\n").as_bytes());
    }
    assert!(took < PATIENCE, "20 MB took {took:?}");
}

#[tokio::test]
async fn a_stuck_reader_of_ours_loses_lines_and_does_not_stop_the_writer() {
    let stuck = Stuck::default();
    let mut spec = script(LOUD, Path::new("/"));
    spec.output = Output::Piped {
        out: Sink::new(stuck.clone()),
        err: Sink::new(io::sink()),
        observer: None,
    };
    let child = spawn(spec).await.unwrap();
    let exit = tokio::time::timeout(PATIENCE, child.wait())
        .await
        .expect("the writer went on");
    assert_eq!(exit.exit_code(), 0);
    // 20 MB were written; at most two buffers of 4 MiB are held back.
    let lost = child.lost_lines();
    assert!((110_000..200_000).contains(&lost), "{lost} lines lost");
    *stuck.0.0.lock().unwrap() = true;
    stuck.0.1.notify_all();
}

#[tokio::test]
async fn both_streams_arrive_apart_and_are_shown_line_by_line() {
    let (out, err) = (Kept::default(), Kept::default());
    let (tx, mut rx) = mpsc::channel(10);
    let mut spec = script(r"printf 'a\377\n\n'; printf 'oops' >&2", Path::new("/"));
    spec.output = Output::Piped {
        out: Sink::new(out.clone()),
        err: Sink::new(err.clone()),
        observer: Some(tx),
    };
    let child = spawn(spec).await.unwrap();
    child.wait().await;
    assert_eq!(out.take(), b"a\xff\n\n");
    assert_eq!(err.take(), b"oops\n");
    let mut shown = Vec::new();
    while let Some(line) = rx.recv().await {
        shown.push((line.stream == Stream::Err, line.bytes));
    }
    shown.sort();
    let expected = [
        (false, b"".to_vec()),
        (false, b"a\xff".to_vec()),
        (true, b"oops".to_vec()),
    ];
    assert_eq!(shown, expected);
}

/// A grandchild that left the group keeps the pipe: the news of the end must not wait for it.
#[tokio::test]
async fn a_pipe_held_by_a_stranger_does_not_delay_the_news_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let (child, mut lines) =
        child_support::start("setsid sleep 600 & echo $!; exit 5", dir.path()).await;
    let stranger: i32 = child_support::line(&mut lines).await.parse().unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(stranger),
        nix::sys::signal::Signal::SIGKILL,
    );
    assert_eq!(exit.expect("told in time").exit_code(), 5);
}
