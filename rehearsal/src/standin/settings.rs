//! Flags and environment of the stand-in, named and refused as Qdrant's are (src/main.rs:77-139).
//! Reads from an injected map; unknown `QDRANT__…` are ignored.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our own p2p address.
    pub uri: Option<Uri>,
    /// The peer to join through; `None` founds or restarts.
    pub bootstrap: Option<Uri>,
    /// `--reinit`.
    pub reinit: bool,
    /// Address to bind.
    pub host: IpAddr,
    /// REST port.
    pub http_port: u16,
    /// gRPC port; it only accepts and hangs up.
    pub grpc_port: u16,
    /// Port between peers.
    pub p2p_port: u16,
    /// Key of clients, also sent to peers.
    pub api_key: Option<String>,
    /// Second accepted key.
    pub alt_api_key: Option<String>,
    /// Whether peers must show a key.
    pub enforce_internal_auth: bool,
    /// Id to take when the disk has none; `None` for a random one.
    pub peer_id: Option<u64>,
    /// Storage directory.
    pub storage: PathBuf,
    /// What is deleted at the start, whoever put it there
    /// (upstream lib/storage/src/content_manager/toc/temp_directories.rs:17).
    pub temporary: Vec<PathBuf>,
    /// Where snapshots are recovered from by name.
    pub snapshots: PathBuf,
    /// How long the copying of a shard takes.
    pub transfer: Duration,
    /// What collections get that are created without a number.
    pub collection: CollectionDefaults,
}

/// `QDRANT__STORAGE__COLLECTION__…`: what collections get that are created without a number
/// (upstream lib/segment/src/data_types/collection_defaults.rs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectionDefaults {
    /// Shards; as many as there are peers when unset.
    pub shards: Option<u64>,
    /// Copies of each shard.
    pub factor: Option<u64>,
    /// Copies that a write must reach.
    pub consistency: Option<u64>,
}

impl Settings {
    /// Whether a client's or peer's key is good.
    pub fn key_accepted(&self, given: Option<&str>) -> bool {
        let keys = [&self.api_key, &self.alt_api_key];
        keys.into_iter()
            .flatten()
            .any(|key| Some(key.as_str()) == given)
    }

    /// Whether any key is configured.
    pub fn has_key(&self) -> bool {
        self.api_key.is_some() || self.alt_api_key.is_some()
    }
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Print the version.
    Version,
    /// Serve.
    Run(Box<Settings>),
}

/// Why the command line or the environment was refused, with the exit code.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("error: {message}")]
pub struct Refused {
    /// 2 for flags (as clap), 1 for settings.
    pub code: u8,
    /// One line.
    pub message: String,
}

fn refuse(code: u8, message: String) -> Refused {
    Refused { code, message }
}

