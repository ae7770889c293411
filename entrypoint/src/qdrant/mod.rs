//! Our own Qdrant: how it is started, what became of it, and what its REST interface says.
//!
//! Restarts are paced by `planner::restart`; whether it may run at all is the planner's.

mod apart;
mod build;
mod keys;
mod watch;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::{Formed, Stamp};
use planner::restart::{RestartPolicy, Restarts};
use planner::view::{Child as ChildView, Qdrant as View};
use qdrant_api::{ApiKey, BaseUrl, Client, Cluster, ClusterInfo, ConsensusThread};

use crate::child::recovery::{self, Recovery};
use crate::child::{self, Child, Environment, Exit, Oom, Output, SpawnError, Spec, Stopped};
use crate::config::Config;
use crate::events;
use crate::standstill::Standstill;

use self::apart::{Apart, Shut};
use self::watch::{CommitProbe, ReadyWatch};

pub use self::build::Build;
pub use self::keys::{parse_restore, read_orders, read_proof, read_restore};
pub use self::watch::probe_commit;

/// What went wrong with our own Qdrant.
#[derive(Debug, thiserror::Error)]
pub enum QdrantError {
    /// It could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// There is no port for it that nobody knows.
    #[error("find a port that nobody knows")]
    Apart(#[source] std::io::Error),
    /// The REST client could not be built.
    #[error("set up the client for Qdrant at {0}")]
    Client(String, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Tells a Qdrant with our patch *no accidental founder* that it is to begin a cluster on its empty disk; any
/// other does so without, and takes no notice.
pub(crate) const FOUNDER: &str = "QDRANT_FOUNDER";

/// As what Qdrant is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// As the first peer of a new cluster, when nothing is on its disk yet.
    Found,
    /// With what is on its disk.
    Own,
    /// To join through this peer.
    Join {
        /// The peer's URI.
        uri: &'a str,
    },
    /// Its Raft state is begun anew with itself as the only voter; the data stays.
    Reinit,
    /// Its Raft state is begun anew to join through this peer; peer id and data stay.
    Rejoin {
        /// The peer's URI.
        uri: &'a str,
    },
}

impl<'a> Start<'a> {
    fn bootstrap(self) -> Option<&'a str> {
        match self {
            Self::Found | Self::Own | Self::Reinit => None,
            Self::Join { uri } | Self::Rejoin { uri } => Some(uri),
        }
    }

    /// Qdrant does this again at every start with the flag (facts: section 2).
    fn reinit(self) -> bool {
        matches!(self, Self::Reinit | Self::Rejoin { .. })
    }

    fn args(self, uri: &str) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--uri".into(), uri.into()];
        if let Some(bootstrap) = self.bootstrap() {
            args.extend(["--bootstrap".into(), bootstrap.into()]);
        }
        if self.reinit() {
            args.push("--reinit".into());
        }
        args
    }
}

/// What every start of Qdrant has in common.
#[derive(Debug)]
struct Program {
    program: PathBuf,
    uri: String,
    env: Vec<(OsString, OsString)>,
}

/// Our own Qdrant.
#[derive(Debug)]
pub struct Qdrant {
    start: Program,
    /// Which one it is; `Err`: it was not asked, or not understood.
    build: Result<Build, String>,
    /// Where and with which key it is talked to, but for the port.
    here: (IpAddr, Option<ApiKey>),
    client: Client,
    child: Option<Child>,
    still: Standstill,
    /// Started to join, and not known to have joined.
    joining: bool,
    restarts: Restarts,
    joins: Restarts,
    policy: RestartPolicy,
    resting_until: Option<(Instant, String)>,
    recovery: Recovery,
    recover_next: Option<OsString>,
    recovering: bool,
    last_exit: Option<Exit>,
    last: Option<ClusterInfo>,
    ready: ReadyWatch,
    proof: Option<Formed>,
    commit: CommitProbe,
}

