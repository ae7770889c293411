//! What task metadata v4 says, read without trust. Owns the shape of the answer and which of its
//! containers is ours; asks nobody. The shape: ECS Developer Guide, "task metadata endpoint version 4
//! for Fargate"; fields are added over time and never removed.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;

use super::interface::InterfaceError;
use crate::config::{Name, Word};

/// The part of a task's metadata that we use. Absent parts are `None`: early answers are incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskMetadata {
    /// ARN of the task.
    pub task_arn: Option<String>,
    /// ARN (on Fargate) or name of the ECS cluster.
    pub cluster: Option<String>,
    /// Name of the ECS service.
    pub service: Option<Name>,
    /// Family of the task definition.
    pub family: Option<Word>,
    /// Its revision.
    pub revision_number: Option<Word>,
    /// Availability Zone.
    pub zone: Option<Word>,
    /// When the task began to pull its images; absent when it was not, or says nothing that is a time.
    pub pull_started: Option<Timestamp>,
    /// All containers, those that ECS adds included.
    pub containers: Vec<ContainerMetadata>,
    /// `DockerId` of the container that we run in, when it has been asked for.
    pub own_docker_id: Option<String>,
}

/// One container of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerMetadata {
    /// Id, unique within the task.
    pub docker_id: Option<String>,
    /// Whether it is one of the task definition's own (`Type` is `NORMAL`).
    pub normal: bool,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its addresses, IPv4 first, link-local ones left out.
    pub addresses: Vec<IpAddr>,
}

/// Why an answer of the metadata endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// No answer arrived.
    #[error("the request failed ({0})")]
    Request(String),
    /// An answer other than 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The answer is larger than any task's metadata.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// What is accepted.
        limit: usize,
    },
    /// The answer ends early.
    #[error("the answer is cut off (JSON ends in line {line} column {column})")]
    CutOff {
        /// Line of the end.
        line: usize,
        /// Column of the end.
        column: usize,
    },
    /// The answer is not JSON.
    #[error("the answer is not JSON (line {line} column {column})")]
    NotJson {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
    },
    /// The answer is JSON of another shape.
    #[error("the answer does not have the shape of task metadata v4: {what}")]
    Shape {
        /// What does not fit, and where.
        what: String,
    },
    /// Something that will appear once the task is running is not there yet.
    #[error("the answer has no {what} yet")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// The addresses in the answer are not ours.
    #[error("no network interface of this machine has the address in it ({})", list(.addresses))]
    NotLocal {
        /// The addresses in the answer.
        addresses: Vec<IpAddr>,
    },
    /// Our interfaces could not be listed, so the answer could not be checked.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

impl MetadataError {
    /// Whether asking again can help: a starting task gives incomplete answers for a while, and may
    /// list the address of another container before ours. An answer of the wrong shape stays wrong.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Request(_)
            | Self::Status(_)
            | Self::CutOff { .. }
            | Self::NotJson { .. }
            | Self::Incomplete { .. }
            | Self::NotLocal { .. }
            | Self::Interface(_) => true,
            Self::TooLarge { .. } | Self::Shape { .. } => false,
        }
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses
        .iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl TaskMetadata {
    /// The task id: what follows the last slash of the task's ARN.
    pub fn task_id(&self) -> Result<Name, MetadataError> {
        let arn = self
            .task_arn
            .as_deref()
            .ok_or(MetadataError::Incomplete { what: "TaskARN" })?;
        let (_, resource) = arn
            .split_once(":task/")
            .ok_or_else(|| shape("TaskARN", arn))?;
        let id = resource.rsplit('/').next().and_then(Name::new);
        id.filter(|_| arn.starts_with("arn:"))
            .ok_or_else(|| shape("TaskARN", arn))
    }

    /// The task definition as `family:revision`, when both are known.
    pub fn revision(&self) -> Option<String> {
        let (family, number) = (self.family.as_ref()?, self.revision_number.as_ref()?);
        Some(format!("{}:{}", family.as_str(), number.as_str()))
    }

    /// Whether the containers of the task definition have different addresses, so that it matters
    /// which of them is ours.
    pub fn is_ambiguous(&self) -> bool {
        let mut addressed = self.addressed();
        let first = addressed.next();
        addressed.any(|other| Some(&other.addresses) != first.map(|first| &first.addresses))
    }

    /// When our container was created, else when the task began to pull images, in milliseconds since
    /// 1970: by this tasks are told older from younger. Both times are of the clock of ECS.
    pub fn created(&self) -> Option<u64> {
        let own = self.own().and_then(|own| own.created);
        let created = own.or(self.pull_started)?;
        u64::try_from(created.as_millisecond()).ok()
    }

    /// The addresses of the container that we run in; any of the task's own containers when all have
    /// the same ones, as in network mode `awsvpc`.
    pub fn own_addresses(&self) -> Result<Vec<IpAddr>, MetadataError> {
        let own = self.own().ok_or(MetadataError::Incomplete {
            what: "address of this container",
        })?;
        Ok(own.addresses.clone())
    }

    fn own(&self) -> Option<&ContainerMetadata> {
        match &self.own_docker_id {
            Some(id) => self
                .addressed()
                .find(|other| other.docker_id.as_ref() == Some(id)),
            None if self.is_ambiguous() => None,
            None => self.addressed().next(),
        }
    }

    /// The task definition's own containers that have an address. ECS adds others, such as the
    /// supervisor that mounts EFS, in any place of the list.
    fn addressed(&self) -> impl Iterator<Item = &ContainerMetadata> {
        self.containers
            .iter()
            .filter(|one| one.normal && !one.addresses.is_empty())
    }
}

