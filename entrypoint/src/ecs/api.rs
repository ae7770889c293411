//! One call to the API of ECS: what it wants of our service.
//!
//! `DescribeServices` of our own service, signed with the credentials of the task role. The calls
//! block; whoever makes one does so on a thread for that.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html>

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use planner::records::WantedService;
use serde::Deserialize;
use serde_json::json;

use crate::config::{Auto, Config, Printable, Secret};
use crate::identity::Identity;

/// One question, also with a slow name server before it.
const LIMIT: Duration = Duration::from_secs(5);
/// A service is described in some ten kilobytes, its last hundred events included.
const LONGEST: u64 = 1024 * 1024;
const TARGET: &str = "AmazonEC2ContainerServiceV20141113.DescribeServices";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Where ECS serves the credentials of the task role.
const CREDENTIALS_HOST: &str = "http://169.254.170.2";

/// Asks for one service.
#[derive(Clone, Debug)]
pub struct Api {
    agent: ureq::Agent,
    source: Source,
    endpoint: String,
    region: String,
    cluster: String,
    service: String,
}

/// Where credentials come from.
#[derive(Clone, Debug)]
enum Source {
    /// A URL on this machine, and what it wants to see.
    Url(String, Option<Secret>),
    /// The environment.
    Fixed(Keys),
}

#[derive(Clone, Debug)]
struct Keys {
    id: Secret,
    secret: Secret,
    token: Option<Secret>,
}

/// Why there is no answer. Every variant prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The task role's credentials cannot be had.
    #[error("the credentials of the task role: {0}")]
    Credentials(String),
    /// The request could not be signed.
    #[error("sign the request: {0}")]
    Sign(String),
    /// Nothing, or a part of an answer.
    #[error("the API of ECS does not answer: {0}")]
    Unreachable(String),
    /// It says no.
    #[error("the API of ECS refuses: {0}")]
    Refused(String),
    /// It says something else.
    #[error("the API of ECS says what cannot be understood: {0}")]
    Strange(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskRole {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    service_name: String,
    status: String,
    desired_count: u32,
    deployment_configuration: Option<Bounds>,
    #[serde(default)]
    deployments: Vec<Deployment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounds {
    maximum_percent: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    status: String,
    task_definition: String,
    running_count: Option<u32>,
    pending_count: Option<u32>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: Option<String>,
}

impl Api {
    /// The API for our own service, where configuration and metadata name all that it takes; else
    /// what is missing.
    pub fn new(config: &Config, identity: &Identity) -> Result<Self, &'static str> {
        if config.ecs_api == Auto::Off {
            return Err("it is switched off");
        }
        let arn: Vec<&str> = identity
            .task_arn
            .as_deref()
            .map(|arn| arn.split(':').collect())
            .unwrap_or_default();
        let region = match &config.aws.region {
            Some(region) => region.as_str(),
            None => arn.get(3).copied().ok_or("no region is known")?,
        };
        let domain = match arn.get(1) {
            Some(&"aws-cn") => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        let endpoint = match &config.aws.endpoint {
            Some(endpoint) => endpoint.as_str().trim_end_matches('/').to_owned(),
            None => format!("https://ecs.{region}.{domain}"),
        };
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .max_redirects(0)
            // Credentials are served on this machine, and a proxy must not see them.
            .proxy(None)
            .build();
        Ok(Self {
            agent: agent.into(),
            source: source(config).ok_or("no credentials of a task role are in the environment")?,
            endpoint,
            region: region.to_owned(),
            cluster: identity.cluster.clone().ok_or("no cluster is known")?,
            service: identity
                .ecs_service
                .clone()
                .ok_or("task metadata names no service")?,
        })
    }

    /// What ECS wants of the service. Blocks, for some seconds at most.
    pub fn wanted(&self) -> Result<WantedService, ApiError> {
        let keys = self.keys()?;
        let url = format!("{}/", self.endpoint);
        let body = json!({"cluster": self.cluster, "services": [self.service]}).to_string();
        let mut request = self
            .agent
            .post(&url)
            .header("content-type", CONTENT_TYPE)
            .header("x-amz-target", TARGET);
        for (name, value) in self.signature(&keys, &url, &body, SystemTime::now())? {
            request = request.header(name, value);
        }
        let (status, text) = answer(request.send(&body)).map_err(ApiError::Unreachable)?;
        read(status, &text, &self.service)
    }

    fn keys(&self) -> Result<Keys, ApiError> {
        let (url, token) = match &self.source {
            Source::Fixed(keys) => return Ok(keys.clone()),
            Source::Url(url, token) => (url, token),
        };
        let mut request = self.agent.get(url);
        if let Some(token) = token {
            request = request.header("authorization", token.expose());
        }
        let (status, text) = answer(request.call()).map_err(ApiError::Credentials)?;
        if status != 200 {
            return Err(ApiError::Credentials(format!(
                "an answer with status {status}"
            )));
        }
        // What serde says may quote a value, and these are secrets.
        let role: TaskRole = serde_json::from_str(&text)
            .map_err(|_| ApiError::Credentials("an answer of another shape".to_owned()))?;
        Ok(Keys {
            id: Secret::new(role.access_key_id),
            secret: Secret::new(role.secret_access_key),
            token: role.token.map(Secret::new),
        })
    }

    /// The headers that sign a request.
    fn signature(
        &self,
        keys: &Keys,
        url: &str,
        body: &str,
        now: SystemTime,
    ) -> Result<Vec<(String, String)>, ApiError> {
        let failed = |what: &dyn std::fmt::Display| ApiError::Sign(what.to_string());
        let token = keys.token.as_ref().map(|token| token.expose().to_owned());
        let (id, secret) = (keys.id.expose(), keys.secret.expose());
        let identity = Credentials::new(id, secret, token, None, "task role").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ecs")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", TARGET)];
        let body = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", url, headers.into_iter(), body)
            .map_err(|error| failed(&error))?;
        let signed = sign(request, &params).map_err(|error| failed(&error))?;
        let (instructions, _) = signed.into_parts();
        let (headers, _) = instructions.into_parts();
        Ok(headers
            .iter()
            .map(|header| (header.name().to_owned(), header.value().to_owned()))
            .collect())
    }
}

