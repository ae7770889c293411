//! Whether all copies of a shard hold the same points, one by one.
//! Owns: that judgement. Must not: ask or wait.
//!
//! Numbers of points do not do: what Qdrant says of a copy without being asked to count is an estimate,
//! and two copies with as many points may hold different ones, or one of them in an old version.

use std::collections::{BTreeMap, BTreeSet};

/// The points of one copy: id and version.
pub type Content = BTreeMap<u64, u64>;

/// So many differences are named.
const NAMED: usize = 5;

/// Whether the copies on these peers are the same.
///
/// # Errors
/// How many points differ, and of the first of them which peer has which version.
pub fn same(shard: &str, copies: &BTreeMap<u64, Content>) -> Result<(), String> {
    let ids: BTreeSet<u64> = copies.values().flat_map(BTreeMap::keys).copied().collect();
    let versions = |id: &u64| {
        copies
            .values()
            .map(|copy| copy.get(id))
            .collect::<BTreeSet<_>>()
    };
    let differ: Vec<u64> = ids
        .into_iter()
        .filter(|id| versions(id).len() > 1)
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    let sizes: BTreeMap<u64, usize> = copies.iter().map(|(peer, c)| (*peer, c.len())).collect();
    let mut why = format!(
        "{} points of {shard} differ, of {sizes:?} by peer:",
        differ.len()
    );
    for id in differ.iter().take(NAMED) {
        let seen = copies.iter().map(|(peer, copy)| match copy.get(id) {
            Some(version) => format!("{peer} has version {version}"),
            None => format!("{peer} lacks it"),
        });
        why.push_str(&format!(
            " point {id}: {};",
            seen.collect::<Vec<_>>().join(", ")
        ));
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_too_few_and_an_old_version_are_named_with_their_peers() {
        let whole: Content = [(1, 1), (2, 4)].into();
        let mut copies: BTreeMap<u64, Content> = [(7, whole.clone()), (8, whole)].into();
        assert_eq!(same("c/0", &copies), Ok(()));
        copies.insert(9, [(1, 1), (2, 3)].into());
        let why = same("c/0", &copies).unwrap_err();
        assert!(why.contains("1 points of c/0 differ"), "{why}");
        let which = "point 2: 7 has version 4, 8 has version 4, 9 has version 3";
        assert!(why.contains(which), "{why}");
        copies.insert(9, [(2, 4)].into());
        let why = same("c/0", &copies).unwrap_err();
        assert!(why.contains("{7: 2, 8: 2, 9: 1} by peer"), "{why}");
        assert!(why.contains("9 lacks it"), "{why}");
    }
}