/// Reads the answer of `/task`.
pub fn parse_task_metadata(body: &[u8]) -> Result<TaskMetadata, MetadataError> {
    let raw: RawTask = parse(body)?;
    let containers: Result<_, _> = raw
        .containers
        .unwrap_or_default()
        .into_iter()
        .map(RawContainer::read)
        .collect();
    Ok(TaskMetadata {
        task_arn: present(raw.task_arn),
        cluster: present(raw.cluster),
        service: checked("ServiceName", raw.service_name, Name::new)?,
        family: checked("Family", raw.family, Word::new)?,
        revision_number: checked("Revision", raw.revision, Word::new)?,
        zone: checked("AvailabilityZone", raw.availability_zone, Word::new)?,
        pull_started: time(raw.pull_started_at.as_deref()),
        containers: containers?,
        own_docker_id: None,
    })
}

/// Reads the `DockerId` from the answer of the bare URI, which describes the container that asks.
pub fn parse_own_docker_id(body: &[u8]) -> Result<String, MetadataError> {
    let raw: RawContainer = parse(body)?;
    present(raw.docker_id).ok_or(MetadataError::Incomplete { what: "DockerId" })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawTask {
    #[serde(rename = "TaskARN")]
    task_arn: Option<String>,
    cluster: Option<String>,
    service_name: Option<String>,
    family: Option<String>,
    revision: Option<String>,
    availability_zone: Option<String>,
    pull_started_at: Option<String>,
    containers: Option<Vec<RawContainer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainer {
    docker_id: Option<String>,
    r#type: Option<String>,
    created_at: Option<String>,
    networks: Option<Vec<RawNetwork>>,
}

#[derive(Deserialize)]
struct RawNetwork {
    #[serde(rename = "IPv4Addresses")]
    ipv4: Option<Vec<String>>,
    #[serde(rename = "IPv6Addresses")]
    ipv6: Option<Vec<String>>,
}

impl RawContainer {
    fn read(self) -> Result<ContainerMetadata, MetadataError> {
        let mut addresses = Vec::new();
        for network in self.networks.unwrap_or_default() {
            let texts = [network.ipv4, network.ipv6].into_iter().flatten().flatten();
            for text in texts.filter(|text| !text.is_empty()) {
                let address: IpAddr = text.parse().map_err(|_| shape("address", &text))?;
                if !is_unusable(address) {
                    addresses.push(address);
                }
            }
        }
        // A stable sort: within a family the order of the network interfaces stays.
        addresses.sort_by_key(IpAddr::is_ipv6);
        let normal = self.r#type.as_deref() == Some("NORMAL");
        Ok(ContainerMetadata {
            docker_id: present(self.docker_id),
            normal,
            created: time(self.created_at.as_deref()),
            addresses,
        })
    }
}

/// Addresses at which no other machine reaches us. Loopback is not among them: a cluster on one
/// machine lives there.
fn is_unusable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    link_local || address.is_unspecified() || address.is_multicast()
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, MetadataError> {
    use serde_json::error::Category;

    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Eof => MetadataError::CutOff { line, column },
            Category::Syntax | Category::Io => MetadataError::NotJson { line, column },
            // What serde says of a shape quotes the value, which may hold line breaks.
            Category::Data => MetadataError::Shape {
                what: one_line(&error.to_string()),
            },
        }
    })
}

/// A time that cannot be read is none: nobody is refused for it.
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn checked<T>(
    field: &str,
    text: Option<String>,
    read: fn(&str) -> Option<T>,
) -> Result<Option<T>, MetadataError> {
    present(text)
        .map(|text| read(&text).ok_or_else(|| shape(field, &text)))
        .transpose()
}

fn shape(field: &str, value: &str) -> MetadataError {
    MetadataError::Shape {
        what: format!("{field} is \"{}\"", one_line(value)),
    }
}

/// Text from outside, escaped and bounded for one line.
fn one_line(text: &str) -> String {
    crate::config::Printable::new(text).as_str().to_owned()
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
pub(super) mod tests;
