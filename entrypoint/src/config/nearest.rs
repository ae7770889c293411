//! The known name that somebody probably meant. Owns only the comparison of names.

/// Characters of an unknown name that are compared. Longer than any name we know; bounds the work on
/// a name that somebody made huge.
const COMPARED: usize = 80;

/// The candidate with the fewest typing mistakes (insertions, deletions, replacements, swaps) between
/// it and `name`, regardless of case; the first of equals. `None` only when there is no candidate.
pub(super) fn nearest(
    name: &str,
    candidates: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    let name: String = name
        .chars()
        .take(COMPARED)
        .collect::<String>()
        .to_ascii_uppercase();
    candidates
        .into_iter()
        .min_by_key(|known| strsim::damerau_levenshtein(&name, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = [
        "ENTRYPOINT_BEAT",
        "ENTRYPOINT_BIND",
        "ENTRYPOINT_CLUSTER_SIZE",
    ];

    #[test]
    fn the_closest_name_is_found() {
        assert_eq!(
            nearest("ENTRYPOINT_CLUSTERSIZE", KNOWN),
            Some("ENTRYPOINT_CLUSTER_SIZE")
        );
        assert_eq!(nearest("ENTRYPOINT_BAET", KNOWN), Some("ENTRYPOINT_BEAT"));
        assert_eq!(nearest("entrypoint_bind", KNOWN), Some("ENTRYPOINT_BIND"));
        assert_eq!(nearest("ENTRYPOINT_BIND", []), None);
    }

    #[test]
    fn a_huge_name_is_compared_by_its_beginning() {
        let huge = format!("ENTRYPOINT_CLUSTER_SIZE{}", "S".repeat(1_000_000));
        assert_eq!(nearest(&huge, KNOWN), Some("ENTRYPOINT_CLUSTER_SIZE"));
    }
}
