//! The network interfaces and the host name of this machine. Owns which address may be taken from
//! them, and whether an address is ours.

use std::net::IpAddr;

use crate::config::Name;

/// One address of one network interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name, such as `eth0`.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// Its netmask, where there is one.
    pub netmask: Option<IpAddr>,
    /// Whether it is the loopback interface.
    pub loopback: bool,
}

/// Why the interfaces do not tell our address.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The operating system refused to list them.
    #[error("cannot list the network interfaces of this machine; set ENTRYPOINT_ADDRESS")]
    List(#[source] nix::Error),
    /// There is no IPv4 address but loopback.
    #[error("this machine has no IPv4 address beside loopback; set ENTRYPOINT_ADDRESS")]
    None,
    /// There are several.
    #[error(
        "this machine has several addresses ({found}); set ENTRYPOINT_ADDRESS to the one at \
             which the other tasks reach this one"
    )]
    Several {
        /// `interface address` pairs, separated by commas.
        found: String,
    },
}

/// Every address of every interface that is up.
pub(super) fn list() -> Result<Vec<Interface>, InterfaceError> {
    use nix::net::if_::InterfaceFlags;

    let all = nix::ifaddrs::getifaddrs().map_err(InterfaceError::List)?;
    Ok(all
        .filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|entry| {
            Some(Interface {
                address: ip(entry.address.as_ref()?)?,
                netmask: entry.netmask.as_ref().and_then(ip),
                loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
                name: entry.interface_name,
            })
        })
        .collect())
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()))
    })
}

/// Whether this machine holds the address. Linux answers for every address of a loopback interface's
/// IPv4 network (127.0.0.0/8), not only for the one that is listed.
pub(super) fn holds(interfaces: &[Interface], address: IpAddr) -> bool {
    interfaces.iter().any(|interface| {
        interface.address == address
            || (interface.loopback
                && match (interface.address, interface.netmask, address) {
                    (IpAddr::V4(own), Some(IpAddr::V4(mask)), IpAddr::V4(address)) => {
                        own.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
                    }
                    _ => false,
                })
    })
}

/// The only IPv4 address that is not loopback or link-local.
pub(super) fn only_address(interfaces: &[Interface]) -> Result<IpAddr, InterfaceError> {
    let mut usable = interfaces
        .iter()
        .filter(|interface| !interface.loopback)
        .filter(|interface| match interface.address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(_) => false,
        });
    match (usable.next(), usable.next()) {
        (None, _) => Err(InterfaceError::None),
        (Some(only), None) => Ok(only.address),
        (Some(first), Some(second)) => {
            let found: Vec<_> = [first, second]
                .into_iter()
                .chain(usable)
                .map(|interface| format!("{} {}", interface.name, interface.address))
                .collect();
            Err(InterfaceError::Several {
                found: found.join(", "),
            })
        }
    }
}

/// The host name, unless it is one that many machines have or that is no name for a task.
pub(super) fn hostname() -> Option<Name> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    task_name(&text)
}

fn task_name(hostname: &str) -> Option<Name> {
    let name = Name::new(hostname.trim())?;
    let common = ["localhost", "localhost.localdomain"].contains(&name.as_str());
    (!common).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, address: &str, netmask: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            netmask: Some(netmask.parse().unwrap()),
            loopback: name == "lo",
        }
    }

    fn lo() -> Interface {
        interface("lo", "127.0.0.1", "255.0.0.0")
    }

    #[test]
    fn an_address_is_ours_when_listed_or_loopback() {
        let own = [lo(), interface("eth0", "10.0.1.5", "255.255.255.0")];
        for (address, expected) in [
            ("10.0.1.5", true),
            ("127.0.3.4", true),
            ("10.0.1.6", false), // A neighbour in our network.
            ("128.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(holds(&own, address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn only_one_address_can_be_chosen() {
        let eth0 = interface("eth0", "10.0.1.5", "255.255.255.0");
        let local = interface("eth9", "169.254.172.2", "255.255.252.0");
        assert_eq!(
            only_address(&[lo(), local, eth0.clone()]).unwrap(),
            eth0.address
        );
        assert!(matches!(only_address(&[lo()]), Err(InterfaceError::None)));
        let error = only_address(&[eth0, lo(), interface("eth1", "10.0.2.5", "255.255.255.0")]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "this machine has several addresses (eth0 10.0.1.5, eth1 10.0.2.5); set \
             ENTRYPOINT_ADDRESS to the one at which the other tasks reach this one"
        );
    }

    #[test]
    fn this_machine_can_be_asked() {
        let own = list().unwrap();
        assert!(holds(&own, "127.0.0.1".parse().unwrap()), "{own:?}");
        assert!(!holds(&own, "192.0.2.1".parse().unwrap()), "{own:?}");
    }

    #[test]
    fn host_names() {
        assert_eq!(task_name("c0ffee123456\n"), Name::new("c0ffee123456"));
        for bad in ["localhost\n", "", "\n", "a b", "../x"] {
            assert_eq!(task_name(bad), None, "{bad:?}");
        }
    }
}
