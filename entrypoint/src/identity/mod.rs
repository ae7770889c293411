//! Who am I: task id, address, zone, revision, service.
//!
//! Owns how these are found: ECS task metadata where ECS gives it, else the network interface and the
//! host name, and `ENTRYPOINT_…` overrides above both. An answer that is incomplete is asked for again
//! until a limit; one that contradicts this machine is refused. Must never guess an address: peers
//! would remember it for ever.

mod fetch;
mod interface;
mod metadata;

use std::{net::IpAddr, time::Duration};

use crate::config::{Config, Name};

pub use self::{
    interface::{Interface, InterfaceError},
    metadata::{
        ContainerMetadata, MetadataError, TaskMetadata, parse_own_docker_id, parse_task_metadata,
    },
};

/// The name of the service when neither configuration nor metadata gives one.
const DEFAULT_SERVICE: &str = "qdrant";

/// Who this task is. Fixed for the life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Task id: the last part of the task's ARN, or the host name. Safe as a file name.
    pub task: String,
    /// The address at which other tasks reach this one.
    pub address: IpAddr,
    /// Availability Zone, such as `eu-central-1a`.
    pub zone: Option<String>,
    /// The task definition as `family:revision`.
    pub revision: Option<String>,
    /// When ECS created it, in milliseconds since 1970 by the clock of ECS.
    pub created: Option<u64>,
    /// Name of the service.
    pub service: String,
    /// Name of the ECS service, whatever we call ours; `None` outside a service.
    pub ecs_service: Option<String>,
    /// ARN of the task; `None` outside ECS.
    pub task_arn: Option<String>,
    /// ARN (on Fargate) or name of the ECS cluster; `None` outside ECS.
    pub cluster: Option<String>,
    /// Where the address comes from.
    pub source: IdentitySource,
}

/// Where the address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// ECS task metadata.
    Metadata,
    /// `ENTRYPOINT_ADDRESS`.
    Environment,
    /// The only network interface.
    Interface,
}

/// Why we do not know who we are. Every variant prints as one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Task metadata gave no usable answer within the limit.
    #[error(
        "no usable task metadata from {url} after {tries} tries: {last}; let ECS replace the task, \
         or outside ECS unset ECS_CONTAINER_METADATA_URI_V4"
    )]
    Metadata {
        /// Where it was asked for.
        url: String,
        /// How often.
        tries: u32,
        /// What was wrong with the last answer.
        last: MetadataError,
    },
    /// The machine's interfaces do not tell the address.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

/// What the machine itself says: an input, so that tests need no particular machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Every network interface that is up, once for each of its addresses.
    pub interfaces: Vec<Interface>,
    /// The host name, if it can be a task id.
    pub hostname: Option<Name>,
}

impl Machine {
    /// Asks the operating system.
    pub fn observe() -> Result<Self, InterfaceError> {
        Ok(Self {
            interfaces: interface::list()?,
            hostname: interface::hostname(),
        })
    }
}

/// Finds out who this task is, asking metadata again until `limit` has passed while it is incomplete.
///
/// `http` should be built without a proxy: metadata is served on a link-local address.
pub async fn discover(
    config: &Config,
    http: &reqwest::Client,
    limit: Duration,
) -> Result<Identity, IdentityError> {
    match &config.metadata_uri {
        // The interfaces are listed for each try: the task's own may appear late.
        Some(uri) => {
            fetch::until_usable(http, uri, limit, |answer| {
                from_metadata(config, answer, &Machine::observe()?)
            })
            .await
        }
        None => from_machine(config, &Machine::observe()?),
    }
}

/// The identity that a metadata answer gives on this machine.
pub fn from_metadata(
    config: &Config,
    metadata: &TaskMetadata,
    machine: &Machine,
) -> Result<Identity, MetadataError> {
    let (address, source) = match config.address {
        Some(address) => (address, IdentitySource::Environment),
        None => (own_address(metadata, machine)?, IdentitySource::Metadata),
    };
    let task = match &config.task_id {
        Some(task) => task.clone(),
        None => metadata.task_id()?,
    };
    let service = config.service.as_ref().or(metadata.service.as_ref());
    Ok(Identity {
        task: task.to_string(),
        address,
        zone: config
            .zone
            .as_ref()
            .or(metadata.zone.as_ref())
            .map(|zone| zone.as_str().to_owned()),
        revision: match &config.revision {
            Some(revision) => Some(revision.as_str().to_owned()),
            None => metadata.revision(),
        },
        created: metadata.created(),
        service: service.map_or(DEFAULT_SERVICE, Name::as_str).to_owned(),
        ecs_service: metadata.service.as_ref().map(Name::to_string),
        task_arn: metadata.task_arn.clone(),
        cluster: metadata.cluster.clone(),
        source,
    })
}

/// The identity of a process that runs outside ECS.
pub fn from_machine(config: &Config, machine: &Machine) -> Result<Identity, IdentityError> {
    let (address, source) = match config.address {
        Some(address) => (address, IdentitySource::Environment),
        None => (
            interface::only_address(&machine.interfaces)?,
            IdentitySource::Interface,
        ),
    };
    let task = config
        .task_id
        .as_ref()
        .or(machine.hostname.as_ref())
        .map_or_else(
            || format!("task-{}", uuid::Uuid::new_v4().simple()),
            Name::to_string,
        );
    Ok(Identity {
        task,
        address,
        zone: config.zone.as_ref().map(|zone| zone.as_str().to_owned()),
        revision: config
            .revision
            .as_ref()
            .map(|revision| revision.as_str().to_owned()),
        created: None,
        service: config
            .service
            .as_ref()
            .map_or(DEFAULT_SERVICE, Name::as_str)
            .to_owned(),
        ecs_service: None,
        task_arn: None,
        cluster: None,
        source,
    })
}

/// The first of the task's addresses that this machine holds, IPv4 before IPv6.
fn own_address(metadata: &TaskMetadata, machine: &Machine) -> Result<IpAddr, MetadataError> {
    let addresses = metadata.own_addresses()?;
    addresses
        .iter()
        .find(|address| interface::holds(&machine.interfaces, **address))
        .copied()
        .ok_or(MetadataError::NotLocal { addresses })
}
