//! The configuration: what the environment says, typed and checked before anything else happens.
//!
//! Owns reading, checking, printing and documenting. Opens no file, no socket, and never looks at the
//! process environment except through [`ProcessEnv`]. Every variable is declared once, in `vars`;
//! rules between variables stand in `rules`. All mistakes are reported at once, one line each.

mod check;
mod docs;
mod env;
mod error;
mod nearest;
mod parse;
mod qdrant;
mod reader;
mod rules;
mod types;
mod vars;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use self::{
    check::render_check,
    docs::render_markdown,
    env::{Env, ProcessEnv},
    error::{ConfigError, Printable},
    qdrant::QdrantSettings,
    types::{
        AdoptStore, Auto, Copies, DnsName, DnsType, Heal, LogFormat, LogLevel, Name, Proof,
        Requorum, Restore, Secret, Sets, StoreUrl, Word,
    },
};

/// The whole configuration of one task. What each field means stands in `docs/configuration.md` under
/// the variable of the same name with `ENTRYPOINT_` before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Wanted number of tasks, at least 1.
    pub cluster_size: u32,
    /// Peers needed before the first readiness, 1 to `cluster_size`.
    pub ready_peers: u32,
    /// Name of our service; `None`: the one in task metadata, else `qdrant`.
    pub service: Option<Name>,
    /// Id of the deployment stack.
    pub stack: Option<Word>,
    /// Permission to take over the store of another stack.
    pub adopt_store: Option<AdoptStore>,
    /// The name that lists the tasks; `Some` whenever `cluster_size` is above 1.
    pub dns_name: Option<DnsName>,
    /// Which records that name has.
    pub dns_type: DnsType,
    /// The DNS server to ask; `None`: the system's.
    pub dns_server: Option<SocketAddr>,
    /// Limit of one DNS question.
    pub dns_timeout: Duration,
    /// How long emptiness without our own address in DNS must last before founding.
    pub dns_settle: Duration,
    /// The store.
    pub store: StoreUrl,
    /// Limit of one call to the store.
    pub store_timeout: Duration,
    /// How often sets are made.
    pub sets: Sets,
    /// Of how long every set is kept.
    pub keep_all: Duration,
    /// Of how many hours the newest set is kept.
    pub keep_hourly: u32,
    /// Of how many days.
    pub keep_daily: u32,
    /// Of how many months.
    pub keep_monthly: u32,
    /// How often sets are proven.
    pub proof: Proof,
    /// The Qdrant program.
    pub qdrant_bin: PathBuf,
    /// Our own HTTP port.
    pub control_port: u16,
    /// The address that it listens on.
    pub bind: IpAddr,
    /// Override of our own address.
    pub address: Option<IpAddr>,
    /// Override of our zone.
    pub zone: Option<Word>,
    /// Override of our task id.
    pub task_id: Option<Name>,
    /// Override of our family:revision.
    pub revision: Option<Word>,
    /// Pause between rounds while forming.
    pub round: Duration,
    /// Pause between rounds and beats of a settled member.
    pub beat: Duration,
    /// Silence after which a claim may be abandoned.
    pub claim_timeout: Duration,
    /// Silence of all members after which the cluster counts as lost.
    pub loss_timeout: Duration,
    /// Limit of one question to a Qdrant or another task.
    pub probe_timeout: Duration,
    /// Whether the steward acts.
    pub heal: Heal,
    /// What the survivors of a lost majority do.
    pub requorum: Requorum,
    /// What a new cluster does with the sets of a lost one.
    pub restore: Restore,
    /// How many copies every shard should have.
    pub copies: Copies,
    /// Silence after which a peer is gone, when a second witness says so.
    pub gone_timeout: Duration,
    /// How long a gone peer is kept for the sake of a last copy.
    pub lost_copy_timeout: Duration,
    /// How long a missing copy waits for the replacement task.
    pub replacement_wait: Duration,
    /// How long an emptied task waits for its end by ECS.
    pub release_timeout: Duration,
    /// Between two comparisons of all copies.
    pub divergence_interval: Duration,
    /// Time from SIGTERM to the kill by ECS.
    pub stop_timeout: Duration,
    /// Qdrant is killed this long before that.
    pub stop_margin: Duration,
    /// How long to keep serving after SIGTERM.
    pub stop_linger: Duration,
    /// First pause before Qdrant is started again.
    pub restart_min: Duration,
    /// Longest such pause.
    pub restart_max: Duration,
    /// Form of our log lines.
    pub log: LogFormat,
    /// Least important lines logged.
    pub log_level: LogLevel,
    /// Whether to ask ECS for task protection.
    pub protection: Auto,
    /// For how many minutes at a time.
    pub protection_minutes: u32,
    /// Where the ECS agent serves task protection; `None` outside ECS.
    pub agent_uri: Option<reqwest::Url>,
    /// Whether to ask the API of ECS.
    pub ecs_api: Auto,
    /// How often.
    pub ecs_poll: Duration,
    /// How it is reached.
    pub aws: Aws,
    /// Where ECS serves task metadata; `None` outside ECS.
    pub metadata_uri: Option<reqwest::Url>,
    /// What we know of Qdrant's own configuration.
    pub qdrant: QdrantSettings,
    /// Doubtful but allowed: one line each, to be logged at the start.
    pub warnings: Vec<String>,
    /// Every variable with the value in effect, in the order of the documentation.
    pub effective: Vec<Effective>,
    // Only looked at by the rules: whatever passes them is of no interest to anybody else.
    cluster_enabled: bool,
    p2p_tls: bool,
    snapshots_path: PathBuf,
    temp_path: Option<PathBuf>,
    new_copies: Option<u32>,
}

