//! The thing under test: processes on loopback addresses of their own, killed on drop.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use entrypoint::qdrant::Build;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Clusters at once in this test process.
static ROOM: Semaphore = Semaphore::const_new(2);
static NEXT: AtomicU8 = AtomicU8::new(0);

/// A place for one test: a block of addresses, a directory, a program.
pub struct Lab {
    program: PathBuf,
    block: u8,
    dir: tempfile::TempDir,
    // Nobody else on this machine uses the block while we hold its socket.
    _block: UdpSocket,
    _room: SemaphorePermit<'static>,
}

impl Lab {
    /// A lab with the stand-in.
    pub async fn standin(test: &str) -> Self {
        Self::with(env!("CARGO_BIN_EXE_standin").into(), test).await
    }

    /// A lab with the real binary, if `QDRANT_BIN` names one.
    pub async fn real(test: &str) -> Option<Self> {
        match std::env::var_os("QDRANT_BIN") {
            Some(program) => Some(Self::with(program.into(), test).await),
            None => {
                // `cargo test -- --nocapture` shows it when the test passes.
                eprintln!("skipped: {test} on the real binary: QDRANT_BIN is not set");
                None
            }
        }
    }

    async fn with(program: PathBuf, test: &str) -> Self {
        let room = ROOM.acquire().await.unwrap();
        let (block, socket) = (0..=u8::MAX)
            .find_map(|_| {
                let block = NEXT.fetch_add(1, Ordering::Relaxed);
                let socket = UdpSocket::bind((Ipv4Addr::new(127, 77, block, 254), 6399)).ok()?;
                Some((block, socket))
            })
            .expect("no free block of addresses in 127.77.0.0/16");
        let dir = tempfile::Builder::new().prefix(test).tempdir().unwrap();
        Self {
            program,
            block,
            dir,
            _block: socket,
            _room: room,
        }
    }

    /// Whether this patch of ours is in the program, as it says itself.
    pub fn has_patch(&self, name: &str) -> bool {
        let answer = Command::new(&self.program).arg("--version").output();
        let said = String::from_utf8(answer.unwrap().stdout).unwrap();
        Build::parse(&said).unwrap().patches.contains(name)
    }

    /// Node `n` (1..=200), on the address and the disk that belong to `n`.
    pub fn node(&self, n: u8) -> Spec {
        let ip = Ipv4Addr::new(127, 77, self.block, n);
        let host = ip.to_string();
        let env = [
            ("QDRANT__CLUSTER__ENABLED", "true"),
            ("QDRANT__CLUSTER__P2P__PORT", "6335"),
            ("QDRANT__SERVICE__HOST", &host),
            ("QDRANT__SERVICE__HTTP_PORT", "6333"),
            ("QDRANT__SERVICE__GRPC_PORT", "6334"),
            ("QDRANT__STORAGE__STORAGE_PATH", "./storage"),
            ("QDRANT__TELEMETRY_DISABLED", "true"),
            ("QDRANT__LOG_LEVEL", "INFO"),
            ("QDRANT__STORAGE__WAL__WAL_CAPACITY_MB", "1"),
            // Only a patched one asks for it.
            ("QDRANT_FOUNDER", "true"),
        ];
        Spec {
            program: self.program.clone(),
            ip,
            dir: self.dir.path().join(format!("disk-{n}")),
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            args: vec!["--uri".into(), self.uri(n)],
            key: None,
        }
    }

    /// The p2p address of node `n`.
    pub fn uri(&self, n: u8) -> String {
        format!("http://127.77.{}.{n}:6335", self.block)
    }

    /// Start node 1 as the founder and wait until it leads itself.
    pub async fn founder(&self) -> Node {
        let node = self.node(1).start();
        node.leads_itself().await;
        node
    }

    /// Start nodes 1..=n as one cluster of voters. A join that fails is repeated.
    pub async fn cluster(&self, n: u8) -> Vec<Node> {
        let mut nodes = vec![self.founder().await];
        for at in 2..=n {
            nodes.push(self.node(at).join(&self.uri(1)).start_joined().await);
        }
        for node in &nodes {
            node.is_voter_among(n as usize).await;
        }
        nodes
    }
}

/// How to start a node.
#[derive(Clone)]
pub struct Spec {
    program: PathBuf,
    pub ip: Ipv4Addr,
    pub dir: PathBuf,
    env: BTreeMap<String, String>,
    args: Vec<String>,
    key: Option<String>,
}

impl Spec {
    /// Join through this address.
    pub fn join(mut self, bootstrap: &str) -> Self {
        self.args.extend(["--bootstrap".into(), bootstrap.into()]);
        self
    }

