//! The few HTTP requests of the lane. HTTP/1.0, so that the answer ends with the connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

const TIMEOUT: Duration = Duration::from_secs(3);
/// More than any answer we ask for; a server that never ends must not fill our memory.
const MAX_ANSWER: u64 = 1 << 20;

/// Asks for `path` and gives status and body.
///
/// # Errors
/// No connection, no answer in time, or none that is HTTP.
pub fn get(address: SocketAddr, path: &str, api_key: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .with_context(|| format!("connect to {address}"))?;
    stream
        .set_read_timeout(Some(TIMEOUT))
        .context("set a time-out")?;
    stream
        .set_write_timeout(Some(TIMEOUT))
        .context("set a time-out")?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\napi-key: {api_key}\r\n\r\n"
    )
    .with_context(|| format!("ask {address} for {path}"))?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER)
        .read_to_end(&mut answer)
        .with_context(|| format!("read the answer of {address} to {path}"))?;
    parse(&String::from_utf8_lossy(&answer))
        .with_context(|| format!("{address} does not answer {path} with HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_taken_apart_and_noise_is_refused() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nwait\n";
        assert_eq!(parse(answer), Some((503, "wait\n".to_owned())));
        for noise in [
            "",
            "HTTP/1.1 200 OK",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
        ] {
            assert_eq!(parse(noise), None, "{noise:?}");
        }
    }
}
