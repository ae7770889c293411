//! A Qdrant that exists for one proof: the program that serves, on loopback alone, alone in its cluster,
//! with an empty folder of its own. It has nothing of the served one but the program: no configuration, no
//! key, no port, no path. It is told from every other Qdrant by a key and a peer id that nobody else has.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qdrant_api::{ApiKey, BaseUrl, Client, Cluster};

use super::site::{Site, SiteError};
use crate::child::{self, Child, Environment, Output, SpawnError, Spec};
use crate::log::chain;
use crate::qdrant::FOUNDER;

/// How long it may take until it answers and leads itself.
const START: Duration = Duration::from_secs(60);
/// Between two looks at it meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// How long one of its answers may take.
const ANSWER: Duration = Duration::from_secs(60);
/// Its output, in its folder.
const LOG: &str = "log";

/// Why there is no scratch Qdrant. It says nothing about any set.
#[derive(Debug, thiserror::Error)]
pub enum NoScratch {
    /// Its folder.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// Its program.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

/// What every start has in common.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    env: Vec<(OsString, OsString)>,
}

impl Program {
    /// The program that serves. Of our environment it gets what is no setting of anybody's.
    pub fn new(
        path: &Path,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, NoScratch> {
        // Without a slash it is looked up in PATH; a relative path is relative to where we are.
        let path = match path.components().count() {
            0 | 1 => path.to_owned(),
            _ => std::path::absolute(path).map_err(|error| NoScratch::Other(chain(&error)))?,
        };
        let env = env.into_iter().filter(|(name, _)| is_nobodys(name));
        Ok(Self {
            path,
            env: env.collect(),
        })
    }
}

/// Which formats Qdrant writes depends on its feature flags; all else that is set is for the one that serves.
fn is_nobodys(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    if name.starts_with("QDRANT__FEATURE_FLAGS__") {
        return true;
    }
    let prefixes = ["ENTRYPOINT_", "QDRANT_", "AWS_", "ECS_"];
    !prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// A running one. Dropped it is killed; its folder then stays until the next one is started.
#[derive(Debug)]
pub struct Scratch {
    child: Child,
    client: Client,
    site: Site,
    folder: PathBuf,
}

impl Scratch {
    /// Starts one and waits until it answers as the one that was started.
    pub async fn start(site: &Site, program: &Program) -> Result<Self, NoScratch> {
        let folder = {
            let site = site.clone();
            blocking(move || site.make()).await?
        };
        let other = |why: String| NoScratch::Other(why);
        let ports =
            ports().map_err(|error| other(format!("find free ports: {}", chain(&error))))?;
        let key = uuid::Uuid::new_v4().to_string();
        let peer = rand::random_range(1..1_u64 << 53);
        let own = own_env(&folder, ports, &key, peer);
        let mut env = program.env.clone();
        env.extend(own.map(|(name, value)| (name.into(), value)));
        let uri = format!(
            "http://{}",
            SocketAddr::from((Ipv4Addr::LOCALHOST, ports[2]))
        );
        let mut spec = Spec::new(
            program.path.clone(),
            vec!["--uri".into(), uri.into(), "--disable-telemetry".into()],
            Environment::Exactly(env),
        );
        // Qdrant reads configuration files, and leaves files, where it is started.
        spec.cwd = Some(folder.clone());
        spec.yields = true;
        let log = File::create(folder.join(LOG));
        let log = log.map_err(|error| other(format!("create its log: {}", chain(&error))))?;
        spec.output = Output::To(log.into());
        let child = child::spawn(spec).await?;
        die_first(child.pid());
        let rest = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let client = client(rest, &key).map_err(other)?;
        let scratch = Self {
            child,
            client,
            site: site.clone(),
            folder,
        };
        match scratch.ready(peer).await {
            Ok(()) => Ok(scratch),
            Err(why) => {
                let said = scratch.last_words();
                // That its folder stays is said when it is to be used again.
                let _ = scratch.end().await;
                Err(other(format!("the scratch Qdrant {why}{said}")))
            }
        }
    }

    async fn ready(&self, peer: u64) -> Result<(), String> {
        let began = Instant::now();
        let client = self.client.with_timeout(Duration::from_secs(5));
        loop {
            if let Some(exit) = self.child.exited() {
                return Err(format!("has ended: {exit}"));
            }
            let why = match client.cluster().await {
                Ok(Cluster::Enabled(info)) if info.peer_id != peer => {
                    return Err("is not the one that answers at its port".to_owned());
                }
                Ok(Cluster::Enabled(info)) if info.leads_itself() => return Ok(()),
                Ok(_) => "does not lead itself".to_owned(),
                Err(error) => format!("does not answer: {}", chain(&error)),
            };
            if began.elapsed() > START {
                return Err(why);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Talks to it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// It runs.
    pub fn is_alive(&self) -> bool {
        self.child.exited().is_none()
    }

    /// Where it looks for the snapshots of a shard that are named.
    pub fn snapshots_of(&self, collection: &str, shard: u32) -> PathBuf {
        let snapshots = self.folder.join("snapshots").join(collection);
        snapshots.join(format!("shards/{shard}"))
    }

    /// Free bytes on its disk.
    ///
    /// # Errors
    /// [`SiteError`].
    pub fn free(&self) -> Result<u64, SiteError> {
        self.site.free()
    }

    /// The end of its output, for people.
    pub fn last_words(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.folder.join(LOG))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(2048)))?;
            let mut bytes = Vec::new();
            file.take(2048).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        match text.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("; it said last: {}", line.trim()),
            None => String::new(),
        }
    }

    /// Kills it, waits until it is gone, and removes its folder.
    ///
    /// # Errors
    /// The folder stays.
    pub async fn end(self) -> Result<(), SiteError> {
        self.child.kill();
        self.child.wait().await;
        let site = self.site.clone();
        blocking(move || site.clear()).await.map(drop)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.child.kill();
    }
}

/// Everything that makes it nobody else's.
fn own_env(
    folder: &Path,
    [http, grpc, p2p]: [u16; 3],
    key: &str,
    peer: u64,
) -> impl Iterator<Item = (&'static str, OsString)> {
    let path = |name: &str| folder.join(name).into_os_string();
    let text = |text: &str| OsString::from(text);
    [
        // Alone in a cluster of its own, on purpose.
        (FOUNDER, text("true")),
        ("QDRANT__SERVICE__HOST", text("127.0.0.1")),
        ("QDRANT__SERVICE__HTTP_PORT", text(&http.to_string())),
        ("QDRANT__SERVICE__GRPC_PORT", text(&grpc.to_string())),
        ("QDRANT__SERVICE__API_KEY", text(key)),
        ("QDRANT__SERVICE__ENABLE_TLS", text("false")),
        ("QDRANT__SERVICE__ENABLE_STATIC_CONTENT", text("false")),
        ("QDRANT__SERVICE__MAX_WORKERS", text("1")),
        ("QDRANT__CLUSTER__ENABLED", text("true")),
        ("QDRANT__CLUSTER__P2P__PORT", text(&p2p.to_string())),
        ("QDRANT__CLUSTER__P2P__ENABLE_TLS", text("false")),
        ("QDRANT__CLUSTER__PEER_ID", text(&peer.to_string())),
        ("QDRANT__STORAGE__STORAGE_PATH", path("storage")),
        ("QDRANT__STORAGE__SNAPSHOTS_PATH", path("snapshots")),
        ("QDRANT__STORAGE__TEMP_PATH", path("temp")),
        (
            "QDRANT__STORAGE__SNAPSHOTS_CONFIG__SNAPSHOTS_STORAGE",
            text("local"),
        ),
        (
            "QDRANT__STORAGE__PERFORMANCE__MAX_SEARCH_THREADS",
            text("1"),
        ),
        (
            "QDRANT__STORAGE__PERFORMANCE__OPTIMIZER_CPU_BUDGET",
            text("1"),
        ),
        ("QDRANT__TELEMETRY_DISABLED", text("true")),
        ("QDRANT__LOG_LEVEL", text("WARN")),
        ("QDRANT_INIT_FILE_PATH", path("initialized")),
    ]
    .into_iter()
}

/// Three ports of loopback that are free now. When somebody else is quicker the start fails.
fn ports() -> std::io::Result<[u16; 3]> {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [free()?, free()?, free()?];
    let port = |listener: &TcpListener| Ok::<_, std::io::Error>(listener.local_addr()?.port());
    let [a, b, c] = &held;
    Ok([port(a)?, port(b)?, port(c)?])
}

fn client(at: SocketAddr, key: &str) -> Result<Client, String> {
    let base = BaseUrl::try_from(at).map_err(|error| chain(&error))?;
    let key = ApiKey::new(key).map_err(|error| chain(&error))?;
    Client::new(base, Some(key), ANSWER).map_err(|error| chain(&error))
}

/// When memory runs out, the kernel takes this one and never the one that serves.
fn die_first(pid: u32) {
    let path = format!("/proc/{pid}/oom_score_adj");
    if let Err(error) = fs::write(&path, "1000") {
        tracing::debug!("{path} cannot be written: {}", chain(&error));
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SiteError> + Send + 'static,
) -> Result<T, SiteError> {
    let crashed = |error| SiteError::Io {
        doing: "work on",
        path: PathBuf::from("the folder of a scratch Qdrant"),
        source: std::io::Error::other(error),
    };
    tokio::task::spawn_blocking(work).await.map_err(crashed)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_one_that_serves_is_handed_on() {
        let env = [
            ("PATH", "/bin"),
            ("QDRANT__STORAGE__STORAGE_PATH", "/qdrant/storage"),
            ("QDRANT__SERVICE__API_KEY", "secret"),
            ("QDRANT_BOOTSTRAP", "http://10.0.0.1:6335"),
            ("ENTRYPOINT_STORE", "file:///store"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("QDRANT__FEATURE_FLAGS__ALL", "true"),
        ];
        let env = env.map(|(name, value)| (name.into(), value.into()));
        let program = Program::new(Path::new("/qdrant/qdrant"), env).unwrap();
        let names: Vec<_> = program.env.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, ["PATH", "QDRANT__FEATURE_FLAGS__ALL"]);
    }

    #[tokio::test]
    async fn a_program_that_ends_is_none_and_leaves_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let storage = dir.path().join("storage");
        fs::create_dir(&storage).unwrap();
        let site = Site::beside(&storage).unwrap();
        let fails = async |program: &str| {
            let program = Program::new(Path::new(program), []).unwrap();
            chain(&Scratch::start(&site, &program).await.unwrap_err())
        };
        let why = fails("/bin/false").await;
        assert!(why.contains("has ended"), "{why}");
        assert!(!site.folder().exists());
        let why = fails("/no/such/program").await;
        assert!(why.contains("no such file"), "{why}");
        // What a start left that came to nothing goes before the next one.
        assert!(site.clear().unwrap());
    }

    #[test]
    fn every_path_is_in_its_folder() {
        let folder = Path::new("/disk/storage.proof/scratch");
        for (name, value) in own_env(folder, [1, 2, 3], "key", 7) {
            let is_path = name.ends_with("_PATH");
            assert_eq!(is_path, Path::new(&value).starts_with(folder), "{name}");
        }
    }
}
