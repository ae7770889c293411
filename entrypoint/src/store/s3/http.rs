//! The wire under the S3 client: the HTTP and TLS code that PID 1 has already (ureq, rustls with
//! ring), so that no second one comes into the binary, and one thing that the client cannot say.
//!
//! Calls block inside their future. They run on threads of their own ([`super::wait`]), never on
//! the async runtime.

use std::io::{ErrorKind, Read as _};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use ureq::http::header::IF_NONE_MATCH;
use ureq::http::{HeaderValue, Method, Request, Response};
use ureq::{Agent, BodyReader, Timeout};

/// For finding and reaching the other side.
const CONNECT: Duration = Duration::from_secs(5);
/// For any part of a request to get through, or of an answer to come.
const SILENCE: Duration = Duration::from_secs(30);
/// An idle connection is not used again after this, since a request that finds it closed has
/// failed and may not be repeated. (S3 closes them, by observation, after 5 s or more.)
const IDLE: Duration = Duration::from_secs(3);
/// Read from an answer at once.
const CHUNK: usize = 64 * 1024;

/// Makes HTTP clients for the S3 client.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let agent = Agent::config_builder()
            .https_only(http.as_deref() != Some("true"))
            .http_status_as_error(false)
            .max_redirects(0)
            // Credentials of the task role are served on this machine, and a proxy must not see
            // them; S3 is reached through the gateway endpoint of the VPC.
            .proxy(None)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_write(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .max_idle_age(IDLE)
            .build();
        Ok(HttpClient::new(Wire {
            agent: agent.into(),
        }))
    }
}

#[derive(Debug)]
struct Wire {
    agent: Agent,
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = request.into_parts();
        let uploads = |query: &str| query.split('&').any(|pair| pair.starts_with("uploadId="));
        // The end of a multipart upload. The client ends them so that they replace what is there
        // (object_store 0.14 has the other way only for copies), and a blob is never replaced.
        // The header is not signed, nor does it have to be: SigV4 demands it of `host` and
        // `x-amz-*` only.
        if parts.method == Method::POST && parts.uri.query().is_some_and(uploads) {
            parts
                .headers
                .insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let bodiless = [Method::GET, Method::HEAD, Method::DELETE].contains(&parts.method);
        let answer = if bodiless {
            self.agent.run(Request::from_parts(parts, ()))
        } else {
            let body = whole(body).await?;
            self.agent.run(Request::from_parts(parts, body.as_ref()))
        };
        let (parts, body) = answer.map_err(named)?.into_parts();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        let body = HttpResponseBody::new(Answer(Mutex::new(reader)));
        Ok(Response::from_parts(parts, body))
    }
}

/// A body in one piece; without copying when it is one already, as the parts of uploads are.
async fn whole(mut body: HttpRequestBody) -> Result<Bytes, HttpError> {
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&piece);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

/// A body that is read as it is asked for.
struct Answer(Mutex<BodyReader<'static>>);

impl Body for Answer {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let mut chunk = vec![0; CHUNK];
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Poll::Ready(match reader.read(&mut chunk) {
            Ok(0) => None,
            Ok(length) => {
                chunk.truncate(length);
                Some(Ok(Frame::data(chunk.into())))
            }
            Err(error) => Some(Err(named(error.into()))),
        })
    }
}

/// What became of a request, in the words that decide whether the client repeats it.
fn named(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
            ErrorKind::TimedOut => HttpErrorKind::Timeout,
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => HttpErrorKind::Interrupted,
            _ => HttpErrorKind::Unknown,
        },
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
