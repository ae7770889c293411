//! What `--version` says about this build. The names are filled in when the patches are applied.

/// The release, then the patches in it, then a fingerprint over their text.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (qdrant-ecs patches: @patches@; @fingerprint@)"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_were_filled_in() {
        assert!(VERSION.starts_with(env!("CARGO_PKG_VERSION")));
        assert!(VERSION.contains("build-marker"), "{VERSION}");
        assert!(!VERSION.contains('@'), "{VERSION}");
    }
}