impl Qdrant {
    /// Prepares to run Qdrant at `address`; nothing is started yet.
    pub fn new(config: &Config, address: IpAddr) -> Result<Self, QdrantError> {
        let uri = format!(
            "http://{}",
            SocketAddr::new(address, config.qdrant.p2p_port)
        );
        let overrides = config.qdrant_env_overrides();
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| {
                // Ours are nobody else's business, and these two would contradict our arguments.
                let name = name.to_string_lossy();
                !name.starts_with("ENTRYPOINT_")
                    && name != "QDRANT_URI"
                    && name != "QDRANT_BOOTSTRAP"
                    // Given to all tasks it would allow just what it is there to prevent.
                    && name != FOUNDER
            })
            .collect();
        env.extend(
            overrides
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        );
        let api_key = config
            .qdrant
            .api_key
            .as_ref()
            .map(|key| ApiKey::new(key.expose()))
            .transpose()
            .map_err(|error| QdrantError::Client(uri.clone(), Box::new(error)))?;
        let local = config.qdrant.local_address();
        let rest = SocketAddr::new(local, config.qdrant.http_port);
        let client = client_at(rest, api_key.clone(), config.probe_timeout * 3)?;
        Ok(Self {
            start: Program {
                program: config.qdrant_bin.clone(),
                uri,
                env,
            },
            build: Err("it was not asked".to_owned()),
            here: (local, api_key),
            client,
            child: None,
            still: Standstill::default(),
            joining: false,
            restarts: Restarts::default(),
            joins: Restarts::default(),
            policy: RestartPolicy {
                min: config.restart_min,
                max: config.restart_max,
                calm: config.restart_max * 2,
            },
            resting_until: None,
            recovery: Recovery::from_env(|name| std::env::var_os(name)),
            recover_next: None,
            recovering: false,
            last_exit: None,
            last: None,
            ready: ReadyWatch::default(),
            proof: None,
            commit: CommitProbe::default(),
        })
    }

    /// Asks the binary which Qdrant it is. Whatever it says, everything works with it.
    pub async fn identify(&mut self) {
        let Program { program, env, .. } = &self.start;
        self.build = build::ask(program, env.clone()).await;
        match &self.build {
            Ok(build) => tracing::info!(
                event = events::QDRANT_BUILD,
                version = build.version,
                patches = build.patches.iter().cloned().collect::<Vec<_>>().join(","),
                fingerprint = build.fingerprint,
                "without {} of our patches",
                build.lacks().len()
            ),
            Err(why) => tracing::warn!(
                event = events::QDRANT_BUILD,
                "which Qdrant this is, is not known: {why}"
            ),
        }
    }

    /// The URI under which this Qdrant is a peer.
    pub fn uri(&self) -> &str {
        &self.start.uri
    }

    /// Talks to our own REST interface.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Starts it.
    pub async fn start(&mut self, how: Start<'_>) -> Result<(), QdrantError> {
        let args = how.args(&self.start.uri);
        let bootstrap = how.bootstrap();
        let mut env = self.start.env.clone();
        if how == Start::Found {
            env.push((FOUNDER.into(), "true".into()));
        }
        let recovering = self.recover_next.take();
        self.recovering = recovering.is_some();
        if let Some(message) = recovering {
            env.push((recovery::RECOVERY_MODE.into(), message));
        }
        let mut spec = Spec::new(self.start.program.clone(), args, Environment::Exactly(env));
        // Qdrant writes its own lines to our own output.
        spec.output = Output::Inherited;
        let child = child::spawn(spec).await?;
        tracing::info!(
            event = events::QDRANT_STARTED,
            pid = child.pid(),
            uri = self.start.uri,
            bootstrap,
            reinit = how.reinit(),
            "Qdrant was started"
        );
        self.joining = bootstrap.is_some();
        self.forget();
        self.still.of(Some(child.clone()));
        self.child = Some(child);
        Ok(())
    }

    /// Starts it with what is on its disk where nobody reaches it: on loopback, at ports that nobody knows,
    /// with a key that nobody has. Gives who may talk to it.
    pub async fn start_apart(&mut self, patience: Duration) -> Result<Client, QdrantError> {
        let key = uuid::Uuid::new_v4().simple().to_string();
        let apart = Apart::find().map_err(QdrantError::Apart)?;
        let base = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), apart.http);
        let secret = ApiKey::new(key.clone())
            .map_err(|error| QdrantError::Client(base.to_string(), Box::new(error)))?;
        let client = client_at(base, Some(secret), patience)?;
        self.start_with(apart.env(&key)).await?;
        Ok(client)
    }

    /// Starts it with what is on its disk where no client reaches it, and its peers do: at ports for clients
    /// that nobody knows. From then on it is asked there, with this patience.
    pub async fn start_shut(&mut self, patience: Duration) -> Result<(), QdrantError> {
        let shut = Shut::find().map_err(QdrantError::Apart)?;
        let (local, api_key) = self.here.clone();
        self.client = client_at(SocketAddr::new(local, shut.http), api_key, patience)?;
        self.start_with(shut.env()).await
    }

    async fn start_with(&mut self, over: Vec<(OsString, OsString)>) -> Result<(), QdrantError> {
        let env = std::mem::take(&mut self.start.env);
        self.start.env.clone_from(&env);
        self.start.env.extend(over);
        let started = self.start(Start::Own).await;
        self.start.env = env;
        started
    }

    /// It has joined: from now on its ends are ordinary ends.
    pub fn joined(&mut self) {
        self.joining = false;
        self.joins = Restarts::default();
    }

    /// The formed record in its key map is another one from now on.
    pub fn published(&mut self) {
        self.proof = None;
    }

    fn forget(&mut self) {
        self.resting_until = None;
        self.last = None;
        self.ready = ReadyWatch::default();
        self.proof = None;
        self.commit = CommitProbe::default();
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(exit) = self.end().await {
            tracing::warn!(
                event = events::QDRANT_KILLED,
                exit = exit.to_string(),
                "Qdrant was killed"
            );
        }
    }

    async fn end(&mut self) -> Option<Exit> {
        let child = self.child.take()?;
        child.kill();
        self.still.of(None);
        let exit = child.wait().await;
        self.last_exit = Some(exit.clone());
        self.joining = false;
        self.forget();
        Some(exit)
    }

    /// `signal`, SIGKILL after `grace`; `None` when it was not running.
    pub async fn stop(&mut self, signal: Signal, grace: Duration) -> Option<Stopped> {
        let child = self.child.take()?;
        if let Some(exit) = child.exited() {
            return Some(Stopped {
                exit,
                forced: false,
            });
        }
        // It may not serve a moment longer, not even to end in order.
        let grace = match self.still.is_still() {
            true => Duration::ZERO,
            false => grace,
        };
        let stopped = child.stop(signal, grace).await;
        self.last_exit = Some(stopped.exit.clone());
        Some(stopped)
    }

    /// Whether it stands still, and how to make it.
    pub fn standstill(&self) -> &Standstill {
        &self.still
    }

    /// The running child, to wait for its end.
    pub fn running(&self) -> Option<Child> {
        self.child.clone()
    }

    /// Takes note when it has ended by itself.
    pub fn notice_exit(&mut self) {
        let Some(exit) = self.child.as_ref().and_then(Child::exited) else {
            return;
        };
        self.child = None;
        self.still.of(None);
        let policy = if self.joining {
            RestartPolicy {
                min: Duration::from_millis(200),
                max: Duration::from_secs(5),
                ..self.policy
            }
        } else {
            self.policy
        };
        let book = if self.joining {
            &mut self.joins
        } else {
            &mut self.restarts
        };
        let restart = book.on_exit(&policy, exit.uptime);
        // Between half and the whole of it, so that tasks that failed together part.
        let delay = restart.delay.mul_f64(rand::random_range(0.5..=1.0));
        if !self.joining
            && let Some(message) = self.recovery_message(&exit)
        {
            self.recover_next = Some(message);
        }
        let text = exit.to_string();
        if self.joining {
            tracing::info!(
                event = events::JOIN_FAILED,
                exit = text,
                again_in_ms = delay.as_millis(),
                "Qdrant could not join; the disk is kept"
            );
        } else {
            tracing::warn!(
                event = events::QDRANT_EXITED,
                exit = text,
                oom = matches!(exit.oom, Oom::Yes),
                crash_loop = restart.crash_loop,
                restarts = self.restarts.total(),
                again_in_ms = delay.as_millis(),
                "Qdrant has ended by itself"
            );
        }
        self.forget();
        self.resting_until = Some((Instant::now() + delay, text));
        self.last_exit = Some(exit);
    }

    fn recovery_message(&self, exit: &Exit) -> Option<OsString> {
        let init_file = self.recovery.look(Path::new("."));
        match self
            .recovery
            .decide(exit, init_file, false, self.recovering)
        {
            recovery::Decision::Rerun(message) => Some(message.into()),
            recovery::Decision::Leave(_) => None,
        }
    }

    /// The disk was freed: what is known of the old peer does not hold for the next one.
    pub fn reset(&mut self) {
        self.forget();
        self.restarts = Restarts::default();
        self.joins = Restarts::default();
    }

    /// For the status page.
    pub fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "pid": self.child.as_ref().map(Child::pid),
            "state": match (&self.child, &self.resting_until) {
                (Some(_), _) => "running",
                (None, Some(_)) => "resting",
                (None, None) => "stopped",
            },
            "restarts": self.restarts.total(),
            "build": self.build.as_ref().ok(),
            "lacks": match &self.build {
                Ok(build) => serde_json::json!(build.lacks()),
                Err(why) => format!("not known: {why}").into(),
            },
            "last_exit": self.last_exit.as_ref().map(ToString::to_string),
        })
    }

    /// It has ended again and again, and does not run calmly now: how it ended last. That it could not
    /// join is no such end.
    pub fn crash_loop(&self) -> Option<String> {
        let calm = self
            .child
            .as_ref()
            .is_some_and(|child| child.uptime() > self.policy.calm);
        let exit = self.last_exit.as_ref()?;
        (self.restarts.is_crash_loop() && !calm).then(|| exit.to_string())
    }

    /// What `/cluster` said last.
    pub fn last(&self) -> Option<&ClusterInfo> {
        self.last.as_ref()
    }

    /// Looks at it: the process, then its REST interface. `restoring` is the stamp of a generation whose
    /// restore we have not seen finished.
    pub async fn look(&mut self, probe_commit: bool, restoring: Option<&Stamp>) -> ChildView {
        self.notice_exit();
        if self.child.is_none() {
            return match &self.resting_until {
                Some((until, why)) if Instant::now() < *until => ChildView::Resting(why.clone()),
                _ => ChildView::Stopped,
            };
        }
        let still = self.still.clone();
        tokio::select! {
            biased;
            () = still.begins() => {
                ChildView::Running(Observed::Unknown("it was made to stand still".to_owned()))
            }
            view = self.ask(probe_commit, restoring) => view,
        }
    }

    async fn ask(&mut self, probe_commit: bool, restoring: Option<&Stamp>) -> ChildView {
        let info = match self.client.cluster().await {
            Ok(Cluster::Enabled(info)) => info,
            Ok(Cluster::Disabled) => {
                return ChildView::Running(Observed::Unknown("cluster mode is off".to_owned()));
            }
            Err(error) => return ChildView::Running(Observed::Unknown(crate::log::chain(&error))),
        };
        let proof = self.proof().await;
        let orders = match read_orders(&self.client).await {
            Ok(orders) => Observed::Known(orders),
            Err(why) => Observed::Unknown(why),
        };
        let restored = match restoring {
            Some(stamp) => self.restored(stamp).await,
            None => Observed::Unknown("not asked for".to_owned()),
        };
        let commits = self.commit.look(&self.client, probe_commit);
        let view = View {
            peer_id: PeerId(info.peer_id),
            leads: info.leads_itself(),
            has_leader: info.raft.leader.is_some(),
            is_voter: info.raft.is_voter,
            peers: info
                .peers
                .keys()
                .copied()
                .map(PeerId)
                .collect::<BTreeSet<_>>(),
            consensus_stopped: matches!(info.consensus_thread, ConsensusThread::Stopped),
            ready: self.ready.look(&self.client),
            proof,
            commits,
            commit: info.raft.commit,
            orders,
            restored,
        };
        self.last = Some(info);
        ChildView::Running(Observed::Known(view))
    }

    /// The formed record in our key map. A complete one does not change any more, but for that its restore
    /// is finished, which is read elsewhere.
    async fn proof(&mut self) -> Observed<Option<Formed>> {
        if let Some(proof) = &self.proof
            && proof.complete
        {
            return Observed::Known(Some(proof.clone()));
        }
        match read_proof(&self.client).await {
            Ok(proof) => {
                self.proof.clone_from(&proof);
                Observed::Known(proof)
            }
            Err(why) => Observed::Unknown(why),
        }
    }

    async fn restored(&self, stamp: &Stamp) -> Observed<bool> {
        match read_restore(&self.client).await {
            Ok(restore) => Observed::Known(restore.is_some_and(|r| r.is_finished_for(stamp))),
            Err(why) => Observed::Unknown(why),
        }
    }

    /// Ends with the child; for ever when there is none.
    pub async fn ended(child: Option<Child>) {
        match child {
            Some(child) => {
                child.wait().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// A client for the REST interface at this address.
fn client_at(
    at: SocketAddr,
    api_key: Option<ApiKey>,
    timeout: Duration,
) -> Result<Client, QdrantError> {
    let error = |e: Box<dyn std::error::Error + Send + Sync>| {
        QdrantError::Client(format!("http://{at}"), e)
    };
    let base = BaseUrl::try_from(at).map_err(|e| error(Box::new(e)))?;
    Client::new(base, api_key, timeout).map_err(|e| error(Box::new(e)))
}

#[cfg(test)]
mod tests {
    use super::Start;

    #[test]
    fn the_flag_goes_with_a_start_anew_and_with_no_other() {
        let uri = "http://10.0.0.2:6335";
        let own = ["--uri", "http://10.0.0.1:6335"];
        let join = ["--bootstrap", uri];
        let reinit = ["--reinit"];
        for (start, more) in [
            (Start::Found, vec![]),
            (Start::Own, vec![]),
            (Start::Join { uri }, join.to_vec()),
            (Start::Reinit, reinit.to_vec()),
            (Start::Rejoin { uri }, [&join[..], &reinit].concat()),
        ] {
            assert_eq!(start.args(own[1]), [&own[..], &more].concat(), "{start:?}");
        }
    }
}
