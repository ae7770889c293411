//! A real S3 server for tests and rehearsals: moto's, from PyPI, installed once under `target/` and
//! started by whoever wants it. Where that cannot be done the test is skipped, and says why.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Pinned, so that tests do not change by themselves.
const MOTO: &str = "moto[server]==5.2.5";

/// Serves one request after the other on a free port, which it prints, until its input ends: that
/// happens also when the test is killed. One at a time because moto looks and then stores, in two
/// steps; S3 does that in one, and with threads two creations could both succeed. A signal makes it
/// refuse everything, another one ends that; in buckets with a name of their own it overlooks conditions,
/// as servers do that do not know them.
const SERVE: &str = "
import os, signal, sys, threading
from werkzeug.serving import make_server, WSGIRequestHandler
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass
refusing = False
def refuse(number, _):
    global refusing
    refusing = number == signal.SIGUSR1
moto = DomainDispatcherApplication(create_backend_app)
def app(environ, start):
    if environ['PATH_INFO'].startswith('/careless-'):
        environ.pop('HTTP_IF_NONE_MATCH', None)
    if not refusing:
        return moto(environ, start)
    start('503 Slow Down', [('Content-Type', 'application/xml')])
    return [b'<Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>']
signal.signal(signal.SIGUSR1, refuse)
signal.signal(signal.SIGUSR2, refuse)
server = make_server('127.0.0.1', 0, app, threaded=False, request_handler=Quiet)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
";

/// The server; it ends with this.
pub(crate) struct Moto {
    child: Child,
    port: u16,
    buckets: AtomicUsize,
}

impl Moto {
    /// Installs and starts it.
    pub(crate) fn start() -> Result<Self, String> {
        let python = installed()?;
        let mut child = Command::new(python)
            .args(["-c", SERVE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("moto cannot be started: {e}"))?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("moto has no output")?;
        BufReader::new(output).read_line(&mut line).map_err(text)?;
        let Ok(port) = line.trim().parse() else {
            let _ = child.kill();
            return Err(format!("moto does not serve, it said {line:?}"));
        };
        Ok(Self {
            child,
            port,
            buckets: AtomicUsize::new(0),
        })
    }

    /// Makes a new bucket and gives its name.
    pub(crate) fn bucket(&self) -> Result<String, String> {
        self.another("bucket")
    }

    /// The same, with another name before its number.
    pub(crate) fn another(&self, before: &str) -> Result<String, String> {
        let n = self.buckets.fetch_add(1, Ordering::SeqCst);
        let name = format!("{before}-{n}");
        let url = format!("http://127.0.0.1:{}/{name}", self.port);
        ureq::put(&url).send_empty().map_err(text)?;
        Ok(name)
    }

    /// Sends it a signal: it is stopped, goes on, refuses (`SIGUSR1`), or serves again (`SIGUSR2`).
    #[allow(dead_code, reason = "it is for rehearsals")]
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        let id = i32::try_from(self.child.id()).map_err(text)?;
        kill(Pid::from_raw(id), signal).map_err(text)
    }

    /// The variables under which it is reached.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "tester"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Python with moto, under the build directory that this test lies in. Several tests may ask at
/// once; one installs.
fn installed() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(text)?;
    let built = |dir: &&Path| dir.join("deps").is_dir();
    let cache = this
        .ancestors()
        .find(built)
        // A copy of the program has it beside itself.
        .or(this.parent())
        .ok_or("no build directory")?
        .join("moto");
    fs::create_dir_all(&cache).map_err(text)?;
    let lock = File::create(cache.join("lock")).map_err(text)?;
    let _alone = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| text(e))?;
    let (venv, ready) = (cache.join("venv"), cache.join("ready"));
    let python = venv.join("bin/python");
    if fs::read_to_string(&ready).is_ok_and(|what| what == MOTO) {
        return Ok(python);
    }
    let run = |program: &Path, words: &[&str]| {
        let run = Command::new(program).args(words).arg(&venv).output();
        let run = run.map_err(|e| format!("{} cannot be run: {e}", program.display()))?;
        let why = String::from_utf8_lossy(&run.stderr);
        let why = why.lines().last().unwrap_or("no word of it").to_owned();
        run.status.success().then_some(()).ok_or(why)
    };
    run(Path::new("python3"), &["-m", "venv", "--clear"])?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        MOTO,
        "--prefix",
    ];
    run(&python, &pip)?;
    fs::write(ready, MOTO).map_err(text)?;
    Ok(python)
}
