//! Every variable, declared once: name, default, type and meaning. Reading, `check-config` and
//! `docs/configuration.md` all follow from here. Owns no rule that spans several variables.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{
    parse::Value,
    types::{
        AdoptStore, Auto, Copies, DnsName, DnsType, Heal, LogFormat, LogLevel, Name, Proof,
        Requorum, Restore, Secret, Sets, StoreUrl, Word,
    },
};

/// What begins the name of every variable of ours.
pub(super) const PREFIX: &str = "ENTRYPOINT_";

/// What begins the name of every variable of Qdrant.
pub(super) const QDRANT_PREFIX: &str = "QDRANT__";

/// Where a variable stands in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Cluster,
    Discovery,
    Store,
    Sets,
    Process,
    Identity,
    Timing,
    Healing,
    Stopping,
    Logs,
    Ecs,
    Qdrant,
}

/// One variable of type `T`.
pub(super) struct Var<T: 'static> {
    pub(super) name: &'static str,
    pub(super) group: Group,
    /// The value when the variable is not set.
    pub(super) default: fn() -> T,
    /// How the value follows from others when the variable is not set, in words.
    pub(super) derived: Option<&'static str>,
    /// Qdrant 1.19 takes an empty key for none (its `src/settings.rs:352`). Anywhere else an empty
    /// value is a mistake: a template parameter that resolved to nothing must not become a default.
    pub(super) empty_is_unset: bool,
    /// One sentence.
    pub(super) doc: &'static str,
}

/// What is common to variables of all types.
pub(super) trait Declared: Sync {
    fn name(&self) -> &'static str;
    fn group(&self) -> Group;
    fn doc(&self) -> &'static str;
    /// The kind of value in a word or two.
    fn kind(&self) -> &'static str;
    /// What to write, in words that follow "give".
    fn form(&self) -> &'static str;
    /// The default as one would write it; `None` when there is none.
    fn default_text(&self) -> Option<String>;
    fn derived(&self) -> Option<&'static str>;
}

impl<T: Value + 'static> Declared for Var<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn group(&self) -> Group {
        self.group
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn kind(&self) -> &'static str {
        T::KIND
    }
    fn form(&self) -> &'static str {
        T::FORM
    }
    fn default_text(&self) -> Option<String> {
        (self.default)().show()
    }
    fn derived(&self) -> Option<&'static str> {
        self.derived
    }
}

const fn var<T>(name: &'static str, group: Group, default: fn() -> T, doc: &'static str) -> Var<T> {
    Var {
        name,
        group,
        default,
        derived: None,
        empty_is_unset: false,
        doc,
    }
}

const fn derived<T>(
    name: &'static str,
    group: Group,
    how: &'static str,
    doc: &'static str,
) -> Var<Option<T>> {
    Var {
        name,
        group,
        default: || None,
        derived: Some(how),
        empty_is_unset: false,
        doc,
    }
}

const fn key(name: &'static str, doc: &'static str) -> Var<Option<Secret>> {
    Var {
        name,
        group: Group::Qdrant,
        default: || None,
        derived: None,
        empty_is_unset: true,
        doc,
    }
}

