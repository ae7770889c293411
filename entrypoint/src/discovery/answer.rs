//! What one DNS look-up told us, and how the resolver library's errors map onto that.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;

/// The observation of one look-up. Never an error: each outcome proves something different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name has these addresses, sorted, each once. Cloud Map gives at most 8 of all that are
    /// registered (AWS: `MULTIVALUE` routing, Cloud Map API `DnsConfig`), in any choice.
    Addresses(Vec<IpAddr>),
    /// Some addresses, but the answer is known to lack others: an SRV target could not be resolved.
    /// Those listed may be used; absence from this answer proves nothing.
    Partial {
        /// What could be resolved, sorted, each once; may be empty.
        addresses: Vec<IpAddr>,
        /// Which targets are missing, and why.
        why: String,
    },
    /// The name does not exist.
    NxDomain,
    /// The name exists and has no address (NODATA).
    NoRecords,
    /// The server failed (SERVFAIL).
    ServFail,
    /// The server refuses to answer us.
    Refused,
    /// Nothing came back in time.
    Timeout,
    /// The server cannot be reached; the text says why.
    Unreachable(String),
    /// Anything else that is not an answer to the question; the text says what came.
    Other(String),
}

impl Answer {
    /// Whether a complete answer to the question arrived. Only such an answer can show that a task
    /// is absent (and even that only when it holds fewer than 8 addresses).
    pub fn arrived(&self) -> bool {
        matches!(self, Self::Addresses(_) | Self::NxDomain | Self::NoRecords)
    }

    /// The addresses that were named, also by an incomplete answer; else none.
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Addresses(addresses) | Self::Partial { addresses, .. } => addresses,
            _ => &[],
        }
    }

    /// An answer with these addresses in canonical form (an IPv4 address mapped into IPv6 becomes
    /// IPv4), or `NoRecords` when there is none.
    pub(super) fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let set: BTreeSet<IpAddr> = addresses.into_iter().map(|ip| ip.to_canonical()).collect();
        if set.is_empty() {
            Self::NoRecords
        } else {
            Self::Addresses(set.into_iter().collect())
        }
    }

    /// Maps a failure of the resolver library.
    pub(super) fn from_error(error: &NetError) -> Self {
        match error {
            NetError::Timeout => Self::Timeout,
            NetError::NoConnections => Self::Unreachable("no connection to the server".into()),
            NetError::Io(error) => match error.kind() {
                std::io::ErrorKind::TimedOut => Self::Timeout,
                _ => Self::Unreachable(error.to_string()),
            },
            NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => Self::ServFail,
            NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => Self::Refused,
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => Self::NxDomain,
                // A referral says "ask someone else"; it is no statement about the name.
                ResponseCode::NoError if none.ns.is_some() && none.soa.is_none() => {
                    Self::Other("the server refers us to other name servers".into())
                }
                ResponseCode::NoError => Self::NoRecords,
                ResponseCode::ServFail => Self::ServFail,
                ResponseCode::Refused => Self::Refused,
                code => Self::Other(format!("response code {code}")),
            },
            other => Self::Other(other.to_string()),
        }
    }

    /// Unites the answers about several SRV targets into one about the service.
    pub(super) fn of_targets(targets: Vec<(String, Answer)>) -> Self {
        let mut addresses = Vec::new();
        let mut missing = Vec::new();
        for (target, answer) in targets {
            match answer {
                Self::Addresses(found) => addresses.extend(found),
                // NXDOMAIN and NODATA too: the service names this target, so somebody is registered
                // whose address we do not know (deregistration or a negative cache in between).
                answer => missing.push((target, answer)),
            }
        }
        if missing.is_empty() {
            return Self::of(addresses);
        }
        if addresses.is_empty()
            && let Some((_, first)) = missing.first()
            && !first.arrived()
            && missing.iter().all(|(_, answer)| answer == first)
        {
            return first.clone();
        }
        let why = missing
            .iter()
            .map(|(target, answer)| format!("SRV target {target}: {answer}"))
            .collect::<Vec<_>>()
            .join("; ");
        let addresses = match Self::of(addresses) {
            Self::Addresses(addresses) => addresses,
            _ => Vec::new(),
        };
        Self::Partial { addresses, why }
    }

    /// Takes out addresses that no task can have, and says which they were. An answer that held
    /// nothing else is no answer: a broken record is not proof of an empty service.
    pub(super) fn without_impossible(self) -> (Self, BTreeSet<IpAddr>) {
        let (answer, impossible) = match self {
            Self::Addresses(addresses) => {
                let (bad, good): (BTreeSet<_>, Vec<_>) = split(addresses);
                let answer = if good.is_empty() {
                    Self::Other(format!(
                        "only addresses that no task can have: {}",
                        list(&bad)
                    ))
                } else {
                    Self::Addresses(good)
                };
                (answer, bad)
            }
            Self::Partial { addresses, why } => {
                let (bad, good): (BTreeSet<_>, Vec<_>) = split(addresses);
                (
                    Self::Partial {
                        addresses: good,
                        why,
                    },
                    bad,
                )
            }
            other => (other, BTreeSet::new()),
        };
        (answer, impossible)
    }
}

