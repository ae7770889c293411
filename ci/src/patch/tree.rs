//! A source tree on the disk: reading files of it, listing them, and whether git says that it was changed. Writes nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run;

/// A folder with Qdrant's source.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Takes a folder for a tree.
    ///
    /// # Errors
    /// It does not look like Qdrant's source.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        for wanted in ["Cargo.toml", "src/main.rs"] {
            if !root.join(wanted).is_file() {
                bail!(
                    "{} holds no {wanted}: give a whole checkout of Qdrant's source",
                    root.display()
                );
            }
        }
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file, or nothing when it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read as text.
    pub fn read(&self, path: &str) -> anyhow::Result<Option<String>> {
        match fs::read_to_string(self.root.join(path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {path} in the tree")),
        }
    }

    /// All Rust files below `src` and `lib`, sorted.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn rust_files(&self) -> anyhow::Result<Vec<String>> {
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::from("src"), PathBuf::from("lib")];
        while let Some(folder) = folders.pop() {
            let full = self.root.join(&folder);
            if !full.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&full).with_context(|| format!("list {}", full.display()))? {
                let entry = entry.with_context(|| format!("list {}", full.display()))?;
                let path = folder.join(entry.file_name());
                let kind = entry
                    .file_type()
                    .with_context(|| format!("look at {}", path.display()))?;
                if kind.is_dir() && entry.file_name() != "target" {
                    folders.push(path);
                } else if kind.is_file() && path.extension().is_some_and(|ext| ext == "rs") {
                    files.push(path.to_string_lossy().into_owned());
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Is it a repository of its own?
    pub fn has_history(&self) -> bool {
        self.root.join(".git").exists()
    }

    /// Tracked files that differ from the commit that is checked out. Nothing where there is none.
    ///
    /// # Errors
    /// git cannot be asked.
    pub fn changed(&self) -> anyhow::Result<Vec<String>> {
        if !self.has_history() {
            return Ok(Vec::new());
        }
        let said = run::output(run::git().arg("-C").arg(&self.root).args([
            "diff",
            "--name-only",
            "--no-renames",
            "HEAD",
            "--",
        ]))
        .context("ask git whether the tree was changed")?;
        Ok(said.lines().map(str::to_owned).collect())
    }
}
