//! Whether the kernel killed a process of our cgroup for lack of memory. Reads two files, no more.
//!
//! Both counters name kills of this cgroup's own processes by *any* out-of-memory killer, so a limit
//! set on the whole ECS task (a parent cgroup) is seen as well. `memory.failcnt` is not used: it counts
//! only our own cgroup's limit and also moves when nobody dies.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Whether a child was killed for lack of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oom {
    /// The cgroup's count of out-of-memory kills rose while the child lived, and SIGKILL ended it.
    Yes,
    /// Another cause.
    No,
    /// It was killed, but the cgroup's counter could not be read.
    Unknown,
}

impl Oom {
    /// Judges a child from the counters read before its start and after its end. `killed`: SIGKILL
    /// ended it and we did not send it.
    pub(super) fn judge(killed: bool, before: Option<u64>, after: Option<u64>) -> Self {
        match (killed, before, after) {
            (false, ..) => Self::No,
            (true, Some(before), Some(after)) if after > before => Self::Yes,
            (true, Some(_), Some(_)) => Self::No,
            (true, ..) => Self::Unknown,
        }
    }
}

/// Where to look; other than the default only in tests.
#[derive(Debug, Clone)]
pub struct CgroupPaths {
    /// Names our cgroups: `/proc/self/cgroup`.
    pub membership: PathBuf,
    /// Where they are mounted: `/sys/fs/cgroup`.
    pub mount: PathBuf,
}

impl Default for CgroupPaths {
    fn default() -> Self {
        Self {
            membership: "/proc/self/cgroup".into(),
            mount: "/sys/fs/cgroup".into(),
        }
    }
}

impl CgroupPaths {
    /// Out-of-memory kills in our cgroup so far. `None`: no counter could be read.
    #[must_use]
    pub fn oom_kills(&self) -> Option<u64> {
        let membership = fs::read_to_string(&self.membership).ok()?;
        let (root, path, file) = self.locate(&membership)?;
        // Without a cgroup namespace (v1 by default) the path is the host's, while the mount shows
        // our own cgroup at its root.
        [root.join(path), root]
            .iter()
            .find_map(|dir| counter(&dir.join(file)))
    }

    /// The memory hierarchy of v1 where there is one (also on hybrid hosts), else v2.
    fn locate<'a>(&self, membership: &'a str) -> Option<(PathBuf, &'a Path, &'static str)> {
        let mut v2 = None;
        for line in membership.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, Path::new(fields.next()?));
            let path = path.strip_prefix("/").unwrap_or(path);
            if path.components().any(|c| c == Component::ParentDir) {
                continue;
            }
            if controllers.split(',').any(|c| c == "memory") {
                return Some((self.mount.join("memory"), path, "memory.oom_control"));
            }
            if controllers.is_empty() {
                v2 = Some((self.mount.clone(), path, "memory.events"));
            }
        }
        v2
    }
}

fn counter(file: &Path) -> Option<u64> {
    fs::read_to_string(file)
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(membership: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, CgroupPaths) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = dir.path().join("sys").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let paths = CgroupPaths {
            membership: dir.path().join("cgroup"),
            mount: dir.path().join("sys"),
        };
        fs::write(&paths.membership, membership).unwrap();
        (dir, paths)
    }

    const EVENTS: &str = "low 0\nhigh 0\nmax 7\noom 9\noom_kill 2\noom_group_kill 5\n";
    const CONTROL: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";

    #[test]
    fn version_2_at_its_path_or_at_the_root_of_the_mount() {
        let (_d, p) = paths("0::/a/b\n", &[("a/b/memory.events", EVENTS)]);
        assert_eq!(p.oom_kills(), Some(2));
        let (_d, p) = paths("0::/elsewhere\n", &[("memory.events", EVENTS)]);
        assert_eq!(p.oom_kills(), Some(2));
    }

    #[test]
    fn version_1_wins_on_a_hybrid_host() {
        let (_d, p) = paths(
            "4:memory:/docker/x\n1:cpu,cpuacct:/\n0::/\n",
            &[
                ("memory/memory.oom_control", CONTROL),
                ("memory.events", EVENTS),
            ],
        );
        assert_eq!(p.oom_kills(), Some(3));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let (_d, p) = paths("0::/\n", &[]);
        assert_eq!(p.oom_kills(), None);
        let (_d, p) = paths("nonsense", &[("memory.events", EVENTS)]);
        assert_eq!(p.oom_kills(), None);
        let (_d, p) = paths("0::/../../etc\n", &[("memory.events", EVENTS)]);
        assert_eq!(p.oom_kills(), None);
        let old_kernel = "oom_kill_disable 0\nunder_oom 0\n";
        let (_d, p) = paths("4:memory:/\n", &[("memory/memory.oom_control", old_kernel)]);
        assert_eq!(p.oom_kills(), None);
        let (_d, mut p) = paths("0::/\n", &[("memory.events", EVENTS)]);
        p.membership = "/nonexistent".into();
        assert_eq!(p.oom_kills(), None);
    }
}
