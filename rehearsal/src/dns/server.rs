//! The sockets of one view: reads questions, asks the registry, writes answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_server::net::NetError;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::ProtoError;
use hickory_server::proto::op::{
    Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode,
};
use hickory_server::proto::rr::rdata::{SOA, SRV};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use super::behaviour::Behaviour;
use super::registry::Registry;
use super::zone::{Kind, Question, Reply};

/// How long a TCP connection may stay without a question.
const TCP_IDLE: Duration = Duration::from_secs(5);

/// Answers waiting to be written per TCP connection.
const TCP_BUFFER: usize = 16;

/// Tries to find a port that is free for UDP and TCP alike, when any will do.
const PORT_TRIES: u32 = 20;

/// Largest answer by UDP for clients that allow more than 512 bytes (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// Why a server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error("opening a DNS server at {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// A running DNS server. Dropping it closes its sockets.
pub struct Server {
    address: SocketAddr,
    inner: hickory_server::Server<Handler>,
}

impl Server {
    /// Opens a server for a view of the registry. Port 0 takes a free one.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(
        address: SocketAddr,
        registry: Registry,
        view: &str,
    ) -> Result<Self, ServerError> {
        let (udp, tcp) = sockets(address)
            .await
            .map_err(|source| ServerError::Bind { address, source })?;
        let address = udp
            .local_addr()
            .map_err(|source| ServerError::Bind { address, source })?;
        let mut inner = hickory_server::Server::new(Handler {
            registry,
            view: view.to_owned(),
        });
        inner.register_socket(udp);
        inner.register_listener(tcp, TCP_IDLE, TCP_BUFFER);
        Ok(Self { address, inner })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the sockets and waits until they are closed, so that the address can be had again.
    pub async fn stop(mut self) {
        if let Err(error) = self.inner.shutdown_gracefully().await {
            tracing::warn!(%error, address = %self.address, "closing a DNS server");
        }
    }
}

async fn sockets(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 1;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error)
                if address.port() == 0
                    && tries < PORT_TRIES
                    && error.kind() == io::ErrorKind::AddrInUse =>
            {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Handler {
    registry: Registry,
    view: String,
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        response: R,
    ) -> ResponseInfo {
        match self.respond(request, response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!(%error, view = self.view, "answering a DNS question");
                unsent(request)
            }
        }
    }
}

impl Handler {
    async fn respond<R: ResponseHandler>(
        &self,
        request: &Request,
        mut response: R,
    ) -> Result<ResponseInfo, NetError> {
        let builder = MessageResponseBuilder::from_message_request(request);
        let (Ok(info), OpCode::Query) = (request.request_info(), request.metadata.op_code) else {
            let reply = builder.error_msg(&request.metadata, ResponseCode::NotImp);
            return response.send_response(reply).await;
        };
        let asked = info.query.original().name();
        let question = Question {
            client: info.src.ip(),
            name: asked.to_lowercase().to_string(),
            kind: match info.query.query_type() {
                RecordType::A => Kind::A,
                RecordType::AAAA => Kind::Aaaa,
                RecordType::SRV => Kind::Srv,
                _ => Kind::Other,
            },
            tcp: info.protocol == Protocol::Tcp,
        };
        let (reply, behaviour) = self.registry.answer(&self.view, question);

        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        metadata.response_code = match reply {
            Reply::NxDomain => ResponseCode::NXDomain,
            Reply::ServFail => ResponseCode::ServFail,
            Reply::Refused => ResponseCode::Refused,
            _ => ResponseCode::NoError,
        };
        metadata.truncation = reply == Reply::Truncated;
        let answers = match &reply {
            Reply::Silent => return Ok(unsent(request)),
            Reply::Addresses(addresses) => addresses
                .iter()
                .map(|ip| record(asked, behaviour.ttl, RData::from(*ip)))
                .collect(),
            Reply::Targets(tasks) => tasks
                .iter()
                .map(|task| {
                    let target = self.registry.service().prepend_label(task.as_str())?;
                    // Cloud Map writes priority 1 and weight 1 (AWS: Cloud Map API DnsRecord).
                    let srv = SRV::new(1, 1, self.registry.port(), target);
                    Ok(record(asked, behaviour.ttl, RData::SRV(srv)))
                })
                .collect::<Result<Vec<_>, ProtoError>>()?,
            _ => Vec::new(),
        };
        let soa = match reply {
            Reply::NxDomain | Reply::NoRecords => Some(self.soa(&behaviour)),
            _ => None,
        };

        let mut edns = Edns::new();
        let mut builder = builder;
        if let Some(theirs) = &request.edns {
            edns.set_max_payload(theirs.max_payload().min(UDP_PAYLOAD));
            builder.edns(&edns);
        }
        let reply = builder.build(metadata, &answers, None, soa.as_ref(), None);
        response.send_response(reply).await
    }

    fn soa(&self, behaviour: &Behaviour) -> Record {
        let zone = self.registry.service().base_name();
        let soa = SOA::new(
            zone.clone(),
            zone.clone(),
            1,
            7200,
            900,
            1_209_600,
            seconds(behaviour.negative_ttl),
        );
        record(&zone, behaviour.negative_ttl, RData::SOA(soa))
    }
}

fn record(name: &Name, ttl: Duration, data: RData) -> Record {
    Record::from_rdata(name.clone(), seconds(ttl), data)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// What the library wants to know about an answer that was not sent.
fn unsent(request: &Request) -> ResponseInfo {
    let metadata = Metadata::new(
        request.metadata.id,
        MessageType::Response,
        request.metadata.op_code,
    );
    ResponseInfo::from(Header {
        metadata,
        counts: HeaderCounts::default(),
    })
}
