//! The client itself: owns how a request is sent, bounded in time and size, and the health calls.
//! Must not retry and must not decide anything.

use std::time::Duration;

use reqwest::{Method, Response, header, redirect};
use serde::de::DeserializeOwned;

use crate::answer;
use crate::error::ErrorKind;
use crate::request::Request;
use crate::{ApiKey, BaseUrl, Error};

/// Longest body held in memory, in bytes.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// How long an unused connection is kept. Qdrant's server closes them after 5 s (the default of
/// actix-web); staying below keeps requests off connections that are about to be closed.
const KEEP_IDLE: Duration = Duration::from_secs(3);

/// Asks one Qdrant node over REST.
///
/// Cheap to clone. Never uses a proxy, never follows a redirect, never retries.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: BaseUrl,
    api_key: Option<ApiKey>,
    timeout: Duration,
}

/// The HTTP client could not be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client")]
pub struct BuildError(#[source] reqwest::Error);

/// What `GET /readyz` said.
///
/// Once ready, a node says so for the rest of its life, whatever happens to its shards or to
/// consensus (src/common/health.rs:137-204), and it gets there only by being asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// 200: the shards of this node were healthy once.
    Ready,
    /// 503, with the text of the answer.
    NotReady(String),
}

impl Client {
    /// A client for the node at `base`. `timeout` bounds each whole call, from connecting to the
    /// last byte of the answer. `api_key` is left out where Qdrant needs none.
    ///
    /// # Errors
    /// [`BuildError`] when the HTTP client cannot be set up, which says something about this
    /// machine and nothing about the node.
    pub fn new(
        base: BaseUrl,
        api_key: Option<ApiKey>,
        timeout: Duration,
    ) -> Result<Self, BuildError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeout)
            .pool_idle_timeout(KEEP_IDLE)
            .build()
            .map_err(BuildError)?;
        Ok(Self {
            http,
            base,
            api_key,
            timeout,
        })
    }

    /// The same client with another bound for whole calls; connecting keeps the old bound.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// The same client for another node: its connections are kept in one pool.
    #[must_use]
    pub fn at(&self, base: BaseUrl) -> Self {
        Self {
            base,
            ..self.clone()
        }
    }

    /// The node this client asks.
    #[must_use]
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// `GET /readyz`, which needs no key.
    ///
    /// # Errors
    /// [`Error`] when the answer is neither 200 nor 503, or when there is none.
    pub async fn readyz(&self) -> Result<Readiness, Error> {
        match self
            .send(Request::new(Method::GET, &["readyz"]).keyless())
            .await
        {
            Ok(_) => Ok(Readiness::Ready),
            Err(error) => match error.kind() {
                ErrorKind::Status { code: 503, message } => {
                    Ok(Readiness::NotReady(message.clone()))
                }
                _ => Err(error),
            },
        }
    }

    /// `GET /healthz`, which needs no key: `Ok` means that the REST server answers, nothing more.
    ///
    /// # Errors
    /// [`Error`] when the answer is not a success or when there is none.
    pub async fn healthz(&self) -> Result<(), Error> {
        self.send(Request::new(Method::GET, &["healthz"]).keyless())
            .await
            .map(|_| ())
    }

    /// Sends `request` and parses the `result` of a success.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let answer = self.send(request).await?;
        answer::parse(answer.code, &answer.body).map_err(|kind| answer.asked.failed(kind))
    }

    /// The version of the Qdrant that answers, such as `1.19.0`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn version(&self) -> Result<String, Error> {
        let request = Request::new(Method::GET, &["telemetry"]).query("details_level", 0);
        let telemetry: Telemetry = self.ask(request).await?;
        Ok(telemetry.app.version)
    }

    /// Sends `request` and takes only `"result": true` for done.
    pub(crate) async fn ask_done(&self, request: Request) -> Result<(), Error> {
        let answer = self.send(request).await?;
        match answer::parse(answer.code, &answer.body) {
            Ok(true) => Ok(()),
            Ok(false) => Err(answer
                .asked
                .failed(ErrorKind::NotDone { code: answer.code })),
            Err(kind) => Err(answer.asked.failed(kind)),
        }
    }

    /// Sends `request` and returns the body of a success.
    async fn send(&self, request: Request) -> Result<Answer, Error> {
        let asked = self.asked(&request);
        match self.exchange(request).await {
            Ok((code, body)) => Ok(Answer { asked, code, body }),
            Err(kind) => Err(asked.failed(kind)),
        }
    }

    /// Sends `request` and gives the answer of a success whose body is still to come. The timeout
    /// bounds its head; the body may take as long as it takes.
    pub(crate) async fn begin(&self, request: Request) -> Result<(Asked, Response), Error> {
        let asked = self.asked(&request);
        let begun = async {
            let request = request.checked()?;
            let answer = tokio::time::timeout(self.timeout, self.builder(request).send());
            let response = match answer.await {
                Ok(answer) => answer.map_err(unreachable)?,
                Err(_) => {
                    return Err(ErrorKind::Late {
                        limit: self.timeout,
                    });
                }
            };
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let mut body = Vec::new();
            // The status says enough: how its body ended does not change what it means.
            let _ended = tokio::time::timeout(self.timeout, read_into(&mut body, response)).await;
            Err(answer::refusal(status.as_u16(), &body))
        };
        match begun.await {
            Ok(response) => Ok((asked, response)),
            Err(kind) => Err(asked.failed(kind)),
        }
    }

    fn asked(&self, request: &Request) -> Asked {
        Asked {
            method: request.method_name(),
            path: request.path_and_query(),
            base: self.base.clone(),
        }
    }

    fn builder(&self, request: Request) -> reqwest::RequestBuilder {
        let url = self.base.url(&request.path, &request.query);
        let mut builder = self.http.request(request.method, url);
        if let Some(key) = self.api_key.as_ref().filter(|_| !request.keyless) {
            builder = builder.header("api-key", key.header());
        }
        if let Some(body) = request.body {
            builder = builder
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        builder
    }

    async fn exchange(&self, request: Request) -> Result<(u16, Vec<u8>), ErrorKind> {
        let request = request.checked()?;
        let longest = self.timeout.saturating_add(request.extra_time);
        let answer = self.builder(request).timeout(longest).send();
        let response = answer.await.map_err(unreachable)?;
        let status = response.status();
        let code = status.as_u16();
        let mut body = Vec::new();
        let read = read_into(&mut body, response).await;
        if !status.is_success() {
            // The status says enough: how its body ended does not change what it means.
            return Err(answer::refusal(code, &body));
        }
        read.map(|()| (code, body))
    }
}

/// The body of a success and what was asked for it.
struct Answer {
    asked: Asked,
    code: u16,
    body: Vec<u8>,
}

/// What an error has to say about its call.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    method: &'static str,
    path: String,
    base: BaseUrl,
}

impl Asked {
    pub(crate) fn failed(self, kind: ErrorKind) -> Error {
        Error::new(self.method, self.path, self.base, kind)
    }
}

fn unreachable(source: reqwest::Error) -> ErrorKind {
    ErrorKind::Unreachable {
        source: source.without_url(),
    }
}

/// Reads a body piece by piece, so that no server can make this process hold more than the limit.
async fn read_into(body: &mut Vec<u8>, mut response: reqwest::Response) -> Result<(), ErrorKind> {
    let code = response.status().as_u16();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if body.len().saturating_add(piece.len()) > BODY_LIMIT => {
                return Err(ErrorKind::TooLarge {
                    code,
                    limit: BODY_LIMIT,
                });
            }
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(()),
            Err(source) => {
                return Err(ErrorKind::Interrupted {
                    code,
                    source: source.without_url(),
                });
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Telemetry {
    app: App,
}

#[derive(serde::Deserialize)]
struct App {
    version: String,
}