/// Read flags (without the program's name) and environment.
pub fn parse(
    args: impl IntoIterator<Item = String>,
    env: &BTreeMap<String, String>,
) -> Result<Command, Refused> {
    let mut uri = env.get("QDRANT_URI").cloned();
    let mut bootstrap = env.get("QDRANT_BOOTSTRAP").cloned();
    let mut reinit = false;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (flag, inline) = match arg.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = || {
            let missing = || refuse(2, format!("a value is required for '{flag}'"));
            inline.clone().or_else(|| args.next()).ok_or_else(missing)
        };
        match flag.as_str() {
            "--version" | "-V" => return Ok(Command::Version),
            "--uri" => uri = Some(value()?),
            "--bootstrap" => bootstrap = Some(value()?),
            "--config-path" => drop(value()?),
            "--reinit" => reinit = true,
            "--disable-telemetry" => {}
            _ => return Err(refuse(2, format!("unexpected argument '{flag}' found"))),
        }
    }
    let uri = uri
        .map(|text| parse_uri("--uri <URI>", &text))
        .transpose()?;
    let bootstrap = bootstrap
        .map(|text| parse_uri("--bootstrap <URI>", &text))
        .transpose()?;

    let get = |key: &str| env.get(key).map(String::as_str);
    if get("QDRANT__CLUSTER__ENABLED") != Some("true") {
        let why = "the stand-in only models a cluster: set QDRANT__CLUSTER__ENABLED=true";
        return Err(refuse(1, why.into()));
    }
    let storage = get("QDRANT__STORAGE__STORAGE_PATH").unwrap_or("./storage");
    let snapshots = get("QDRANT__STORAGE__SNAPSHOTS_PATH").unwrap_or("./snapshots");
    let own = bootstrap.is_some() && bootstrap == uri;
    if own {
        super::log(
            "WARN",
            "Bootstrap URI is the same as this peer URI. Consider this peer as a first in a new \
             deployment.",
        );
    }
    Ok(Command::Run(Box::new(Settings {
        uri,
        bootstrap: bootstrap.filter(|_| !own),
        reinit,
        host: read(env, "QDRANT__SERVICE__HOST", IpAddr::from([0, 0, 0, 0]))?,
        http_port: read(env, "QDRANT__SERVICE__HTTP_PORT", 6333)?,
        grpc_port: read(env, "QDRANT__SERVICE__GRPC_PORT", 6334)?,
        p2p_port: read(env, "QDRANT__CLUSTER__P2P__PORT", 6335)?,
        api_key: get("QDRANT__SERVICE__API_KEY")
            .filter(|k| !k.is_empty())
            .map(Into::into),
        alt_api_key: get("QDRANT__SERVICE__ALT_API_KEY")
            .filter(|k| !k.is_empty())
            .map(Into::into),
        enforce_internal_auth: read(env, "QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH", false)?,
        peer_id: optional(env, "QDRANT__CLUSTER__PEER_ID")?,
        storage: PathBuf::from(storage),
        temporary: [
            Some(storage),
            Some(snapshots),
            get("QDRANT__STORAGE__TEMP_PATH"),
        ]
        .into_iter()
        .flatten()
        .map(|directory| PathBuf::from(directory).join("tmp"))
        .collect(),
        snapshots: snapshots.into(),
        transfer: Duration::from_millis(read(env, "STANDIN_TRANSFER_MS", 200)?),
        collection: CollectionDefaults {
            shards: optional(env, "QDRANT__STORAGE__COLLECTION__SHARD_NUMBER")?,
            factor: optional(env, "QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR")?,
            consistency: optional(env, "QDRANT__STORAGE__COLLECTION__WRITE_CONSISTENCY_FACTOR")?,
        },
    })))
}

fn parse_uri(what: &str, text: &str) -> Result<Uri, Refused> {
    let bad = |why: String| refuse(2, format!("invalid value '{text}' for '{what}': {why}"));
    text.parse()
        .map_err(|why: axum::http::uri::InvalidUri| bad(why.to_string()))
}

fn read<T: std::str::FromStr>(
    env: &BTreeMap<String, String>,
    key: &str,
    default: T,
) -> Result<T, Refused> {
    let Some(text) = env.get(key) else {
        return Ok(default);
    };
    text.parse()
        .map_err(|_| refuse(1, format!("{key}: cannot read {text:?}")))
}

fn optional(env: &BTreeMap<String, String>, key: &str) -> Result<Option<u64>, Refused> {
    let Some(text) = env.get(key) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| refuse(1, format!("{key}: cannot read {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let cluster = ("QDRANT__CLUSTER__ENABLED", "true");
        let all = pairs.iter().chain([&cluster]);
        all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn settings(args: &[&str], env: &BTreeMap<String, String>) -> Settings {
        match parse(args.iter().map(|a| (*a).to_owned()), env) {
            Ok(Command::Run(settings)) => *settings,
            other => panic!("not a run: {other:?}"),
        }
    }

    #[test]
    fn an_empty_bootstrap_is_a_usage_error() {
        let refused = parse([], &env(&[("QDRANT_BOOTSTRAP", "")])).unwrap_err();
        assert_eq!(refused.code, 2);
    }

    #[test]
    fn bootstrap_with_our_own_address_founds() {
        let args = [
            "--uri",
            "http://127.0.0.1:6335",
            "--bootstrap=http://127.0.0.1:6335/",
        ];
        assert_eq!(settings(&args, &env(&[])).bootstrap, None);
    }

    #[test]
    fn an_empty_key_is_no_key() {
        let s = settings(&[], &env(&[("QDRANT__SERVICE__API_KEY", "")]));
        assert!(!s.has_key());
    }
}
