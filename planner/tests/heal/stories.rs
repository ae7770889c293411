//! Each script beside its checked-in output. `UPDATE_GOLDEN=1` writes the outputs anew.

use std::fs;
use std::path::PathBuf;

use crate::script;

#[test]
fn every_story_goes_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/heal/scripts");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    scripts.sort();
    assert!(
        scripts.len() >= 10,
        "{} scripts in {}",
        scripts.len(),
        folder.display()
    );
    let mut wrong = Vec::new();
    for path in scripts {
        let told = script::run(&fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("out");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if told != expected {
            let at = told.lines().zip(expected.lines()).position(|(a, b)| a != b);
            let at = at.unwrap_or(told.lines().count().min(expected.lines().count()));
            let line = |text: &str| text.lines().nth(at).unwrap_or("(end)").to_owned();
            wrong.push(format!(
                "{} line {}:\n  expected {}\n  told     {}",
                golden.display(),
                at + 1,
                line(&expected),
                line(&told)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nUPDATE_GOLDEN=1 rewrites them",
        wrong.join("\n")
    );
}
