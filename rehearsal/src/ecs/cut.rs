//! Tasks cut off from the network: packets to their addresses vanish without an answer, as from a
//! security group or a dead host. A stopped process alone still takes connections (its kernel does).
//! Owns: the packet filter's rules of one cut. Must not: know what a cluster is.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A cut; it ends when this is dropped.
#[derive(Debug)]
pub struct Cut {
    table: String,
}

impl Cut {
    /// Drops every packet to these addresses of ours.
    ///
    /// # Errors
    /// When the packet filter refuses.
    pub fn off(addresses: &[Ipv4Addr]) -> Result<Self> {
        let Some(first) = addresses.first() else {
            bail!("nobody to cut off");
        };
        // Rehearsals may run side by side, each in a range of its own.
        let table = format!(
            "rehearsal_{}",
            first.octets().map(|o| o.to_string()).join("_")
        );
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let list = list.join(", ");
        nft(&format!(
            "table ip {table} {{ chain cut {{ type filter hook input priority 0; policy accept; \
             ip daddr {{ {list} }} drop; }}\n}}\n"
        ))?;
        Ok(Self { table })
    }

    /// Why nothing can be cut off on this machine, if so.
    pub fn cannot() -> Option<String> {
        let probe = Self::off(&[Ipv4Addr::new(127, 255, 0, 1)]);
        probe.err().map(|why| format!("{why:#}"))
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // Nobody is left who could do more about a refusal; the rules name no address of others.
        let _gone = nft(&format!("delete table ip {}\n", self.table));
    }
}

fn nft(rules: &str) -> Result<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("run nft")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(rules.as_bytes())
            .context("give nft rules")?;
    }
    let Output { status, stderr, .. } = child.wait_with_output().context("wait for nft")?;
    if !status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&stderr).trim());
    }
    Ok(())
}