fn split(addresses: Vec<IpAddr>) -> (BTreeSet<IpAddr>, Vec<IpAddr>) {
    let (bad, good): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|ip| impossible(*ip));
    (bad.into_iter().collect(), good)
}

/// Whether no single task can have this address: unspecified, multicast or broadcast.
fn impossible(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
}

/// Addresses in one line, for messages.
pub(super) fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    addresses
        .into_iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addresses) => write!(f, "{}", list(addresses)),
            Self::Partial { addresses, why } if addresses.is_empty() => {
                write!(f, "incomplete: {why}")
            }
            Self::Partial { addresses, why } => {
                write!(f, "{} (incomplete: {why})", list(addresses))
            }
            Self::NxDomain => f.write_str("the name does not exist (NXDOMAIN)"),
            Self::NoRecords => f.write_str("the name has no address"),
            Self::ServFail => f.write_str("the DNS server failed (SERVFAIL)"),
            Self::Refused => f.write_str("the DNS server refuses to answer (REFUSED)"),
            Self::Timeout => f.write_str("no DNS answer in time"),
            Self::Unreachable(why) => write!(f, "the DNS server cannot be reached: {why}"),
            Self::Other(what) => write!(f, "no usable DNS answer: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_sorted_once_each_and_canonical() {
        assert_eq!(
            Answer::of(ips(&["10.0.0.9", "::ffff:10.0.0.2", "10.0.0.2", "fd00::1"])),
            Answer::Addresses(ips(&["10.0.0.2", "10.0.0.9", "fd00::1"]))
        );
        assert_eq!(Answer::of([]), Answer::NoRecords);
    }

    #[test]
    fn only_complete_answers_have_arrived() {
        assert!(Answer::NxDomain.arrived());
        assert!(Answer::NoRecords.arrived());
        assert!(Answer::Addresses(ips(&["10.0.0.1"])).arrived());
        for answer in [
            Answer::ServFail,
            Answer::Refused,
            Answer::Timeout,
            Answer::Unreachable(String::new()),
            Answer::Other(String::new()),
            Answer::Partial {
                addresses: ips(&["10.0.0.1"]),
                why: String::new(),
            },
        ] {
            assert!(!answer.arrived(), "{answer:?}");
        }
    }

    #[test]
    fn impossible_addresses_are_taken_out_and_named() {
        let (answer, bad) = Answer::of(ips(&[
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "ff02::1",
            "10.0.0.1",
        ]))
        .without_impossible();
        assert_eq!(answer, Answer::Addresses(ips(&["10.0.0.1"])));
        assert_eq!(bad.len(), 5);

        let (answer, bad) = Answer::of(ips(&["0.0.0.0"])).without_impossible();
        assert!(!answer.arrived(), "a broken record is no proof of absence");
        assert_eq!(bad.len(), 1);
    }

    #[test]
    fn a_target_without_address_makes_the_answer_incomplete() {
        let found = || ("a.".to_owned(), Answer::Addresses(ips(&["10.0.0.1"])));
        assert_eq!(
            Answer::of_targets(vec![found()]),
            Answer::Addresses(ips(&["10.0.0.1"]))
        );
        for missing in [Answer::NxDomain, Answer::NoRecords, Answer::Timeout] {
            let answer = Answer::of_targets(vec![found(), ("b.".to_owned(), missing)]);
            assert!(!answer.arrived(), "{answer:?}");
            assert_eq!(answer.addresses(), ips(&["10.0.0.1"]));
            assert!(answer.to_string().contains("b."), "{answer}");
        }
        let none = Answer::of_targets(vec![("b.".to_owned(), Answer::NxDomain)]);
        assert!(!none.arrived() && none.addresses().is_empty(), "{none:?}");
        assert_eq!(
            Answer::of_targets(vec![
                ("a.".to_owned(), Answer::Timeout),
                ("b.".to_owned(), Answer::Timeout)
            ]),
            Answer::Timeout
        );
        assert_eq!(Answer::of_targets(Vec::new()), Answer::NoRecords);
    }
}