/// What ECS or an operator sets for AWS; templates leave some of them empty.
const fn aws<T>(name: &'static str, doc: &'static str) -> Var<Option<T>> {
    Var {
        name,
        group: Group::Ecs,
        default: || None,
        derived: None,
        empty_is_unset: true,
        doc,
    }
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Declares the variables and the list of all of them together, so that none can be left out.
macro_rules! variables {
    ($($const_name:ident: $type:ty = $declaration:expr;)+) => {
        $(pub(super) static $const_name: Var<$type> = $declaration;)+

        /// Every variable, in the order of the documentation.
        pub(super) static ALL: &[&dyn Declared] = &[$(&$const_name),+];
    };
}

variables! {
    CLUSTER_SIZE: u32 = var("ENTRYPOINT_CLUSTER_SIZE", Group::Cluster, || 1,
        "How many tasks the service is meant to have.");
    READY_PEERS: Option<u32> = derived("ENTRYPOINT_READY_PEERS", Group::Cluster,
        "ENTRYPOINT_CLUSTER_SIZE",
        "How many peers the first formation needs before any task is ready.");
    SERVICE: Option<Name> = derived("ENTRYPOINT_SERVICE", Group::Cluster,
        "the service name in ECS task metadata, else qdrant",
        "The name of this service, which must be the same for all of its tasks; a store or task of \
         another service is refused.");
    STACK: Option<Word> = var("ENTRYPOINT_STACK", Group::Cluster, || None,
        "Identifier of the deployment stack (for CloudFormation, its id), to tell a new stack of \
         the same name from the old one.");
    ADOPT_STORE: Option<AdoptStore> = var("ENTRYPOINT_ADOPT_STORE", Group::Cluster, || None,
        "Permission to take over a store that another stack has written, and to begin anew.");

    DNS_NAME: Option<DnsName> = var("ENTRYPOINT_DNS_NAME", Group::Discovery, || None,
        "The DNS name that lists the tasks; required when the cluster size is above 1.");
    DNS_TYPE: DnsType = var("ENTRYPOINT_DNS_TYPE", Group::Discovery, || DnsType::A,
        "Whether the name has address records or SRV records.");
    DNS_SERVER: Option<SocketAddr> = derived("ENTRYPOINT_DNS_SERVER", Group::Discovery,
        "the system's resolv.conf",
        "The DNS server to ask.");
    DNS_TIMEOUT: Duration = var("ENTRYPOINT_DNS_TIMEOUT", Group::Discovery, || ms(1_000),
        "How long one DNS question may take.");
    DNS_SETTLE: Duration = var("ENTRYPOINT_DNS_SETTLE", Group::Discovery, || ms(20_000),
        "How long an empty store and DNS answers without our own address must last before a \
         cluster is founded.");

    STORE: StoreUrl = var("ENTRYPOINT_STORE", Group::Store,
        || StoreUrl::Directory(PathBuf::from("/qdrant/snapshots/.cluster")),
        "The durable place that all tasks share, for records and snapshots: a directory, usually on \
         EFS, or a prefix of an S3 bucket.");
    STORE_TIMEOUT: Duration = var("ENTRYPOINT_STORE_TIMEOUT", Group::Store, || ms(5_000),
        "How long one call to the store may take before its result counts as unknown.");

    SETS: Sets = var("ENTRYPOINT_SETS", Group::Sets, || Sets::Off,
        "How often a set is made, such as 15m: every collection, each shard once, as native snapshots in \
         the store. Slots are whole multiples by UTC. What becomes of them when everything is lost is \
         ENTRYPOINT_RESTORE.");
    KEEP_ALL: Duration = var("ENTRYPOINT_KEEP_ALL", Group::Sets, || ms(4 * 3_600_000),
        "Of how long every set is kept, counted in sets: four hours are 16 of a quarter of an hour.");
    KEEP_HOURLY: u32 = var("ENTRYPOINT_KEEP_HOURLY", Group::Sets, || 24,
        "Of how many hours that have one the newest set is kept.");
    KEEP_DAILY: u32 = var("ENTRYPOINT_KEEP_DAILY", Group::Sets, || 30,
        "Of how many days.");
    KEEP_MONTHLY: u32 = var("ENTRYPOINT_KEEP_MONTHLY", Group::Sets, || 12,
        "Of how many months.");
    PROOF: Proof = var("ENTRYPOINT_PROOF", Group::Sets, || Proof::Every(Duration::from_secs(60)),
        "How long after one proof of a set the next may begin. The newest set is read first, then single \
         shards of it are restored into a scratch Qdrant and compared, each again after 360 of these \
         pauses; every set is read again after 43,200 of them (six hours and thirty days with 1m). \
         off proves nothing by schedule.");

    QDRANT_BIN: PathBuf = var("ENTRYPOINT_QDRANT_BIN", Group::Process,
        || PathBuf::from("/qdrant/qdrant"),
        "The Qdrant program to run.");
    CONTROL_PORT: u16 = var("ENTRYPOINT_CONTROL_PORT", Group::Process, || 6336,
        "The port of /livez, /readyz, /metrics and /v1/*.");
    BIND: IpAddr = var("ENTRYPOINT_BIND", Group::Process, || IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "The address that the control port listens on.");

    ADDRESS: Option<IpAddr> = derived("ENTRYPOINT_ADDRESS", Group::Identity,
        "task metadata, else the only network interface",
        "The address at which other tasks reach this one.");
    ZONE: Option<Word> = derived("ENTRYPOINT_ZONE", Group::Identity, "task metadata, else none",
        "The Availability Zone of this task.");
    TASK_ID: Option<Name> = derived("ENTRYPOINT_TASK_ID", Group::Identity,
        "task metadata, else the host name",
        "The id of this task, which no other task may ever have.");
    REVISION: Option<Word> = derived("ENTRYPOINT_REVISION", Group::Identity,
        "task metadata, else none",
        "The task definition as family:revision.");

    ROUND: Duration = var("ENTRYPOINT_ROUND", Group::Timing, || ms(100),
        "The pause between two rounds of observing and deciding while the cluster forms.");
    BEAT: Duration = var("ENTRYPOINT_BEAT", Group::Timing, || ms(2_000),
        "The pause between two rounds, and two signs of life in the store, of a settled member.");
    CLAIM_TIMEOUT: Duration = var("ENTRYPOINT_CLAIM_TIMEOUT", Group::Timing, || ms(60_000),
        "How long the founder's sign of life may stand still before another task abandons its \
         claim.");
    LOSS_TIMEOUT: Duration = var("ENTRYPOINT_LOSS_TIMEOUT", Group::Timing, || ms(240_000),
        "How long every member must have been silent before the whole cluster counts as lost.");
    PROBE_TIMEOUT: Duration = var("ENTRYPOINT_PROBE_TIMEOUT", Group::Timing, || ms(1_000),
        "How long one question to a Qdrant or to another task may take.");

    HEAL: Heal = var("ENTRYPOINT_HEAL", Group::Healing, || Heal::Act,
        "What the task beside Raft's leader does for the cluster: bring copies back, take dead peers \
         out, keep zones apart. With dry-run it says what it would do and changes nothing, and no task \
         asks ECS for protection, which would hold up every deployment.");
    REQUORUM: Requorum = var("ENTRYPOINT_REQUORUM", Group::Healing, || Requorum::Auto,
        "What the survivors of a lost majority do when all others have been silent for the loss \
         time-out: auto goes on without them, with the data that is left; wait calls a person. Either \
         way an alarm says so.");
    RESTORE: Restore = var("ENTRYPOINT_RESTORE", Group::Healing, || Restore::Auto,
        "What is done when the whole cluster was lost, all its members silent for the loss time-out, and \
         snapshot sets exist: auto begins a new cluster for what the newest hold, and none of its tasks is \
         ready before they are restored; wait founds nothing and calls a person.");
    COPIES: Option<Copies> = derived("ENTRYPOINT_COPIES", Group::Healing,
        "QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR, else 3",
        "How many copies of every shard there should be. The replication factor of a collection that \
         asks for fewer is raised to it (at most to the number of tasks) and the copies are made; \
         off leaves collections as they are.");
    GONE_TIMEOUT: Duration = var("ENTRYPOINT_GONE_TIMEOUT", Group::Healing, || ms(20_000),
        "How long a peer must have been silent before it counts as gone. A second witness must say \
         so too: its beat in the store, DNS, or another task at its address.");
    LOST_COPY_TIMEOUT: Duration = var("ENTRYPOINT_LOST_COPY_TIMEOUT", Group::Healing, || ms(900_000),
        "How long a gone peer with the last copy of a shard is kept for. Then the loss is recorded \
         and the peer removed.");
    REPLACEMENT_WAIT: Duration = var("ENTRYPOINT_REPLACEMENT_WAIT", Group::Healing, || ms(180_000),
        "How long a missing copy waits for the replacement task before another gets it. The second to \
         last copy waits for nobody.");
    RELEASE_TIMEOUT: Duration = var("ENTRYPOINT_RELEASE_TIMEOUT", Group::Healing, || ms(600_000),
        "How long a task that was emptied for ECS waits for its end; longer than the deregistration \
         delay of the load balancer and the stop time-out together. Then it takes copies again.");
    DIVERGENCE_INTERVAL: Duration = var("ENTRYPOINT_DIVERGENCE_INTERVAL", Group::Healing,
        || ms(300_000),
        "How often the copies of every shard are counted and compared. What differs at rest again and \
         again is an alarm; nothing is repaired.");

    STOP_TIMEOUT: Duration = var("ENTRYPOINT_STOP_TIMEOUT", Group::Stopping, || ms(30_000),
        "The time from SIGTERM until ECS kills the task: the same value as stopTimeout in the task \
         definition.");
    STOP_MARGIN: Duration = var("ENTRYPOINT_STOP_MARGIN", Group::Stopping, || ms(3_000),
        "How long before that Qdrant is killed if it has not ended by itself.");
    STOP_LINGER: Option<Duration> = derived("ENTRYPOINT_STOP_LINGER", Group::Stopping,
        "5s; 0s when ENTRYPOINT_CLUSTER_SIZE is 1",
        "How long after SIGTERM the task goes on serving, for clients that still have its address.");
    RESTART_MIN: Duration = var("ENTRYPOINT_RESTART_MIN", Group::Stopping, || ms(500),
        "The first pause before Qdrant is started again after it ended unasked.");
    RESTART_MAX: Duration = var("ENTRYPOINT_RESTART_MAX", Group::Stopping, || ms(30_000),
        "The longest such pause.");

    LOG: LogFormat = var("ENTRYPOINT_LOG", Group::Logs, || LogFormat::Json,
        "The form of the entrypoint's own log lines.");
    LOG_LEVEL: LogLevel = var("ENTRYPOINT_LOG_LEVEL", Group::Logs, || LogLevel::Info,
        "The least important lines of its own that the entrypoint logs.");

    PROTECTION: Auto = var("ENTRYPOINT_PROTECTION", Group::Ecs, || Auto::Auto,
        "Whether a task that holds data asks ECS not to stop it for a deployment or a smaller count; \
         auto does so where ECS_AGENT_URI is set.");
    PROTECTION_MINUTES: u32 = var("ENTRYPOINT_PROTECTION_MINUTES", Group::Ecs, || 10,
        "For how many minutes protection is asked for at a time; it is renewed after a third of them.");
    AGENT_URI: Option<reqwest::Url> = var("ECS_AGENT_URI", Group::Ecs, || None,
        "Where the ECS agent serves task protection; ECS sets it in every container, nobody else \
         should.");
    ECS_API: Auto = var("ENTRYPOINT_ECS_API", Group::Ecs, || Auto::Auto,
        "Whether the API of ECS is asked which revision and how many tasks are wanted; auto does so \
         where a region and credentials are in the environment. It needs ecs:DescribeServices; \
         without it the tasks go by what they say of themselves.");
    ECS_POLL: Duration = var("ENTRYPOINT_ECS_POLL", Group::Ecs, || ms(15_000),
        "The pause between two such questions beside Raft's leader; the others ask four times less \
         often. An answer is forgotten after three pauses.");
    AWS_REGION: Option<Word> = aws("AWS_REGION",
        "The region of the bucket and of the API; ECS sets it on Fargate. The API does without it, by \
         the task's ARN.");
    AWS_ENDPOINT_URL_ECS: Option<Word> = aws("AWS_ENDPOINT_URL_ECS",
        "Another endpoint of the API, as http:// or https:// URL.");
    AWS_ENDPOINT_URL_S3: Option<Word> = aws("AWS_ENDPOINT_URL_S3",
        "Another S3 than Amazon's, as http:// or https:// URL without the bucket.");
    AWS_CREDENTIALS_PATH: Option<Word> = aws("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "Where ECS serves the credentials of the task role; ECS sets it.");
    AWS_CREDENTIALS_URL: Option<reqwest::Url> = aws("AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "The same as a whole URL.");
    AWS_CREDENTIALS_TOKEN: Option<Secret> = aws("AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "What that URL wants to see.");
    AWS_KEY_ID: Option<Secret> = aws("AWS_ACCESS_KEY_ID",
        "Credentials from the environment, where there is no task role.");
    AWS_SECRET_KEY: Option<Secret> = aws("AWS_SECRET_ACCESS_KEY", "Their secret.");
    AWS_SESSION_TOKEN: Option<Secret> = aws("AWS_SESSION_TOKEN", "Their session, if they have one.");
    METADATA_URI: Option<reqwest::Url> = var("ECS_CONTAINER_METADATA_URI_V4", Group::Ecs, || None,
        "Where task metadata is served; ECS sets it in every container, nobody else should.");

    QDRANT_API_KEY: Option<Secret> = key("QDRANT__SERVICE__API_KEY",
        "The key for every request to Qdrant, to other tasks and to our own /v1/*.");
    QDRANT_ALT_API_KEY: Option<Secret> = key("QDRANT__SERVICE__ALT_API_KEY",
        "A second key that is accepted too, for changing the key without a gap.");
    QDRANT_HOST: IpAddr = var("QDRANT__SERVICE__HOST", Group::Qdrant,
        || IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "The address that Qdrant listens on; the entrypoint asks its Qdrant there.");
    QDRANT_HTTP_PORT: u16 = var("QDRANT__SERVICE__HTTP_PORT", Group::Qdrant, || 6333,
        "The port of Qdrant's REST API, through which the entrypoint observes it.");
    QDRANT_GRPC_PORT: u16 = var("QDRANT__SERVICE__GRPC_PORT", Group::Qdrant, || 6334,
        "The port of Qdrant's gRPC API, read only to see that the ports differ.");
    QDRANT_P2P_PORT: u16 = var("QDRANT__CLUSTER__P2P__PORT", Group::Qdrant, || 6335,
        "The port between peers, part of the URI under which this peer is known.");
    QDRANT_STORAGE_PATH: PathBuf = var("QDRANT__STORAGE__STORAGE_PATH", Group::Qdrant,
        || PathBuf::from("./storage"),
        "The data directory; the entrypoint keeps its own records in .entrypoint inside it.");
    QDRANT_SNAPSHOTS_PATH: PathBuf = var("QDRANT__STORAGE__SNAPSHOTS_PATH", Group::Qdrant,
        || PathBuf::from("./snapshots"),
        "The directory for Qdrant's own snapshots, which tasks may share; read only to see what lies \
         in it.");
    QDRANT_TEMP_PATH: Option<PathBuf> = derived("QDRANT__STORAGE__TEMP_PATH", Group::Qdrant,
        "set by the entrypoint, see below",
        "The directory for temporary files, this task's own; read only to see what lies in it.");
    QDRANT_REPLICATION_FACTOR: Option<u32> = derived(
        "QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR", Group::Qdrant,
        "set by the entrypoint, see below",
        "The copies of collections that are created without a number; where you set it, it is also \
         the default of ENTRYPOINT_COPIES.");
    QDRANT_CLUSTER_ENABLED: bool = var("QDRANT__CLUSTER__ENABLED", Group::Qdrant, || true,
        "Distributed mode, without which there is no cluster; false is refused.");
    QDRANT_ENABLE_TLS: bool = var("QDRANT__SERVICE__ENABLE_TLS", Group::Qdrant, || false,
        "TLS on Qdrant's own ports, which the entrypoint does not speak yet; true is refused.");
    QDRANT_P2P_TLS: bool = var("QDRANT__CLUSTER__P2P__ENABLE_TLS", Group::Qdrant, || false,
        "TLS between peers, for which the entrypoint does not form URIs yet; true is refused.");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Config, Source};
    use super::*;

    #[test]
    fn every_variable_is_read_once_and_in_order() {
        let config = Config::from_env(&BTreeMap::<String, String>::new()).unwrap();
        let read: Vec<_> = config
            .effective
            .iter()
            .map(|effective| effective.name)
            .collect();
        let declared: Vec<_> = ALL.iter().map(|var| var.name()).collect();
        assert_eq!(read, declared);
    }

    #[test]
    fn every_default_can_be_set_as_it_is_documented() {
        let defaults: BTreeMap<_, _> = ALL
            .iter()
            .filter_map(|var| Some((var.name().to_owned(), var.default_text()?)))
            .collect();
        assert!(defaults.len() > 20, "{defaults:?}");
        let set = Config::from_env(&defaults).unwrap();
        let unset = Config::from_env(&BTreeMap::<String, String>::new()).unwrap();
        for (set, unset) in set.effective.iter().zip(&unset.effective) {
            assert_eq!(set.value, unset.value, "{}", set.name);
            let source = if defaults.contains_key(set.name) {
                Source::Set
            } else {
                Source::Default
            };
            assert_eq!(set.source, source, "{}", set.name);
        }
    }

    #[test]
    fn sentences_fit_a_table() {
        for var in ALL {
            assert!(var.doc().ends_with('.'), "{}", var.name());
            for text in [
                var.doc(),
                var.kind(),
                var.form(),
                var.derived().unwrap_or_default(),
            ] {
                assert!(
                    !text.contains(['|', '\n']) && !text.contains("  "),
                    "{}",
                    var.name()
                );
            }
        }
    }
}
