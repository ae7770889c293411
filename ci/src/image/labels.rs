//! `cargo ci image labels`: does the image say of itself what it should, and will it run as it should?
//!
//! Owns what that is. The image lane asks the same of what it has built.

use anyhow::bail;
use clap::Args;

use super::archive::{Archive, Config};

/// The image's own user and group.
const USER: &str = "1000:1000";
const PREFIX: &str = "org.opencontainers.image.";

/// Which image, and what it should say.
#[derive(Args)]
pub struct Options {
    /// An OCI archive, or the name of an image that the engine has.
    image: String,
    /// A release: version, revision, creation time, source and a base by digest must be there.
    #[arg(long)]
    release: bool,
    /// Its version, `<qdrant>-<ours>`.
    #[arg(long)]
    version: Option<String>,
    /// The commit of this repository that it was built from.
    #[arg(long)]
    revision: Option<String>,
}

/// Looks at every platform's configuration.
///
/// # Errors
/// Each thing that is not as it should be, one line each.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let archive = Archive::open(&options.image)?;
    let mut found = Vec::new();
    for platform in &archive.platforms {
        let mut here = findings(&platform.config);
        here.extend(label_findings(&platform.config, options));
        found.extend(
            here.into_iter()
                .map(|line| format!("{}: {line}", platform.name)),
        );
    }
    if archive.platforms.is_empty() {
        found.push("it is for no platform".to_owned());
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n       "));
    }
    for platform in &archive.platforms {
        println!("{}", platform.name);
        for (key, value) in platform.config.labels.iter().flatten() {
            println!("  {key} = {value}");
        }
    }
    Ok(())
}

/// What of the way that it runs is not as it should be.
pub fn findings(config: &Config) -> Vec<String> {
    let keys = |map: &Option<std::collections::BTreeMap<String, serde_json::Value>>| {
        map.iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect::<Vec<_>>()
    };
    let lists = [
        (
            "Entrypoint",
            config.entrypoint.clone().unwrap_or_default(),
            vec!["/qdrant/entrypoint"],
        ),
        (
            "Healthcheck",
            config
                .healthcheck
                .as_ref()
                .map(|check| check.test.clone())
                .unwrap_or_default(),
            vec!["CMD", "/qdrant/entrypoint", "health"],
        ),
        (
            "Volumes",
            keys(&config.volumes),
            vec![
                "/qdrant/snapshots",
                "/qdrant/storage",
                "/qdrant/storage.proof",
            ],
        ),
        (
            "ExposedPorts",
            keys(&config.exposed_ports),
            vec!["6333/tcp", "6334/tcp", "6335/tcp", "6336/tcp"],
        ),
    ];
    let mut found: Vec<_> = lists
        .into_iter()
        .filter(|(_, found, wanted)| found != wanted)
        .map(|(field, found, wanted)| format!("{field} is {found:?}, wanted {wanted:?}"))
        .collect();
    for (field, value, wanted) in [
        ("User", &config.user, USER),
        ("StopSignal", &config.stop_signal, "SIGTERM"),
    ] {
        if value != wanted {
            found.push(format!("{field} is {value:?}, wanted {wanted:?}"));
        }
    }
    found
}

fn label_findings(config: &Config, options: &Options) -> Vec<String> {
    let label = |key: &str| {
        config
            .labels
            .as_ref()
            .and_then(|labels| labels.get(&format!("{PREFIX}{key}")))
            .map(String::as_str)
            .unwrap_or_default()
    };
    let mut found = Vec::new();
    let mut wanted = |key: &str, holds: bool, what: &str| {
        if !holds {
            found.push(format!("{PREFIX}{key} is {:?}, wanted {what}", label(key)));
        }
    };
    wanted("title", label("title") == "qdrant-ecs", "qdrant-ecs");
    wanted(
        "licenses",
        label("licenses") == "Apache-2.0",
        "Apache-2.0, which Qdrant's is too",
    );
    for (key, expected) in [
        ("version", &options.version),
        ("revision", &options.revision),
    ] {
        if let Some(expected) = expected {
            wanted(key, label(key) == expected, expected);
        }
    }
    if options.release {
        let version = label("version");
        wanted(
            "version",
            version
                .split_once('-')
                .is_some_and(|(qdrant, ours)| is_numbers(qdrant) && !ours.is_empty()),
            "<qdrant>-<ours>, like 1.19.0-0.1.0",
        );
        let revision = label("revision");
        let is_commit = revision.len() == 40
            && revision
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        wanted("revision", is_commit, "a whole commit");
        wanted(
            "created",
            is_time(label("created")),
            "a time like 2026-01-31T12:00:00Z",
        );
        wanted(
            "source",
            label("source").starts_with("https://"),
            "an https address",
        );
        wanted(
            "base.name",
            label("base.name").contains("@sha256:"),
            "a base by digest",
        );
    }
    found
}

fn is_numbers(version: &str) -> bool {
    version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u32>().is_ok())
}

/// The one form that our workflow writes.
fn is_time(text: &str) -> bool {
    text.len() == 20
        && text
            .bytes()
            .zip("0000-00-00T00:00:00Z".bytes())
            .all(|(found, form)| {
                if form == b'0' {
                    found.is_ascii_digit()
                } else {
                    found == form
                }
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> serde_json::Value {
        serde_json::json!({
            "User": "1000:1000", "Entrypoint": ["/qdrant/entrypoint"], "StopSignal": "SIGTERM",
            "Healthcheck": {"Test": ["CMD", "/qdrant/entrypoint", "health"]},
            "Volumes": {"/qdrant/storage": {}, "/qdrant/storage.proof": {}, "/qdrant/snapshots": {}},
            "ExposedPorts": {"6333/tcp": {}, "6334/tcp": {}, "6335/tcp": {}, "6336/tcp": {}},
            "Labels": {
                "org.opencontainers.image.title": "qdrant-ecs",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.version": "1.19.0-0.1.0",
                "org.opencontainers.image.revision": "0123456789012345678901234567890123456789",
                "org.opencontainers.image.created": "2026-01-31T12:00:00Z",
                "org.opencontainers.image.source": "https://example.com/qdrant-ecs",
                "org.opencontainers.image.base.name": "debian:13-slim@sha256:00",
            },
        })
    }

    fn of_release(config: serde_json::Value) -> Vec<String> {
        let config = serde_json::from_value(config).unwrap();
        let options = Options {
            image: String::new(),
            release: true,
            version: Some("1.19.0-0.1.0".to_owned()),
            revision: None,
        };
        let mut found = findings(&config);
        found.extend(label_findings(&config, &options));
        found
    }

    #[test]
    fn an_image_as_it_should_be_has_no_findings() {
        assert_eq!(of_release(config()), Vec::<String>::new());
    }

    #[test]
    fn root_a_shell_as_pid_1_and_a_missing_volume_are_named() {
        let mut config = config();
        config["User"] = "".into();
        config["Entrypoint"] = serde_json::json!(["/bin/sh", "-c", "/qdrant/entrypoint"]);
        config["Volumes"] = serde_json::Value::Null;
        let found = of_release(config);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_release_by_tag_or_without_its_commit_is_named() {
        let mut config = config();
        config["Labels"]["org.opencontainers.image.base.name"] = "debian:13-slim".into();
        config["Labels"]["org.opencontainers.image.revision"] = "".into();
        config["Labels"]["org.opencontainers.image.created"] = "yesterday".into();
        config["Labels"]["org.opencontainers.image.version"] = "1.19.0-0.2.0".into();
        let found = of_release(config);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
