//! The engine on small trees of our own: every verdict, twice, and that a run is repeatable.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::manifest::{self, Patch};
use super::plan::{self, Parts, Verdict};
use super::tree::Tree;
use super::write::RealDisk;
use super::{apply, state};

const STORE: &str = "\
pub struct Store;

impl Store {
    pub fn save(&self, name: &str) -> Result<(), Error> {
        let temporary = self.write(name)?;
        temporary.publish(name)?;
        Ok(())
    }
}
";

const HOOK: &str = "\
[[hook]]
id = \"flush\"
file = \"src/store.rs\"
inside = [\"impl Store\", \"fn save\"]
find = \"$FILE.publish($NAME)\"
before = \"ours::flush(&$FILE)?;\"
upstream_has = \"$FILE.sync_all()\"
";

/// A tree with a store, as it is or changed.
fn tree(store: &str) -> (TempDir, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("Cargo.toml"), "[workspace]\n").unwrap();
    fs::write(root.join("src/main.rs"), "mod store;\n\nfn main() {}\n").unwrap();
    fs::write(root.join("src/store.rs"), store).unwrap();
    let tree = Tree::open(root).unwrap();
    (folder, tree)
}

/// One patch with a file of its own and these hooks.
fn patches(hooks: &str) -> Vec<Patch> {
    let folder = tempfile::tempdir().unwrap();
    write_patch(folder.path(), hooks);
    manifest::read_all(folder.path()).unwrap()
}

fn write_patch(folder: &Path, hooks: &str) {
    let patch = folder.join("0001-flush");
    fs::create_dir_all(&patch).unwrap();
    fs::write(
        patch.join("patch.toml"),
        format!(
            "name = \"flush\"\nsummary = \"s\"\nwhy = \"w\"\nwithout = \"o\"\nupstream = \"u\"\n\
             drop_when = \"d\"\ncovers = [\"v1.0.0\"]\n\
             [[file]]\nfrom = \"ours.rs\"\nto = \"src/ours.rs\"\n{hooks}"
        ),
    )
    .unwrap();
    fs::write(
        patch.join("ours.rs"),
        "pub const MARK: &str = \"@patches@\";\n",
    )
    .unwrap();
}

fn verdict(store: &str, hooks: &str) -> (Verdict, String) {
    let (_folder, tree) = tree(store);
    let plan = plan::plan(&patches(hooks), &tree, Parts::All).unwrap();
    let last = plan.assessments.last().unwrap();
    (last.verdict, last.detail.clone())
}

