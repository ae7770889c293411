//! The rules that span several variables. Owns each rule with its sentence for the documentation; a
//! rule looks at a configuration whose single values are all well formed.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use super::{
    Config,
    error::{ConfigError, Printable},
    vars::{self, Declared},
};

/// What the rules found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
}

/// One rule.
pub(super) struct Rule {
    /// The rule as one sentence.
    pub(super) text: &'static str,
    /// The variables it looks at. It is left out when one of them could not be read.
    uses: &'static [&'static str],
    check: fn(&Config, &mut Findings),
}

/// Applies every rule whose variables are not among the `broken`.
pub(super) fn check(config: &Config, broken: &BTreeSet<&'static str>) -> Findings {
    let mut findings = Findings::default();
    for rule in RULES
        .iter()
        .filter(|rule| !rule.uses.iter().any(|name| broken.contains(name)))
    {
        (rule.check)(config, &mut findings);
    }
    findings
}

/// Longest stop time-out on Fargate: `stopTimeout` in the ECS API's ContainerDefinition.
const FARGATE_STOP: Duration = Duration::from_secs(120);

/// Three times the 60 seconds after which an NFS request to EFS is sent again.
const EFS_SILENCE: Duration = Duration::from_secs(180);

/// Longest protection that ECS gives: `UpdateTaskProtection` in its API.
const LONGEST_PROTECTION: u32 = 2_880;

/// What Qdrant deletes at each start in its directories (1.19, `toc/temp_directories.rs:17`).
const CLEARED: &str = "tmp";

