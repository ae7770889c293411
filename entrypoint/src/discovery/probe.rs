//! What lives at one address: an entrypoint that says hello, someone alive who does not, or nobody.
//!
//! A probe asks only and changes nothing. Someone alive whom we cannot read is never silence: a
//! 401, a garbled body or an open Qdrant port each is a sign of life. What we could not even ask
//! ([`Probe::Unknown`]) is no observation of the other side at all.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, stream};
use reqwest::header::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DiscoveryError;
use planner::records::Hello;

use super::hello;

/// Addresses probed at the same time by [`Prober::probe_all`].
pub const CONCURRENT_PROBES: usize = 16;

/// Longest hello that is read; a longer one is malformed.
pub const MAX_HELLO_BYTES: usize = 64 * 1024;

/// Longest text of foreign origin that is repeated in a reason.
const MAX_REASON_CHARS: usize = 200;

/// The ports of every task; the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The entrypoint's control port.
    pub control: u16,
    /// Qdrant's HTTP port.
    pub http: u16,
    /// Qdrant's port for its peers.
    pub p2p: u16,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// An entrypoint told us about itself. Nothing of it is verified here.
    Hello(Box<Hello>),
    /// Someone alive refused us (401 or 403): another API key, or not ours.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// Someone alive whom we cannot read; the text says what came.
    Malformed(String),
    /// The control port is closed or mute, but a port of Qdrant takes connections: someone alive.
    OpenQdrant {
        /// The port that is open.
        port: u16,
    },
    /// No port takes connections.
    NoAnswer {
        /// What the attempts met.
        why: Silence,
    },
    /// We could not ask (for example no free file descriptor); says nothing about the other side.
    Unknown(String),
}

/// In which way nobody answered. Where ports differ, the least certain: a time-out before
/// unreachable before refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// The host refused the connection: it is up and nobody listens.
    Refused,
    /// There is no way to the host.
    Unreachable,
    /// Nothing came back in time.
    Timeout,
}

impl Probe {
    /// Whether someone is alive there, readable or not.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Hello(_)
            | Self::Refused { .. }
            | Self::Malformed(_)
            | Self::OpenQdrant { .. } => true,
            Self::NoAnswer { .. } | Self::Unknown(_) => false,
        }
    }

    /// Whether the address was asked and nobody answered. Not the opposite of
    /// [`is_alive`](Self::is_alive): unknown is neither.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }
}

/// Probes addresses, all with the same ports, key and time-out.
#[derive(Debug, Clone)]
pub struct Prober {
    client: reqwest::Client,
    ports: Ports,
    key: Option<HeaderValue>,
    timeout: Duration,
}

/// What the question for a hello came to.
enum Heard {
    /// Something answered.
    Answer(Probe),
    /// Nothing did; the reason in one line.
    Nothing(String),
}

/// What one attempt to connect came to.
enum Knock {
    Open(u16),
    Silent(Silence),
    Failed(String),
}

/// Longer than the pause between two rounds of a calm member.
const KEEP_IDLE: Duration = Duration::from_secs(30);

