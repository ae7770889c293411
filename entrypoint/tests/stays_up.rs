//! What PID 1 survives, because its end is the end of the task's disk: as real processes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may fail loudly"
)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

struct Task {
    process: Child,
    control: SocketAddr,
}

impl Drop for Task {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Task {
    /// A task of one on a loopback address of its own, with a Qdrant that does nothing.
    fn start(dir: &Path, address: Ipv4Addr, stdout: Stdio) -> Self {
        let sleeper = dir.join("qdrant");
        if !sleeper.exists() {
            fs::write(
                &sleeper,
                "#!/bin/sh\ntrap 'exit 7' TERM INT\nwhile :; do sleep 0.01; done\n",
            )
            .unwrap();
            fs::set_permissions(
                &sleeper,
                std::os::unix::fs::PermissionsExt::from_mode(0o755),
            )
            .unwrap();
        }
        let store = format!("file://{}", dir.join("store").display());
        let host = address.to_string();
        let storage = dir.join("storage");
        let process = Command::new(env!("CARGO_BIN_EXE_entrypoint"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ENTRYPOINT_CLUSTER_SIZE", "1")
            .env("ENTRYPOINT_ADDRESS", &host)
            .env("ENTRYPOINT_BIND", &host)
            .env("ENTRYPOINT_STORE", store)
            .env("ENTRYPOINT_SERVICE", "stays-up")
            .env("ENTRYPOINT_QDRANT_BIN", &sleeper)
            .env("ENTRYPOINT_BEAT", "100ms")
            .env("ENTRYPOINT_ROUND", "20ms")
            .env("QDRANT__STORAGE__STORAGE_PATH", &storage)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .expect("the program under test starts");
        Self {
            process,
            control: SocketAddr::new(address.into(), 6336),
        }
    }

    /// Code and body of one question.
    fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.control, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: task\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((code.unwrap_or_default(), body.to_owned()))
    }

    fn until(&mut self, what: &str, done: impl Fn(&str) -> bool) {
        let began = Instant::now();
        loop {
            let seen = self.get("/v1/status");
            if seen.as_ref().is_ok_and(|(_, body)| done(body)) {
                return;
            }
            assert_eq!(self.process.try_wait().unwrap(), None, "it has ended");
            assert!(began.elapsed() < PATIENCE, "{what}: last seen {seen:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_raw(self.process.id().cast_signed());
        kill(pid, Signal::SIGTERM).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end on SIGTERM");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_an_alarm_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let ours = dir.path().join("storage/.entrypoint");
    fs::create_dir_all(&ours).unwrap();
    fs::create_dir_all(dir.path().join("storage/collections/c")).unwrap();
    fs::write(ours.join("stamp.json"), "{\"format\":1,").unwrap();
    let mut task = Task::start(dir.path(), Ipv4Addr::new(127, 77, 0, 1), Stdio::null());
    task.until("the alarm", |body| {
        body.contains("stamp.json") && body.contains("nothing with this disk")
    });
    assert_eq!(task.get("/livez").unwrap().0, 200);
    assert!(dir.path().join("storage/collections/c").is_dir());
    // Repaired, here by removing what is broken and what made it somebody's data, it goes on.
    fs::remove_dir_all(dir.path().join("storage/collections")).unwrap();
    fs::remove_file(ours.join("stamp.json")).unwrap();
    task.until("its Qdrant", |body| body.contains("\"state\":\"running\""));
    assert!(!task.get("/v1/status").unwrap().1.contains("own disk"));
    assert_eq!(task.stop(), Some(7), "Qdrant's own exit code");
}

#[test]
fn a_log_that_nobody_takes_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_reader, mut writer) = std::io::pipe().unwrap();
    // Full to the last byte, as behind a log driver that blocks.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let full = loop {
        if let Err(error) = writer.write(&[b'x'; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let mut task = Task::start(dir.path(), Ipv4Addr::new(127, 77, 0, 2), writer.into());
    task.until("its Qdrant", |body| body.contains("\"state\":\"running\""));
    assert_eq!(task.get("/livez").unwrap().0, 200);
    assert_eq!(task.stop(), Some(7), "Qdrant's own exit code");
}
