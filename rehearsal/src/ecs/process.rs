//! Child processes that cannot outlive the rehearsal, and what `/proc` says of them.
//! Owns: starting, waiting, signalling. Must not: know what a task or a Qdrant is.
//!
//! The kernel delivers the parent-death signal when the *thread* that forked ends, so one thread
//! that lives as long as the program does all the forking (prctl(2), PR_SET_PDEATHSIG). The signal
//! itself is asked for by this program, started again as a guard that then becomes the child: no
//! `unsafe` pre-exec hook is needed.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::sync::{oneshot, watch};

/// The hidden sub-command under which this program turns itself into a guarded child.
pub const GUARD: &str = "__exec";

/// What to start and where its output goes.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// File that stdout and stderr are appended to.
    pub log: PathBuf,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Exit {
    /// Exit code, when it ended by itself.
    pub code: Option<i32>,
    /// Signal number, when a signal ended it.
    pub signal: Option<i32>,
    /// When the end was noticed.
    #[serde(skip)]
    pub at: Instant,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit {code}"),
            (None, Some(signal)) => write!(f, "killed by signal {signal}"),
            (None, None) => write!(f, "ended"),
        }
    }
}

/// A running (or ended) child.
#[derive(Debug, Clone)]
pub struct Spawned {
    /// Its process id, which is also its process group.
    pub pid: i32,
    /// When it was started.
    pub started: Instant,
    exit: watch::Receiver<Option<Exit>>,
}

impl Spawned {
    /// How it ended, or `None` while it runs.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Option<Exit> {
        let mut exit = self.exit.clone();
        exit.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|seen| *seen)
    }

    /// Sends a signal to the process alone; a process that is gone already is fine.
    pub fn signal(&self, signal: Signal) {
        if self.exit().is_none() {
            send(self.pid, signal);
        }
    }
}

type Order = (Launch, oneshot::Sender<Result<Spawned>>);

/// The thread that starts children.
#[derive(Debug, Clone)]
pub struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// Starts the thread. `guard` is this program's own executable.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(guard: PathBuf) -> Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (launch, reply) in inbox {
                    let _ = reply.send(spawn(&guard, &launch));
                }
            })
            .context("start the spawner thread")?;
        Ok(Self { orders })
    }

    /// Starts one child.
    ///
    /// # Errors
    /// When the log file cannot be opened or the program cannot be started.
    pub async fn spawn(&self, launch: Launch) -> Result<Spawned> {
        let (reply, answer) = oneshot::channel();
        self.orders
            .send((launch, reply))
            .map_err(|_| anyhow!("the spawner thread has ended"))?;
        answer.await.context("the spawner thread has ended")?
    }
}

fn spawn(guard: &PathBuf, launch: &Launch) -> Result<Spawned> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&launch.log)
        .with_context(|| format!("open {}", launch.log.display()))?;
    let started = Instant::now();
    let mut child = Command::new(guard)
        .arg(GUARD)
        .arg(std::process::id().to_string())
        .arg(&launch.program)
        .args(&launch.args)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.cwd)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the log file")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {}", launch.program.display()))?;
    let pid = i32::try_from(child.id()).context("process id out of range")?;
    let (tell, exit) = watch::channel(None);
    std::thread::Builder::new()
        .name(format!("wait-{pid}"))
        .spawn(move || {
            let status = child.wait().ok();
            let _ = tell.send(Some(Exit {
                code: status.and_then(|status| status.code()),
                signal: status.and_then(|status| status.signal()),
                at: Instant::now(),
            }));
        })
        .context("start a waiting thread")?;
    Ok(Spawned { pid, started, exit })
}

/// The guard: asks to be killed with its parent, then becomes the program. Returns only on failure.
///
/// # Errors
/// When the arguments are wrong, the parent is gone already, or the program cannot be executed.
pub fn become_guarded(args: &[OsString]) -> Result<()> {
    let [parent, program, rest @ ..] = args else {
        return Err(anyhow!("{GUARD} needs a parent process id and a program"));
    };
    let parent: i32 = parent
        .to_str()
        .and_then(|text| text.parse().ok())
        .context("parent id")?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("ask to die with the parent")?;
    if nix::unistd::getppid().as_raw() != parent {
        return Err(anyhow!("the rehearsal has ended already"));
    }
    let failed = Command::new(program).args(rest).exec();
    Err(failed).with_context(|| format!("execute {}", program.display()))
}

/// Sends a signal to one process; one that is gone already is fine.
pub fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Every process below `pid`, nearest first. A process that vanishes meanwhile is left out.
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut pairs: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if let Some(parent) = stat(child)
            .ok()
            .and_then(|fields| fields.get(1)?.parse().ok())
        {
            pairs.push((parent, child));
        }
    }
    let mut found: Vec<i32> = Vec::new();
    let mut queue = std::collections::VecDeque::from([pid]);
    while let Some(parent) = queue.pop_front() {
        for (_, child) in pairs.iter().filter(|(of, _)| *of == parent) {
            found.push(*child);
            queue.push_back(*child);
        }
    }
    found
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: i32) -> bool {
    stat(pid).is_ok_and(|fields| {
        fields
            .first()
            .is_some_and(|state| state != "Z" && state != "X")
    })
}

/// Fields of `/proc/PID/stat` from the state on: 0 state, 1 parent, 11 user ticks, 12 system ticks.
fn stat(pid: i32) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, so count from the last one.
    let rest = text
        .rsplit_once(')')
        .map(|(_, rest)| rest)
        .unwrap_or_default();
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

/// Processor time a process has used, in seconds (its own threads, not its children).
pub fn cpu_seconds(pid: i32) -> Option<f64> {
    let fields = stat(pid).ok()?;
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(ticks / hertz as f64)
}

/// Resident memory of a process in KiB.
pub fn resident_kib(pid: i32) -> Option<u64> {
    status_kib(pid, "VmRSS:")
}

/// The most resident memory that a process ever had, in KiB.
pub fn peak_kib(pid: i32) -> Option<u64> {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: i32, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
