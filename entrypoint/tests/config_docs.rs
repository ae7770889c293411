//! `docs/configuration.md` says what the code says.

#[test]
fn the_committed_page_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let generated = entrypoint::config::render_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(path, &generated).expect("write docs/configuration.md");
    }
    let committed = std::fs::read_to_string(path).expect("read docs/configuration.md");
    assert!(
        committed == generated,
        "docs/configuration.md is out of date; run \
         UPDATE_DOCS=1 cargo test -p entrypoint --test config_docs"
    );
}
