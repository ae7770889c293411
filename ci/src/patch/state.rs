//! What a patched tree says about itself, in a file at its root. Owns the form of that file and the comparison with the tree.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::manifest::Patch;
use super::plan::{Parts, Plan, fingerprint};
use super::tree::Tree;
use crate::hex::hex;

/// Its name at the root of the tree.
pub const FILE: &str = ".qdrant-patches.json";

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The folders of the patches, in order.
    pub patches: Vec<String>,
    /// Over all that was put in.
    pub fingerprint: String,
    /// Sha256 of every touched file as it was written.
    pub files: BTreeMap<String, String>,
}

impl State {
    /// The state after a plan was written.
    pub fn after(patches: &[Patch], parts: Parts, plan: &Plan) -> Self {
        Self {
            patches: patches.iter().map(|patch| patch.folder.clone()).collect(),
            fingerprint: fingerprint(patches, parts),
            files: plan
                .files
                .iter()
                .map(|(path, text)| (path.clone(), sum(text)))
                .collect(),
        }
    }

    /// What the tree says, if it was patched.
    ///
    /// # Errors
    /// The file is there and not readable.
    pub fn of(tree: &Tree) -> anyhow::Result<Option<Self>> {
        tree.read(FILE)?
            .map(|text| {
                serde_json::from_str(&text).with_context(|| {
                    format!(
                        "{FILE} in {} is not as it is written: take a fresh tree",
                        tree.root().display()
                    )
                })
            })
            .transpose()
    }

    /// As it is written.
    ///
    /// # Errors
    /// Never in fact: names and digits are always JSON.
    pub fn text(&self) -> anyhow::Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("write the state as JSON")?;
        text.push('\n');
        Ok(text)
    }

    /// The touched files that are no longer as they were written.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn differing(&self, tree: &Tree) -> anyhow::Result<Vec<String>> {
        let mut differing = Vec::new();
        for (path, wanted) in &self.files {
            let found = tree.read(path)?;
            if found.as_deref().map(sum).as_ref() != Some(wanted) {
                differing.push(path.clone());
            }
        }
        Ok(differing)
    }
}

fn sum(text: &str) -> String {
    hex(&Sha256::digest(text))
}
