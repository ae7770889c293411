//! How much disk and memory there is for a scratch Qdrant. What is not known is not there.

use std::fs;
use std::path::Path;

use planner::keep::proving::room;

use super::site::Site;
use crate::log::chain;

/// The largest file that may be restored here now.
///
/// # Errors
/// What could not be found out; for people.
pub fn here(site: &Site) -> Result<u64, String> {
    let disk = site.free().map_err(|error| chain(&error))?;
    let memory = memory(Path::new("/")).ok_or("how much memory is free cannot be read")?;
    Ok(room(disk, memory))
}

/// The memory that may be taken: what the machine has, and what the cgroup allows, which in a container is
/// at the root of its mount.
fn memory(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let available = text.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("MemAvailable:")?.trim();
        kilobytes.strip_suffix("kB")?.trim().parse::<u64>().ok()
    })?;
    let machine = available.saturating_mul(1024);
    let cgroup = root.join("sys/fs/cgroup");
    let files = [
        ("memory.max", "memory.current", "memory.stat"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    ];
    let limits = files.into_iter().filter_map(|(limit, used, stat)| {
        let number = |file: &str| {
            let text = fs::read_to_string(cgroup.join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        // "max" is no limit.
        let (limit, used) = (number(limit)?, number(used)?);
        // Pages of files that the kernel gives up first are counted as used.
        let cached = fs::read_to_string(cgroup.join(stat)).ok()?;
        let cached = cached
            .lines()
            .find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
        Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
    });
    Some(limits.min().unwrap_or(machine).min(machine))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn root(files: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const MEMINFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal: 8000 kB\nMemAvailable:    4000 kB\n",
    );

    #[test]
    fn the_least_of_machine_and_cgroup() {
        assert_eq!(memory(root(&[]).path()), None);
        assert_eq!(memory(root(&[MEMINFO]).path()), Some(4_096_000));
        let limit = |max| {
            root(&[
                MEMINFO,
                ("sys/fs/cgroup/memory.max", max),
                ("sys/fs/cgroup/memory.current", "900000\n"),
                (
                    "sys/fs/cgroup/memory.stat",
                    "anon 1\ninactive_file 400000\n",
                ),
            ])
        };
        assert_eq!(memory(limit("1000000\n").path()), Some(500_000));
        assert_eq!(memory(limit("max\n").path()), Some(4_096_000));
        assert_eq!(memory(limit("300000\n").path()), Some(0));
    }
}