    /// Without `--uri`.
    pub fn without_uri(mut self) -> Self {
        self.args.drain(..2);
        self
    }

    /// With one more flag.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With one more variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Without this variable.
    pub fn without_env(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    /// With an API key, which our own requests show as well.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self.env("QDRANT__SERVICE__API_KEY", key)
    }

    /// On another, empty disk.
    pub fn empty_disk(mut self, name: &str) -> Self {
        self.dir.set_file_name(name);
        self
    }

    /// `raft_state.json` as it is now.
    pub fn raft_state(&self) -> Value {
        let text = fs::read(self.dir.join("storage/raft_state.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Put the Raft term on disk so far ahead.
    pub fn raise_term(&self, by: u64) {
        let mut state = self.raft_state();
        let term = &mut state["state"]["hard_state"]["term"];
        *term = (term.as_u64().unwrap() + by).into();
        fs::write(
            self.dir.join("storage/raft_state.json"),
            serde_json::to_vec(&state).unwrap(),
        )
        .unwrap();
    }

    /// Start the process; its output goes to `log` beside its storage.
    pub fn start(&self) -> Node {
        fs::create_dir_all(&self.dir).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        let child = Command::new(&self.program)
            .args(&self.args)
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(&self.env)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Node {
            child,
            spec: self.clone(),
            client,
            started: Instant::now(),
        }
    }

    /// Start, and start again whenever the join fails, until REST answers.
    pub async fn start_joined(&self) -> Node {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut node = self.start();
            let joined = loop {
                if node.cluster().await.is_ok() {
                    break true;
                }
                if node.child.try_wait().unwrap().is_some() {
                    break false;
                }
                assert!(
                    Instant::now() < until,
                    "no join in a minute; {}",
                    node.tail()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            if joined {
                return node;
            }
        }
    }
}

/// An answer: status and body (JSON, or a string).
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The `result`, if this is a success.
    pub fn result(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["result"].clone()
    }

    /// The text of the error.
    pub fn error(&self) -> &str {
        self.body["status"]["error"]
            .as_str()
            .unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

/// A running process.
pub struct Node {
    child: Child,
    pub spec: Spec,
    client: reqwest::Client,
    pub started: Instant,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Node {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM.
    pub fn term(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// SIGKILL, and wait until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its disk has a directory for collection `c`.
    pub fn has_folder(&self) -> bool {
        self.spec.dir.join("storage/collections/c").is_dir()
    }

    /// Everything it has printed in all its runs on this disk.
    pub fn log(&self) -> String {
        fs::read_to_string(self.spec.dir.join("log")).unwrap_or_default()
    }

    /// The end of its output.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "last lines of {}:\n{}",
            self.spec.ip,
            lines[lines.len().saturating_sub(15)..].join("\n")
        )
    }

    /// Wait for the end of the process.
    pub async fn exit(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < until,
                "still running after {limit:?}; {}",
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the process runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Whether something listens on this port of the node.
    pub fn listens(&self, port: u16) -> bool {
        let address = SocketAddr::from((self.spec.ip, port));
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    }

    /// A request with the node's own key.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, String> {
        self.call_with(self.spec.key.as_deref(), method, path, body)
            .await
    }

    /// A request with this key.
    pub async fn call_with(
        &self,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, String> {
        let url = format!("http://{}:6333{path}", self.spec.ip);
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some(key) = key {
            request = request.header("api-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request
            .send()
            .await
            .map_err(|why| format!("{method} {path}: {why}"))?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|why| why.to_string())?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }

    /// GET of what is no JSON: status and body.
    pub async fn bytes(&self, path: &str) -> (u16, Vec<u8>) {
        let url = format!("http://{}:6333{path}", self.spec.ip);
        let answer = self.client.get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.bytes().await.unwrap().to_vec())
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
            .await
            .unwrap_or_else(|why| panic!("{why}; {}", self.tail()))
    }

    /// PUT.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, Some(body))
            .await
            .unwrap_or_else(|why| panic!("{why}; {}", self.tail()))
    }

    /// POST.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body))
            .await
            .unwrap_or_else(|why| panic!("{why}; {}", self.tail()))
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None)
            .await
            .unwrap_or_else(|why| panic!("{why}; {}", self.tail()))
    }
}

/// Try until it succeeds; the last refusal is part of the panic.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(last) => assert!(
                Instant::now() < end,
                "{what}: not within {limit:?}; last: {last}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Look again and again for so long: it must stay true all the time.
pub async fn holds(what: &str, time: Duration, mut check: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Err(now) = check().await {
            panic!("{what}: no longer: {now}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Seconds.
pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