/// Every rule, in the order of the documentation.
pub(super) static RULES: &[Rule] = &[
    Rule {
        text: "More than one task needs `ENTRYPOINT_DNS_NAME`.",
        uses: &[vars::CLUSTER_SIZE.name, vars::DNS_NAME.name],
        check: |config, findings| {
            if config.cluster_size > 1 && config.dns_name.is_none() {
                findings.errors.push(ConfigError::Missing {
                    variable: vars::DNS_NAME.name,
                    problem: format!(
                        "{} tasks can find each other only by a DNS name",
                        config.cluster_size
                    ),
                    advice: "give the name under which the service registers its tasks".to_owned(),
                });
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_READY_PEERS` is at most `ENTRYPOINT_CLUSTER_SIZE`.",
        uses: &[vars::CLUSTER_SIZE.name, vars::READY_PEERS.name],
        check: |config, findings| {
            if config.ready_peers > config.cluster_size {
                findings.reject(
                    &vars::READY_PEERS,
                    config,
                    format!("more than the {} tasks of the cluster", config.cluster_size),
                    format!("give 1 to {}", config.cluster_size),
                );
            }
        },
    },
    Rule {
        text: "Every duration is above zero, except `ENTRYPOINT_STOP_MARGIN`, \
               `ENTRYPOINT_STOP_LINGER` and `ENTRYPOINT_DNS_SETTLE`.",
        uses: &[],
        check: |config, findings| {
            for (var, duration) in [
                (&vars::DNS_TIMEOUT, config.dns_timeout),
                (&vars::STORE_TIMEOUT, config.store_timeout),
                (&vars::ROUND, config.round),
                (&vars::BEAT, config.beat),
                (&vars::CLAIM_TIMEOUT, config.claim_timeout),
                (&vars::LOSS_TIMEOUT, config.loss_timeout),
                (&vars::PROBE_TIMEOUT, config.probe_timeout),
                (&vars::GONE_TIMEOUT, config.gone_timeout),
                (&vars::LOST_COPY_TIMEOUT, config.lost_copy_timeout),
                (&vars::RELEASE_TIMEOUT, config.release_timeout),
                (&vars::DIVERGENCE_INTERVAL, config.divergence_interval),
                (&vars::STOP_TIMEOUT, config.stop_timeout),
                (&vars::ECS_POLL, config.ecs_poll),
                (&vars::RESTART_MIN, config.restart_min),
                (&vars::RESTART_MAX, config.restart_max),
            ] {
                if duration.is_zero() {
                    findings.reject(var, config, "must be above zero", "give a longer duration");
                }
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_ROUND` is at most `ENTRYPOINT_BEAT`.",
        uses: &[vars::ROUND.name, vars::BEAT.name],
        check: |config, findings| {
            if config.round > config.beat {
                findings.reject(
                    &vars::ROUND,
                    config,
                    format!("longer than {} ({})", vars::BEAT.name, show(config.beat)),
                    "shorten it, or lengthen the beat",
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_CLAIM_TIMEOUT` and `ENTRYPOINT_LOSS_TIMEOUT` are longer than three times \
               `ENTRYPOINT_BEAT`.",
        uses: &[
            vars::BEAT.name,
            vars::CLAIM_TIMEOUT.name,
            vars::LOSS_TIMEOUT.name,
        ],
        check: |config, findings| {
            let three = config.beat.saturating_mul(3);
            for (var, timeout) in [
                (&vars::CLAIM_TIMEOUT, config.claim_timeout),
                (&vars::LOSS_TIMEOUT, config.loss_timeout),
            ] {
                if timeout <= three {
                    findings.reject(
                        var,
                        config,
                        format!("not longer than three beats ({})", show(three)),
                        format!("lengthen it, or shorten {}", vars::BEAT.name),
                    );
                }
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_GONE_TIMEOUT` is longer than three times `ENTRYPOINT_BEAT`, and \
               `ENTRYPOINT_LOST_COPY_TIMEOUT` at least as long.",
        uses: &[
            vars::BEAT.name,
            vars::GONE_TIMEOUT.name,
            vars::LOST_COPY_TIMEOUT.name,
        ],
        check: |config, findings| {
            let three = config.beat.saturating_mul(3);
            if config.gone_timeout <= three {
                findings.reject(
                    &vars::GONE_TIMEOUT,
                    config,
                    format!("not longer than three beats ({})", show(three)),
                    format!("lengthen it, or shorten {}", vars::BEAT.name),
                );
            }
            if config.lost_copy_timeout < config.gone_timeout {
                findings.reject(
                    &vars::LOST_COPY_TIMEOUT,
                    config,
                    format!("shorter than {}", vars::GONE_TIMEOUT.name),
                    "lengthen it: what it ends cannot be undone",
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_RELEASE_TIMEOUT` is longer than `ENTRYPOINT_STOP_TIMEOUT`.",
        uses: &[vars::STOP_TIMEOUT.name, vars::RELEASE_TIMEOUT.name],
        check: |config, findings| {
            if config.release_timeout <= config.stop_timeout {
                findings.reject(
                    &vars::RELEASE_TIMEOUT,
                    config,
                    format!(
                        "not longer than {} ({})",
                        vars::STOP_TIMEOUT.name,
                        show(config.stop_timeout)
                    ),
                    "lengthen it: a task that ECS is ending would be given copies again",
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_LOSS_TIMEOUT` is longer than `ENTRYPOINT_CLAIM_TIMEOUT`.",
        uses: &[vars::CLAIM_TIMEOUT.name, vars::LOSS_TIMEOUT.name],
        check: |config, findings| {
            if config.loss_timeout <= config.claim_timeout {
                findings.reject(
                    &vars::LOSS_TIMEOUT,
                    config,
                    format!(
                        "not longer than {} ({})",
                        vars::CLAIM_TIMEOUT.name,
                        show(config.claim_timeout)
                    ),
                    "lengthen it, or shorten the claim time-out",
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_LOSS_TIMEOUT` of 3m or less is a warning: a store on EFS can be silent \
               for three time-outs of 60 seconds.",
        uses: &[vars::LOSS_TIMEOUT.name],
        check: |config, findings| {
            if config.loss_timeout <= EFS_SILENCE {
                findings.warnings.push(format!(
                    "{}={}: a store on EFS can be silent for 3m (three time-outs of 60s), and \
                     members that live would count as lost; give more than 3m unless the store is \
                     a local directory",
                    vars::LOSS_TIMEOUT.name,
                    show(config.loss_timeout)
                ));
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_STOP_LINGER` and `ENTRYPOINT_STOP_MARGIN` together are shorter than \
               `ENTRYPOINT_STOP_TIMEOUT`.",
        uses: &[
            vars::CLUSTER_SIZE.name,
            vars::STOP_TIMEOUT.name,
            vars::STOP_MARGIN.name,
            vars::STOP_LINGER.name,
        ],
        check: |config, findings| {
            let taken = config.stop_margin.saturating_add(config.stop_linger);
            if taken >= config.stop_timeout {
                findings.reject(
                    &vars::STOP_TIMEOUT,
                    config,
                    format!(
                        "{} ({}) and {} ({}) leave Qdrant no time to stop",
                        vars::STOP_LINGER.name,
                        show(config.stop_linger),
                        vars::STOP_MARGIN.name,
                        show(config.stop_margin)
                    ),
                    "lengthen it (and stopTimeout in the task definition), or shorten these",
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_STOP_TIMEOUT` above 2m is a warning: Fargate allows no more.",
        uses: &[vars::STOP_TIMEOUT.name],
        check: |config, findings| {
            if config.stop_timeout > FARGATE_STOP {
                findings.warnings.push(format!(
                    "{}={}: Fargate kills a task 2m after SIGTERM at the latest; give at most 2m \
                     there",
                    vars::STOP_TIMEOUT.name,
                    show(config.stop_timeout)
                ));
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_PROTECTION_MINUTES` is at most 2880, the most that ECS gives.",
        uses: &[vars::PROTECTION_MINUTES.name],
        check: |config, findings| {
            if config.protection_minutes > LONGEST_PROTECTION {
                findings.reject(
                    &vars::PROTECTION_MINUTES,
                    config,
                    "longer than ECS protects a task",
                    format!("give 1 to {LONGEST_PROTECTION}"),
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_RESTART_MIN` is at most `ENTRYPOINT_RESTART_MAX`.",
        uses: &[vars::RESTART_MIN.name, vars::RESTART_MAX.name],
        check: |config, findings| {
            if config.restart_min > config.restart_max {
                findings.reject(
                    &vars::RESTART_MIN,
                    config,
                    format!(
                        "longer than {} ({})",
                        vars::RESTART_MAX.name,
                        show(config.restart_max)
                    ),
                    "shorten it, or lengthen the other",
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_CONTROL_PORT` and Qdrant's HTTP, gRPC and p2p ports all differ.",
        uses: &[
            vars::CONTROL_PORT.name,
            vars::QDRANT_HTTP_PORT.name,
            vars::QDRANT_GRPC_PORT.name,
            vars::QDRANT_P2P_PORT.name,
        ],
        check: |config, findings| {
            let qdrant = &config.qdrant;
            let mut earlier = vec![(&vars::QDRANT_HTTP_PORT, qdrant.http_port)];
            for (var, port) in [
                (&vars::QDRANT_GRPC_PORT, qdrant.grpc_port),
                (&vars::QDRANT_P2P_PORT, qdrant.p2p_port),
                (&vars::CONTROL_PORT, config.control_port),
            ] {
                if let Some((other, _)) = earlier.iter().find(|(_, taken)| *taken == port) {
                    let problem = format!("the same port as {}", other.name);
                    findings.reject(var, config, problem, "give each its own port");
                }
                earlier.push((var, port));
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_ADDRESS` is the address of one machine: neither unspecified (`0.0.0.0`, \
               `::`) nor multicast.",
        uses: &[vars::ADDRESS.name],
        check: |config, findings| {
            if config
                .address
                .is_some_and(|a| a.is_unspecified() || a.is_multicast())
            {
                findings.reject(
                    &vars::ADDRESS,
                    config,
                    "other tasks cannot reach this one there",
                    "give the address of this task's network interface",
                );
            }
        },
    },
    Rule {
        text: "`ENTRYPOINT_COPIES` above `QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR` is a \
               warning: every new collection is created with fewer copies and raised afterwards.",
        uses: &[vars::COPIES.name, vars::QDRANT_REPLICATION_FACTOR.name],
        check: |config, findings| {
            if let (Some(wanted), Some(factor)) = (config.copies.wanted(), config.new_copies)
                && factor < wanted.min(config.cluster_size)
            {
                findings.warnings.push(format!(
                    "{}={factor} is below {} ({wanted}): new collections begin with too few copies \
                     and are raised afterwards",
                    vars::QDRANT_REPLICATION_FACTOR.name,
                    vars::COPIES.name,
                ));
            }
        },
    },
    Rule {
        text: "`QDRANT__CLUSTER__ENABLED` is not false.",
        uses: &[vars::QDRANT_CLUSTER_ENABLED.name],
        check: |config, findings| {
            if !config.cluster_enabled {
                findings.reject(
                    &vars::QDRANT_CLUSTER_ENABLED,
                    config,
                    "the entrypoint orders a cluster, and one node is a cluster of one",
                    "remove it; it is set to true",
                );
            }
        },
    },
    Rule {
        text: "`QDRANT__SERVICE__ENABLE_TLS` and `QDRANT__CLUSTER__P2P__ENABLE_TLS` are not true.",
        uses: &[vars::QDRANT_ENABLE_TLS.name, vars::QDRANT_P2P_TLS.name],
        check: |config, findings| {
            for (var, on) in [
                (&vars::QDRANT_ENABLE_TLS, config.qdrant.tls),
                (&vars::QDRANT_P2P_TLS, config.p2p_tls),
            ] {
                if on {
                    findings.reject(
                        var,
                        config,
                        "not supported in this version",
                        "remove it and end HTTPS at the load balancer",
                    );
                }
            }
        },
    },
    Rule {
        text: "Qdrant's storage, snapshots and temporary directories are not inside the store, nor \
               the store or the snapshots inside its storage (paths as written; links are not \
               followed).",
        uses: &[
            vars::STORE.name,
            vars::QDRANT_STORAGE_PATH.name,
            vars::QDRANT_SNAPSHOTS_PATH.name,
            vars::QDRANT_TEMP_PATH.name,
        ],
        check: |config, findings| {
            let Some(store) = config.store.directory() else {
                return;
            };
            let storage = &config.qdrant.storage_path;
            if inside(storage, store) {
                findings.reject(
                    &vars::QDRANT_STORAGE_PATH,
                    config,
                    "inside the store, which all tasks share and which holds only our records",
                    "give a directory on the task's own disk",
                );
            } else if inside(store, storage) {
                findings.reject(
                    &vars::STORE,
                    config,
                    format!(
                        "inside Qdrant's own data ({})",
                        vars::QDRANT_STORAGE_PATH.name
                    ),
                    "give a directory that all tasks share, outside of it",
                );
            }
            if inside(&config.snapshots_path, storage) {
                findings.reject(
                    &vars::QDRANT_SNAPSHOTS_PATH,
                    config,
                    format!(
                        "inside {}, which is freed when a task starts over",
                        vars::QDRANT_STORAGE_PATH.name
                    ),
                    "give a directory outside of it",
                );
            }
            const OURS: &str = "inside the store, which holds only our records";
            const ELSEWHERE: &str = "give another directory";
            if inside(&config.snapshots_path, store) {
                findings.reject(&vars::QDRANT_SNAPSHOTS_PATH, config, OURS, ELSEWHERE);
            }
            if is_in(config.temp_path.as_deref(), store) {
                findings.reject(&vars::QDRANT_TEMP_PATH, config, OURS, ELSEWHERE);
            }
        },
    },
    Rule {
        text: "`QDRANT__STORAGE__TEMP_PATH` is not inside `QDRANT__STORAGE__SNAPSHOTS_PATH`, which \
               tasks may share, and outside of `QDRANT__STORAGE__STORAGE_PATH` it is a warning: each \
               start of a Qdrant deletes what is in there.",
        uses: &[
            vars::STORE.name,
            vars::QDRANT_STORAGE_PATH.name,
            vars::QDRANT_SNAPSHOTS_PATH.name,
            vars::QDRANT_TEMP_PATH.name,
        ],
        check: |config, findings| {
            let Some(temp) = &config.temp_path else {
                return;
            };
            let store = config.store.directory();
            if store.is_some_and(|store| inside(temp, store)) {
                // Refused above, in better words.
            } else if inside(temp, &config.snapshots_path) {
                findings.reject(
                    &vars::QDRANT_TEMP_PATH,
                    config,
                    format!(
                        "inside {} ({}), which tasks may share, and each start of a Qdrant deletes \
                         what the others have in there",
                        vars::QDRANT_SNAPSHOTS_PATH.name,
                        config.snapshots_path.display(),
                    ),
                    "remove it; a directory on the task's own disk is set",
                );
            } else if !inside(temp, &config.qdrant.storage_path) {
                findings.warnings.push(format!(
                    "{}={} is outside of {}: it must be on this task's own disk, for each start of a \
                     Qdrant deletes what is in its tmp; without it a directory beside the data is set",
                    vars::QDRANT_TEMP_PATH.name,
                    temp.display(),
                    vars::QDRANT_STORAGE_PATH.name,
                ));
            }
        },
    },
    Rule {
        text: "Neither the store nor Qdrant's storage or snapshots are in a `tmp` that Qdrant deletes \
               at each start: that of its storage, snapshots or temporary directory.",
        uses: &[
            vars::STORE.name,
            vars::QDRANT_STORAGE_PATH.name,
            vars::QDRANT_SNAPSHOTS_PATH.name,
            vars::QDRANT_TEMP_PATH.name,
        ],
        check: |config, findings| {
            let storage = config.qdrant.storage_path.as_path();
            let snapshots = config.snapshots_path.as_path();
            let temp = config.temp_path.as_deref();
            for cleared in [Some(storage), Some(snapshots), temp].into_iter().flatten() {
                let cleared = cleared.join(CLEARED);
                let kept: [(&dyn Declared, Option<&Path>); 3] = [
                    (&vars::STORE, config.store.directory()),
                    (&vars::QDRANT_STORAGE_PATH, Some(storage)),
                    (&vars::QDRANT_SNAPSHOTS_PATH, Some(snapshots)),
                ];
                let lost = kept.into_iter().filter(|(_, path)| is_in(*path, &cleared));
                for (var, _) in lost.collect::<Vec<_>>() {
                    findings.reject(
                        var,
                        config,
                        format!(
                            "inside {}, which Qdrant deletes at each start",
                            cleared.display()
                        ),
                        "give another directory",
                    );
                }
            }
        },
    },
    Rule {
        text: "A store on S3 needs `AWS_REGION`, and the credentials of a task role \
               (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`) or, where there is none, \
               `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY`.",
        uses: &[
            vars::STORE.name,
            vars::AWS_REGION.name,
            vars::AWS_CREDENTIALS_PATH.name,
            vars::AWS_KEY_ID.name,
            vars::AWS_SECRET_KEY.name,
        ],
        check: |config, findings| {
            if config.store.directory().is_some() {
                return;
            }
            let aws = &config.aws;
            if aws.region.is_none() {
                findings.errors.push(ConfigError::Missing {
                    variable: vars::AWS_REGION.name,
                    problem: "a store on S3 needs the region of its bucket".to_owned(),
                    advice: "give it, such as eu-central-1".to_owned(),
                });
            }
            let keys = [
                (&vars::AWS_KEY_ID, &aws.key_id),
                (&vars::AWS_SECRET_KEY, &aws.secret_key),
            ];
            let missing = keys.iter().find(|(_, value)| value.is_none());
            let Some((missing, _)) = missing.filter(|_| aws.credentials_path.is_none()) else {
                return;
            };
            let half = keys.iter().any(|(_, value)| value.is_some());
            let (variable, problem, advice) = match half {
                true => (
                    missing.name,
                    "one half of the credentials is there",
                    "give both, or none and a task role",
                ),
                false => (
                    vars::AWS_CREDENTIALS_PATH.name,
                    "a store on S3 needs credentials, and this task has no role",
                    "give the task definition a task role that may use the bucket",
                ),
            };
            findings.errors.push(ConfigError::Missing {
                variable,
                problem: problem.to_owned(),
                advice: advice.to_owned(),
            });
        },
    },
    Rule {
        text: "`AWS_ENDPOINT_URL_S3` is an `http://` or `https://` URL without a path; `http://` is a \
               warning.",
        uses: &[vars::STORE.name, vars::AWS_ENDPOINT_URL_S3.name],
        check: |config, findings| {
            let (None, Some(endpoint)) = (config.store.directory(), &config.aws.s3_endpoint) else {
                return;
            };
            let endpoint = endpoint.as_str();
            let url = reqwest::Url::parse(endpoint).ok();
            let url = url.filter(|url| {
                let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
                plain && url.host().is_some()
            });
            match url.as_ref().map(reqwest::Url::scheme) {
                Some("https") => {}
                Some("http") => findings.warnings.push(format!(
                    "{}={endpoint}: records and snapshots go through the network unencrypted; give \
                     an https:// URL unless it is this machine or a network of yours alone",
                    vars::AWS_ENDPOINT_URL_S3.name
                )),
                Some(_) | None => findings.reject(
                    &vars::AWS_ENDPOINT_URL_S3,
                    config,
                    "not an http:// or https:// URL of a server alone",
                    "give it without bucket, path and user, or remove it for Amazon's S3",
                ),
            }
        },
    },
];

impl Findings {
    /// Notes an error about the effective value of `var`.
    fn reject(
        &mut self,
        var: &'static dyn Declared,
        config: &Config,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let value = config
            .effective
            .iter()
            .find(|effective| effective.name == var.name());
        let value = value
            .and_then(|effective| effective.value.as_deref())
            .unwrap_or_default();
        self.errors.push(ConfigError::Invalid {
            variable: var.name(),
            value: Printable::quoted(value),
            problem: problem.into(),
            advice: advice.into(),
        });
    }
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The same of a path that need not be there.
fn is_in(path: Option<&Path>, directory: &Path) -> bool {
    path.is_some_and(|path| inside(path, directory))
}

/// Whether `path` is `directory` or below it, by their text. Relative paths start in the working
/// directory, which is Qdrant's as well.
fn inside(path: &Path, directory: &Path) -> bool {
    match (std::path::absolute(path), std::path::absolute(directory)) {
        (Ok(path), Ok(directory)) => plain(&path).starts_with(plain(&directory)),
        // An empty path, which other rules refuse, or no working directory.
        _ => false,
    }
}

/// The path without `.` and with each `..` applied to the part before it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