/// How the API of AWS is reached, as the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// The region.
    pub region: Option<Word>,
    /// Another endpoint of ECS.
    pub endpoint: Option<Word>,
    /// Another endpoint of S3.
    pub s3_endpoint: Option<Word>,
    /// Where the credentials of the task role are, below the address that ECS has for them.
    pub credentials_path: Option<Word>,
    /// The same as a whole URL.
    pub credentials_url: Option<reqwest::Url>,
    /// What that URL wants to see.
    pub credentials_token: Option<Secret>,
    /// Id of the credentials in the environment.
    pub key_id: Option<Secret>,
    /// Their secret.
    pub secret_key: Option<Secret>,
    /// Their session.
    pub session_token: Option<Secret>,
}

/// One variable with the value that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Name of the variable.
    pub name: &'static str,
    /// The value in its normal form; `(hidden)` for a secret, `None` when there is none (yet).
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The environment.
    Set,
    /// The default, or what follows from other values.
    Default,
}

impl Config {
    /// Reads and checks the configuration. Gives every mistake there is, never only the first.
    pub fn from_env(env: &impl Env) -> Result<Self, Vec<ConfigError>> {
        let mut reader = reader::Reader::new(env);
        let r = &mut reader;
        // The fields are read in the order of the documentation, which `effective` keeps.
        let cluster_size = r.read(&vars::CLUSTER_SIZE);
        let linger = if cluster_size == 1 {
            Duration::ZERO
        } else {
            Duration::from_secs(5)
        };
        let mut config = Self {
            cluster_size,
            ready_peers: r.read_or(&vars::READY_PEERS, cluster_size),
            service: r.read(&vars::SERVICE),
            stack: r.read(&vars::STACK),
            adopt_store: r.read(&vars::ADOPT_STORE),
            dns_name: r.read(&vars::DNS_NAME),
            dns_type: r.read(&vars::DNS_TYPE),
            dns_server: r.read(&vars::DNS_SERVER),
            dns_timeout: r.read(&vars::DNS_TIMEOUT),
            dns_settle: r.read(&vars::DNS_SETTLE),
            store: r.read(&vars::STORE),
            store_timeout: r.read(&vars::STORE_TIMEOUT),
            sets: r.read(&vars::SETS),
            keep_all: r.read(&vars::KEEP_ALL),
            keep_hourly: r.read(&vars::KEEP_HOURLY),
            keep_daily: r.read(&vars::KEEP_DAILY),
            keep_monthly: r.read(&vars::KEEP_MONTHLY),
            proof: r.read(&vars::PROOF),
            qdrant_bin: r.read(&vars::QDRANT_BIN),
            control_port: r.read(&vars::CONTROL_PORT),
            bind: r.read(&vars::BIND),
            address: r.read(&vars::ADDRESS),
            zone: r.read(&vars::ZONE),
            task_id: r.read(&vars::TASK_ID),
            revision: r.read(&vars::REVISION),
            round: r.read(&vars::ROUND),
            beat: r.read(&vars::BEAT),
            claim_timeout: r.read(&vars::CLAIM_TIMEOUT),
            loss_timeout: r.read(&vars::LOSS_TIMEOUT),
            probe_timeout: r.read(&vars::PROBE_TIMEOUT),
            heal: r.read(&vars::HEAL),
            requorum: r.read(&vars::REQUORUM),
            restore: r.read(&vars::RESTORE),
            copies: r.read(&vars::COPIES).unwrap_or(Copies::DEFAULT),
            gone_timeout: r.read(&vars::GONE_TIMEOUT),
            lost_copy_timeout: r.read(&vars::LOST_COPY_TIMEOUT),
            replacement_wait: r.read(&vars::REPLACEMENT_WAIT),
            release_timeout: r.read(&vars::RELEASE_TIMEOUT),
            divergence_interval: r.read(&vars::DIVERGENCE_INTERVAL),
            stop_timeout: r.read(&vars::STOP_TIMEOUT),
            stop_margin: r.read(&vars::STOP_MARGIN),
            stop_linger: r.read_or(&vars::STOP_LINGER, linger),
            restart_min: r.read(&vars::RESTART_MIN),
            restart_max: r.read(&vars::RESTART_MAX),
            log: r.read(&vars::LOG),
            log_level: r.read(&vars::LOG_LEVEL),
            protection: r.read(&vars::PROTECTION),
            protection_minutes: r.read(&vars::PROTECTION_MINUTES),
            agent_uri: r.read(&vars::AGENT_URI),
            ecs_api: r.read(&vars::ECS_API),
            ecs_poll: r.read(&vars::ECS_POLL),
            aws: Aws {
                region: r.read(&vars::AWS_REGION),
                endpoint: r.read(&vars::AWS_ENDPOINT_URL_ECS),
                s3_endpoint: r.read(&vars::AWS_ENDPOINT_URL_S3),
                credentials_path: r.read(&vars::AWS_CREDENTIALS_PATH),
                credentials_url: r.read(&vars::AWS_CREDENTIALS_URL),
                credentials_token: r.read(&vars::AWS_CREDENTIALS_TOKEN),
                key_id: r.read(&vars::AWS_KEY_ID),
                secret_key: r.read(&vars::AWS_SECRET_KEY),
                session_token: r.read(&vars::AWS_SESSION_TOKEN),
            },
            metadata_uri: r.read(&vars::METADATA_URI),
            qdrant: QdrantSettings {
                api_key: r.read(&vars::QDRANT_API_KEY),
                alt_api_key: r.read(&vars::QDRANT_ALT_API_KEY),
                host: r.read(&vars::QDRANT_HOST),
                http_port: r.read(&vars::QDRANT_HTTP_PORT),
                grpc_port: r.read(&vars::QDRANT_GRPC_PORT),
                p2p_port: r.read(&vars::QDRANT_P2P_PORT),
                storage_path: r.read(&vars::QDRANT_STORAGE_PATH),
                tls: false,
                overrides: Vec::new(),
            },
            snapshots_path: r.read(&vars::QDRANT_SNAPSHOTS_PATH),
            temp_path: r.read(&vars::QDRANT_TEMP_PATH),
            new_copies: r.read(&vars::QDRANT_REPLICATION_FACTOR),
            cluster_enabled: r.read(&vars::QDRANT_CLUSTER_ENABLED),
            p2p_tls: false,
            warnings: Vec::new(),
            effective: Vec::new(),
        };
        config.qdrant.tls = r.read(&vars::QDRANT_ENABLE_TLS);
        config.p2p_tls = r.read(&vars::QDRANT_P2P_TLS);
        if let Some(factor) = config.new_copies
            && !reader.holds(vars::COPIES.name)
        {
            config.copies = Copies::Wanted(factor);
        }
        reader.settle(vars::COPIES.name, &config.copies);
        let basis = qdrant::Basis {
            has_api_key: config.qdrant.api_key.is_some(),
            cluster_size,
            copies: config.copies.wanted().unwrap_or(Copies::USUAL),
            factor: config.new_copies,
        };
        config.qdrant.overrides = {
            let storage = &config.qdrant.storage_path;
            qdrant::overrides(&basis, storage, |name| reader.holds(name))
        };

        config.effective = std::mem::take(&mut reader.effective);
        let findings = rules::check(&config, &reader.broken);
        config.warnings = findings.warnings;
        for key in [&vars::QDRANT_API_KEY, &vars::QDRANT_ALT_API_KEY] {
            if reader.is_empty(key.name) {
                config.warnings.push(format!(
                    "{} is set but empty, which means no key; remove it, or give the key",
                    key.name
                ));
            }
        }
        let errors: Vec<_> = reader.errors.into_iter().chain(findings.errors).collect();
        if errors.is_empty() {
            Ok(config)
        } else {
            Err(errors)
        }
    }

    /// The variables to set for Qdrant beside those it inherits: only ones that the user has not set.
    pub fn qdrant_env_overrides(&self) -> &[(&'static str, String)] {
        &self.qdrant.overrides
    }
}
