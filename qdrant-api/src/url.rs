//! The address of one node: owns the check that it is plain `http://host:port`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use reqwest::Url;

/// `http://host:port` of one node, without path, query or user.
///
/// Displays without a trailing slash.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// Why a text is not an address this client can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBaseUrl {
    /// The text is not a URL.
    #[error("{text:?} is not a URL of the form http://host:port")]
    NotAUrl {
        /// What was given.
        text: String,
    },
    /// The scheme is not `http`; this client is built without TLS.
    #[error("the scheme {scheme:?} is not supported, only http is")]
    NotHttp {
        /// The scheme that was given.
        scheme: String,
    },
    /// The URL has a user, a path, a query or a fragment.
    #[error("the URL of a node has only a host and a port, found more than that")]
    MoreThanAnAddress,
}

impl BaseUrl {
    /// Its port; `None` only for a URL without one that is known for its scheme.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.port_or_known_default()
    }

    /// The URL of one path and query on this node. Both are already percent-encoded; an empty
    /// query is none.
    pub(crate) fn url(&self, path: &str, query: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url.set_query((!query.is_empty()).then_some(query));
        url
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let not_a_url = || InvalidBaseUrl::NotAUrl {
            text: text.to_owned(),
        };
        // A user or password in the text must not reach the message, so look for one first.
        if text.contains('@') {
            return Err(InvalidBaseUrl::MoreThanAnAddress);
        }
        let url = Url::parse(text).map_err(|_| not_a_url())?;
        if url.scheme() != "http" {
            return Err(InvalidBaseUrl::NotHttp {
                scheme: url.scheme().to_owned(),
            });
        }
        if !url.has_host() {
            return Err(not_a_url());
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidBaseUrl::MoreThanAnAddress);
        }
        Ok(Self(url))
    }
}

impl TryFrom<SocketAddr> for BaseUrl {
    type Error = InvalidBaseUrl;

    fn try_from(address: SocketAddr) -> Result<Self, InvalidBaseUrl> {
        format!("http://{address}").parse()
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_str();
        f.write_str(text.strip_suffix('/').unwrap_or(text))
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_display_without_a_slash() {
        for (text, shown) in [
            ("http://127.0.1.1:6333", "http://127.0.1.1:6333"),
            ("http://127.0.1.1:6333/", "http://127.0.1.1:6333"),
            ("http://[::1]:6333", "http://[::1]:6333"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), shown);
        }
        let address: SocketAddr = "[::1]:6333".parse().unwrap();
        assert_eq!(
            BaseUrl::try_from(address).unwrap().to_string(),
            "http://[::1]:6333"
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let parse = |text: &str| text.parse::<BaseUrl>().unwrap_err();
        assert!(matches!(
            parse("127.0.1.1:6333"),
            InvalidBaseUrl::NotAUrl { .. }
        ));
        assert!(matches!(parse(""), InvalidBaseUrl::NotAUrl { .. }));
        assert!(matches!(
            parse("https://127.0.1.1:6333"),
            InvalidBaseUrl::NotHttp { .. }
        ));
        for more in [
            "http://a:1/path",
            "http://a:1/?q",
            "http://a:1/#f",
            "http://me:pw@a:1/",
        ] {
            assert_eq!(parse(more), InvalidBaseUrl::MoreThanAnAddress, "{more}");
        }
    }
}