fn source(config: &Config) -> Option<Source> {
    let aws = &config.aws;
    if let Some(path) = &aws.credentials_path {
        return Some(Source::Url(
            format!("{CREDENTIALS_HOST}{}", path.as_str()),
            None,
        ));
    }
    if let Some(url) = &aws.credentials_url {
        return Some(Source::Url(url.to_string(), aws.credentials_token.clone()));
    }
    Some(Source::Fixed(Keys {
        id: aws.key_id.clone()?,
        secret: aws.secret_key.clone()?,
        token: aws.session_token.clone(),
    }))
}

fn answer(
    sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<(u16, String), String> {
    let line = |error: ureq::Error| Printable::new(&error.to_string()).as_str().to_owned();
    let mut answer = sent.map_err(line)?;
    let body = answer.body_mut().with_config().limit(LONGEST);
    let text = body.read_to_string().map_err(line)?;
    Ok((answer.status().as_u16(), text))
}

/// What an answer says of the service with this name.
fn read(status: u16, text: &str, name: &str) -> Result<WantedService, ApiError> {
    let strange = |what: String| ApiError::Strange(Printable::new(&what).as_str().to_owned());
    if status != 200 {
        let refusal: Refusal = serde_json::from_str(text)
            .map_err(|_| strange(format!("status {status} and no reason")))?;
        // Some names come with the name of their model before them.
        let kind = refusal.kind.rsplit('#').next().unwrap_or_default();
        let message = refusal.message.unwrap_or_default();
        let said = format!("{kind}: {message}");
        return Err(ApiError::Refused(Printable::new(&said).as_str().to_owned()));
    }
    let described: Described =
        serde_json::from_str(text).map_err(|error| strange(error.to_string()))?;
    let [service] = described.services.as_slice() else {
        return Err(strange(format!(
            "it describes {} services",
            described.services.len()
        )));
    };
    if service.service_name != name {
        return Err(strange(format!(
            "it describes service {}",
            service.service_name
        )));
    }
    if !matches!(service.status.as_str(), "ACTIVE" | "DRAINING") {
        return Err(strange(format!("the service is {}", service.status)));
    }
    let mut primary = service
        .deployments
        .iter()
        .filter(|one| one.status == "PRIMARY");
    let (Some(primary), None) = (primary.next(), primary.next()) else {
        return Err(strange(
            "the service has not one primary deployment".to_owned(),
        ));
    };
    let definition = &primary.task_definition;
    let revision = definition
        .split_once(":task-definition/")
        .map(|(_, revision)| revision)
        .filter(|revision| revision.contains(':'))
        .ok_or_else(|| strange(format!("its task definition is {definition}")))?;
    Ok(WantedService {
        revision: revision.to_owned(),
        tasks: service.desired_count,
        full: full(service, primary).unwrap_or(false),
    })
}

/// Whether a task of the primary deployment is missing, none is starting, and there is room for one
/// only when another ends. Nothing where the answer does not say it all. ECS rounds the upper bound
/// down.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html>
fn full(service: &Service, primary: &Deployment) -> Option<bool> {
    let desired = u64::from(service.desired_count);
    let percent = service.deployment_configuration.as_ref()?.maximum_percent?;
    let ceiling = desired * u64::from(percent) / 100;
    let (mut running, mut pending) = (0, 0);
    for deployment in &service.deployments {
        running += u64::from(deployment.running_count?);
        pending += u64::from(deployment.pending_count?);
    }
    let missing = u64::from(primary.running_count?) < desired;
    Some(missing && pending == 0 && ceiling <= desired && running >= ceiling)
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