impl Prober {
    /// Sets the prober up. `key` is sent as the header `api-key`; `timeout` bounds the question for
    /// a hello and each attempt to connect.
    ///
    /// # Errors
    /// A key that no HTTP header can hold.
    pub fn new(ports: Ports, key: Option<&str>, timeout: Duration) -> Result<Self, DiscoveryError> {
        let key = match key {
            Some(text) => {
                let mut value = HeaderValue::from_str(text).map_err(|_| DiscoveryError::ApiKey)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            // One kept connection to each: connecting is most of what a round costs. An answer
            // always comes from a process that lives; a connection that ended meanwhile counts as
            // somebody alive for one round, never as silence.
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(KEEP_IDLE)
            .build()
            .map_err(DiscoveryError::Client)?;
        Ok(Self {
            client,
            ports,
            key,
            timeout,
        })
    }

    /// Probes these addresses, at most [`CONCURRENT_PROBES`] at a time. A task that waits for the
    /// steward names its own address in `waits`.
    pub async fn probe_all(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
        waits: Option<IpAddr>,
    ) -> BTreeMap<IpAddr, Probe> {
        stream::iter(addresses)
            .map(|address| async move { (address, self.ask(address, waits).await) })
            .buffer_unordered(CONCURRENT_PROBES)
            .collect()
            .await
    }

    /// Probes one address. Takes at most 1¼ time-outs: the ports are knocked at beside the question
    /// for a hello, but only after a quarter of the time-out or its failure, so that healthy peers,
    /// asked every round, see one connection.
    pub async fn probe(&self, address: IpAddr) -> Probe {
        self.ask(address, None).await
    }

    async fn ask(&self, address: IpAddr, waits: Option<IpAddr>) -> Probe {
        let mut hello = pin!(self.hello(address, waits));
        let (heard, knocks) = match timeout(self.timeout / 4, &mut hello).await {
            Ok(Heard::Answer(probe)) => return probe,
            Ok(nothing) => (nothing, self.knock_all(address).await),
            Err(_) => tokio::join!(hello, self.knock_all(address)),
        };
        match heard {
            Heard::Answer(probe) => probe,
            Heard::Nothing(why) => self.without_hello(&why, knocks),
        }
    }

    async fn hello(&self, address: IpAddr, waits: Option<IpAddr>) -> Heard {
        let mut url = format!(
            "http://{}/v1/hello",
            SocketAddr::new(address, self.ports.control)
        );
        if let Some(ourselves) = waits {
            url.push_str(&format!("?waits={ourselves}"));
        }
        let mut request = self.client.get(url);
        if let Some(key) = &self.key {
            request = request.header("api-key", key.clone());
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_timeout() || error.is_builder() => {
                return Heard::Nothing(reason(error));
            }
            Err(error) => return Heard::Answer(Probe::Malformed(reason(error))),
        };
        let status = response.status().as_u16();
        match status {
            200 => {}
            401 | 403 => return Heard::Answer(Probe::Refused { status }),
            _ => {
                return Heard::Answer(Probe::Malformed(format!(
                    "its control port answered HTTP {status}"
                )));
            }
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_HELLO_BYTES => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    return Heard::Answer(Probe::Malformed(format!(
                        "its hello is longer than {MAX_HELLO_BYTES} bytes"
                    )));
                }
                Err(error) => return Heard::Answer(Probe::Malformed(reason(error))),
            }
        }
        Heard::Answer(match hello::read(&body) {
            Ok(hello) => Probe::Hello(Box::new(hello)),
            Err(why) => Probe::Malformed(shortened(&why)),
        })
    }

    async fn knock_all(&self, address: IpAddr) -> [Knock; 3] {
        let Ports { control, http, p2p } = self.ports;
        tokio::join!(
            self.knock(address, control),
            self.knock(address, http),
            self.knock(address, p2p),
        )
        .into()
    }

    async fn knock(&self, address: IpAddr, port: u16) -> Knock {
        match timeout(self.timeout, TcpStream::connect((address, port))).await {
            Err(_) => Knock::Silent(Silence::Timeout),
            Ok(Ok(_)) => Knock::Open(port),
            Ok(Err(error)) => match error.kind() {
                ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted => Knock::Silent(Silence::Refused),
                ErrorKind::TimedOut => Knock::Silent(Silence::Timeout),
                ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown => Knock::Silent(Silence::Unreachable),
                _ => Knock::Failed(format!("connecting to {address}:{port}: {error}")),
            },
        }
    }

    /// Judges an address that gave no hello (`why`) by what its ports did.
    fn without_hello(&self, why: &str, knocks: [Knock; 3]) -> Probe {
        let mut open = None;
        let mut failed = None;
        let mut silence = Silence::Refused;
        for knock in knocks {
            match knock {
                Knock::Open(port) if port == self.ports.control => {
                    return Probe::Malformed(format!(
                        "its control port takes connections and gives no answer: {why}"
                    ));
                }
                Knock::Open(port) => open = open.or(Some(port)),
                Knock::Silent(how) => silence = silence.max(how),
                Knock::Failed(why) => failed = Some(why),
            }
        }
        match (open, failed) {
            (Some(port), _) => Probe::OpenQdrant { port },
            (None, Some(why)) => Probe::Unknown(why),
            (None, None) => Probe::NoAnswer { why: silence },
        }
    }
}

/// A client's error with its causes, in one line and without the address, which the caller knows.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    shortened(&text)
}

/// Text that may hold foreign bytes, printable and of bounded length.
fn shortened(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_REASON_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