fn contents(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in [root.to_path_buf(), root.join("src")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(root).unwrap().to_string_lossy();
                found.insert(name.into_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn put(patches: &[Patch], tree: &Tree) -> anyhow::Result<String> {
    apply(patches, tree, Parts::All, &[], &mut RealDisk)
}

#[test]
fn applied_also_when_lines_moved() {
    let (_folder, tree) = tree(&format!("// A new head.\n\n{STORE}"));
    put(&patches(HOOK), &tree).unwrap();
    let text = tree.read("src/store.rs").unwrap().unwrap();
    assert!(
        text.contains("        ours::flush(&temporary)?;\n        temporary.publish(name)?;\n"),
        "{text}"
    );
    assert_eq!(
        tree.read("src/ours.rs").unwrap().unwrap(),
        "pub const MARK: &str = \"flush\";\n"
    );
}

#[test]
fn every_verdict_has_its_case() {
    assert_eq!(
        verdict(STORE, HOOK),
        (Verdict::Applied, "line 6".to_owned())
    );
    assert_eq!(
        verdict(&STORE.replace("fn save", "fn store"), HOOK),
        (
            Verdict::Moved,
            "0 places in `impl Store › fn save`, but 1 in src/store.rs, line 6, fn store"
                .to_owned()
        )
    );
    assert_eq!(
        verdict(&STORE.replace("publish(name)", "publish_as(name)"), HOOK),
        (
            Verdict::Changed,
            "`$FILE.publish($NAME)` matches 0 places in `impl Store › fn save`, wanted 1; \
             nearest: line 6: temporary.publish_as(name)"
                .to_owned()
        )
    );
    let twice = STORE.replace(
        "        Ok(())",
        "        temporary.publish(name)?;\n        Ok(())",
    );
    assert_eq!(
        verdict(&twice, HOOK),
        (
            Verdict::Changed,
            "`$FILE.publish($NAME)` matches 2 places in `impl Store › fn save` (line 6, 7), wanted 1"
                .to_owned()
        )
    );
    let gone = STORE
        .replace("fn save", "fn safe")
        .replace("publish(name)", "announce()");
    assert_eq!(
        verdict(&gone, HOOK),
        (
            Verdict::Gone,
            "there is no `fn save`; nearest: line 4: fn safe".to_owned()
        )
    );
    let other_file = HOOK.replace("src/store.rs", "src/shop.rs");
    assert_eq!(
        verdict(STORE, &other_file),
        (
            Verdict::Moved,
            "0 places in `impl Store › fn save`, but 1 in src/store.rs, line 6, fn save".to_owned()
        )
    );
    assert_eq!(
        verdict(&gone, &other_file),
        (
            Verdict::Gone,
            "there is no such file in the tree; nothing like it there".to_owned()
        )
    );
    let upstream = STORE.replace("temporary.publish(name)?;", "temporary.sync_all()?;");
    assert_eq!(
        verdict(&upstream, HOOK),
        (
            Verdict::AlreadyUpstream,
            "line 6: upstream has `$FILE.sync_all()`".to_owned()
        )
    );
}

/// Its rule matches whether or not upstream has the change: once for upstream's text, once more for its own.
const AFTER: &str = "\
[[hook]]
id = \"name\"
file = \"src/store.rs\"
inside = [\"impl Store\", \"fn save\"]
find = \"let temporary = $VALUE;\"
after = \"let temporary = ours::named(&temporary, self.peer());\"
upstream_has = \"$STORE.peer()\"
";

#[test]
fn what_upstream_has_is_seen_though_the_rule_still_matches() {
    assert_eq!(verdict(STORE, AFTER).0, Verdict::Applied);
    let upstream = STORE.replace("self.write(name)", "self.write(name, self.peer())");
    assert_eq!(
        verdict(&upstream, AFTER),
        (
            Verdict::AlreadyUpstream,
            "line 5: upstream has `$STORE.peer()`".to_owned()
        )
    );
    // Elsewhere in the file it is another matter.
    let elsewhere = format!("{STORE}fn other(store: &Store) {{ store.peer(); }}\n");
    assert_eq!(verdict(&elsewhere, AFTER).0, Verdict::Applied);
}

#[test]
fn what_we_put_there_is_not_taken_for_upstreams() {
    // By a hook before this one.
    let again = AFTER
        .replace("id = \"name\"", "id = \"again\"")
        .replace("let temporary = $VALUE;", "$FILE.publish($NAME)");
    let (folder, tree) = tree(STORE);
    let both = patches(&format!("{AFTER}{again}"));
    put(&both, &tree).unwrap();
    assert!(put(&both, &tree).unwrap().contains("nothing to do"));
    // By this one, in a tree whose note is gone.
    fs::remove_file(folder.path().join(state::FILE)).unwrap();
    let plan = plan::plan(&patches(AFTER), &tree, Parts::All).unwrap();
    let last = plan.assessments.last().unwrap();
    assert_eq!(last.verdict, Verdict::Changed, "{last:?}");
    assert!(last.detail.contains("matches 3 places"), "{last:?}");
}

#[test]
fn an_ambiguous_rule_is_refused_with_its_candidates_and_the_tree_is_as_it_was() {
    let (folder, tree) = tree(&STORE.replace(
        "        Ok(())",
        "        temporary.publish(name)?;\n        Ok(())",
    ));
    // One that applies stands beside it: all or nothing.
    let declare = "[[hook]]\nid = \"declare\"\nfile = \"src/main.rs\"\nappend = \"mod ours;\"\n";
    let before = contents(folder.path());
    let error = put(&patches(&format!("{declare}{HOOK}")), &tree).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0001-flush, flush, src/store.rs: `$FILE.publish($NAME)` matches 2 places in `impl Store › fn save` \
         (line 6, 7), wanted 1; the tree is as it was"
    );
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_refusal_names_file_and_rule_and_leaves_the_tree() {
    let (folder, tree) = tree(&STORE.replace("publish(name)", "publish_as(name)"));
    let before = contents(folder.path());
    let error = format!("{:#}", put(&patches(HOOK), &tree).unwrap_err());
    assert!(
        error.starts_with("0001-flush, flush, src/store.rs: `$FILE.publish($NAME)` matches 0"),
        "{error}"
    );
    assert!(error.ends_with("the tree is as it was"), "{error}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_second_time_changes_nothing_and_a_changed_tree_is_refused() {
    let (folder, tree) = tree(STORE);
    let patches = patches(HOOK);
    put(&patches, &tree).unwrap();
    let once = contents(folder.path());
    assert!(put(&patches, &tree).unwrap().contains("nothing to do"));
    assert_eq!(contents(folder.path()), once);

    fs::write(folder.path().join("src/ours.rs"), "// other\n").unwrap();
    let error = format!("{:#}", put(&patches, &tree).unwrap_err());
    assert!(error.contains("changed after the patches"), "{error}");

    // Without the note in the tree, its files tell.
    fs::remove_file(folder.path().join(state::FILE)).unwrap();
    let error = format!("{:#}", put(&patches, &tree).unwrap_err());
    assert!(error.contains("patched before"), "{error}");
}

#[test]
fn other_patches_in_the_tree_are_refused() {
    let (_folder, tree) = tree(STORE);
    put(&patches(HOOK), &tree).unwrap();
    let error = put(&patches(&HOOK.replace("flush(&", "sync(&")), &tree).unwrap_err();
    assert!(error.to_string().contains("other patches"), "{error:#}");
}

#[test]
fn upstream_that_does_not_parse_is_named_with_its_line() {
    let (folder, tree) = tree(&STORE.replace("Ok(())", "Ok(()"));
    let before = contents(folder.path());
    let error = format!("{:#}", put(&patches(HOOK), &tree).unwrap_err());
    assert!(error.contains("src/store.rs does not parse"), "{error}");
    assert!(error.contains("src/store.rs:"), "{error}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_result_that_does_not_parse_is_not_written() {
    let (folder, tree) = tree(STORE);
    let before = contents(folder.path());
    let error = put(&patches(&HOOK.replace("?;\"", "?; }\"")), &tree).unwrap_err();
    assert!(
        format!("{error:#}").contains("no longer parse"),
        "{error:#}"
    );
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_dirty_tree_is_refused_unless_the_file_is_named_and_untouched() {
    let (folder, tree) = tree(STORE);
    let git = |arguments: &[&str]| {
        let done = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "one"]);
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\n# mine\n").unwrap();
    let patches = patches(HOOK);
    let error = put(&patches, &tree).unwrap_err();
    assert!(
        error.to_string().starts_with("Cargo.toml differs"),
        "{error:#}"
    );
    let allowed = ["Cargo.toml".to_owned()];
    apply(&patches, &tree, Parts::All, &allowed, &mut RealDisk).unwrap();
}

#[test]
fn a_tree_without_history_is_held_to_the_pin() {
    let (folder, _) = tree(STORE);
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("qdrant-src")).unwrap();
    write_patch(&root.path().join("patches"), HOOK);
    let git = |arguments: &[&str]| {
        let done = std::process::Command::new("git")
            .arg("--git-dir")
            .arg(root.path().join("objects"))
            .arg("--work-tree")
            .arg(folder.path())
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    // Not the real pin: what stands in that changes with each release.
    let pin = include_str!("../pin/fixture.toml");
    let pinned_tree = "0000000000000000000000000000000000000002";
    assert!(pin.contains(pinned_tree));
    let pin = pin.replace(pinned_tree, &git(&["write-tree"]));
    fs::write(root.path().join("qdrant-src/pin.toml"), pin).unwrap();
    let apply = |tree: &TempDir, any_release: bool| {
        super::run(
            root.path(),
            &super::Command::Apply(super::Apply {
                tree: tree.path().to_path_buf(),
                allow_changed: vec![],
                any_release,
                tests_only: false,
            }),
        )
    };

    // Half of it, or edited: neither is in a file that a patch touches.
    let main = folder.path().join("src/main.rs");
    let whole = fs::read(&main).unwrap();
    fs::write(folder.path().join("src/more.rs"), "").unwrap();
    fs::write(&main, "fn main() {}\n").unwrap();
    let before = contents(folder.path());
    let error = format!("{:#}", apply(&folder, false).unwrap_err());
    assert!(error.contains("missing, changed or added"), "{error}");
    assert_eq!(contents(folder.path()), before);

    fs::remove_file(folder.path().join("src/more.rs")).unwrap();
    fs::write(&main, whole).unwrap();
    apply(&folder, false).unwrap();
    // A second run is none of its business.
    apply(&folder, false).unwrap();

    let (other, _) = tree(&format!("// Another release.\n{STORE}"));
    assert!(apply(&other, false).is_err());
    apply(&other, true).unwrap();
}

#[test]
fn statements_come_after_are_replaced_removed_and_items_appended() {
    let hooks = "\
[[hook]]
id = \"after\"
file = \"src/store.rs\"
find = \"let temporary = $VALUE;\"
after = \"let temporary = ours::kept(temporary);\"

[[hook]]
id = \"replace\"
file = \"src/store.rs\"
find = \"self.write($NAME)\"
replace = \"ours::write(self, $NAME)\"

[[hook]]
id = \"remove\"
file = \"src/store.rs\"
find = \"$FILE.publish($NAME)\"
replace = \"\"

[[hook]]
id = \"declare\"
file = \"src/main.rs\"
append = \"mod ours;\"
";
    let (_folder, tree) = tree(STORE);
    put(&patches(hooks), &tree).unwrap();
    assert_eq!(
        tree.read("src/store.rs").unwrap().unwrap(),
        STORE
            .replace(
                "self.write(name)?;",
                "ours::write(self, name)?;\n        let temporary = ours::kept(temporary);"
            )
            .replace("temporary.publish(name)?;", "")
    );
    assert!(
        tree.read("src/main.rs")
            .unwrap()
            .unwrap()
            .ends_with("fn main() {}\n\nmod ours;\n")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever stands around the places: two trees end alike, and a second run changes nothing.
    #[test]
    fn apply_is_deterministic_and_idempotent(
        head in 0usize..4,
        others in prop::collection::vec("[a-z]{3,8}", 0..5),
        hooks in 1usize..4,
    ) {
        let store = format!(
            "{}{STORE}{}",
            "// head\n".repeat(head),
            others.iter().enumerate().map(|(n, name)| format!("fn {name}_{n}() {{}}\n")).collect::<String>()
        );
        let rules: String = (0..hooks)
            .map(|n| HOOK.replace("id = \"flush\"", &format!("id = \"flush-{n}\"")))
            .collect();
        let patches = patches(&rules);
        let (one, first) = tree(&store);
        let (two, second) = tree(&store);
        put(&patches, &first).unwrap();
        put(&patches, &second).unwrap();
        prop_assert_eq!(contents(one.path()), contents(two.path()));
        let once = contents(one.path());
        put(&patches, &first).unwrap();
        prop_assert_eq!(contents(one.path()), once);
        let text = first.read("src/store.rs").unwrap().unwrap();
        prop_assert_eq!(text.matches("ours::flush").count(), hooks);
    }
}
