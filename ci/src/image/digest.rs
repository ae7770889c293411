//! `cargo ci image digest`: which image is this, and is it whole?

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use super::archive::Archive;

/// Which image, and what it should be.
#[derive(Args)]
pub struct Options {
    /// An OCI archive, or the name of an image that the engine has.
    image: String,
    /// Fails unless it is this one.
    #[arg(long, value_name = "sha256:…")]
    expect: Option<String>,
    /// Writes the digest that a task definition names there, and nothing else.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Fails unless it is for exactly these, like linux/amd64.
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<String>,
}

/// Compares every part with its hash and prints what the image is called by.
///
/// # Errors
/// A part is damaged or missing, or the image is another one than was expected.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let archive = Archive::open(&options.image)?;
    for platform in &archive.platforms {
        println!("{} {}", platform.name, platform.digest);
    }
    ensure!(
        !archive.platforms.is_empty(),
        "{} is for no platform: give the whole archive of a build",
        options.image
    );
    if !options.platforms.is_empty() {
        let mut wanted = options.platforms.clone();
        let mut found: Vec<_> = archive.platforms.iter().map(|one| &one.name).collect();
        wanted.sort();
        found.sort();
        ensure!(
            found.iter().copied().eq(&wanted),
            "{} is for {found:?}, wanted {wanted:?}",
            options.image
        );
    }
    let Some(digest) = &archive.digest else {
        println!("the engine's own image: a registry names it only when it is pushed");
        if options.write.is_some() {
            bail!(
                "{} has no digest to deploy by; give an OCI archive",
                options.image
            );
        }
        let own = archive.platforms.first().map(|one| one.digest.as_str());
        return expected(options, own.unwrap_or_default());
    };
    println!(
        "image {digest}, {} attestations; every part is what its hash says",
        archive.attestations
    );
    expected(options, digest)?;
    if let Some(path) = &options.write {
        fs::write(path, format!("{digest}\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn expected(options: &Options, found: &str) -> anyhow::Result<()> {
    match &options.expect {
        Some(wanted) => {
            ensure!(
                found == wanted,
                "{} is {found}, expected was {wanted}",
                options.image
            );
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::archive::fixture::Fixture;
    use super::*;

    fn fixture() -> Fixture {
        Fixture {
            platforms: vec!["amd64", "arm64"],
            config: serde_json::json!({}),
            layers: vec![vec![("qdrant/entrypoint", b"program".to_vec())]],
            damage: None,
        }
    }

    /// An image in a folder where nothing was written yet.
    struct Bench {
        folder: tempfile::TempDir,
        options: Options,
    }

    fn bench(make: impl FnOnce(&Path) -> String) -> (Bench, String) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image.tar");
        let digest = make(&image);
        let options = Options {
            image: image.display().to_string(),
            expect: None,
            write: Some(folder.path().join("digest.txt")),
            platforms: Vec::new(),
        };
        (Bench { folder, options }, digest)
    }

    impl Bench {
        fn written(&self) -> Option<String> {
            fs::read_to_string(self.folder.path().join("digest.txt")).ok()
        }

        /// The one line that it is refused with; nothing is written then.
        fn refusal(&self) -> String {
            let line = format!("{:#}", run(&self.options).unwrap_err());
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.contains(&self.options.image), "{line}");
            assert_eq!(self.written(), None);
            line
        }
    }

    #[test]
    fn what_is_written_is_the_digest_of_the_index_and_nothing_else() {
        let (bench, digest) = bench(|path| fixture().write(path));
        run(&bench.options).unwrap();
        assert_eq!(bench.written(), Some(format!("{digest}\n")));
    }

    #[test]
    fn only_the_image_that_was_expected_passes() {
        let (mut bench, digest) = bench(|path| fixture().write(path));
        let other = format!("sha256:{}", "0".repeat(64));
        bench.options.expect = Some(other.clone());
        let line = bench.refusal();
        assert!(
            line.ends_with(&format!("is {digest}, expected was {other}")),
            "{line}"
        );
        bench.options.expect = Some(digest);
        run(&bench.options).unwrap();
    }

    #[test]
    fn exactly_the_platforms_that_were_named_pass_in_any_order() {
        let (mut bench, _) = bench(|path| fixture().write(path));
        for wrong in [
            vec!["linux/amd64"],
            vec!["linux/amd64", "linux/s390x"],
            vec!["linux/amd64", "linux/arm64", "linux/s390x"],
        ] {
            bench.options.platforms = wrong.iter().map(ToString::to_string).collect();
            let line = bench.refusal();
            assert!(
                line.ends_with(&format!(
                    "is for [\"linux/amd64\", \"linux/arm64\"], wanted {wrong:?}"
                )),
                "{line}"
            );
        }
        bench.options.platforms = ["linux/arm64", "linux/amd64"].map(str::to_owned).to_vec();
        run(&bench.options).unwrap();
    }

    #[test]
    fn an_image_that_is_damaged_or_for_no_platform_has_no_digest() {
        let (damaged, _) = bench(|path| {
            Fixture {
                damage: Some("program"),
                ..fixture()
            }
            .write(path)
        });
        assert!(damaged.refusal().contains("is damaged"));
        let (empty, _) = bench(|path| {
            Fixture {
                platforms: vec![],
                ..fixture()
            }
            .write(path)
        });
        assert!(empty.refusal().contains("is for no platform"));
    }

    #[test]
    fn an_engines_own_image_is_known_by_its_configuration_and_has_nothing_to_deploy_by() {
        let (mut bench, digest) = bench(|path| fixture().save(path));
        let line = bench.refusal();
        assert!(
            line.ends_with("has no digest to deploy by; give an OCI archive"),
            "{line}"
        );
        bench.options.write = None;
        bench.options.expect = Some(digest);
        run(&bench.options).unwrap();
        bench.options.expect = Some("sha256:0".to_owned());
        assert!(bench.refusal().contains("expected was sha256:0"));
    }
}
