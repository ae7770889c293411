//! Other names of collections: how a change of them is applied, and what it refuses (upstream
//! toc/collection_meta_ops.rs, `update_aliases`; alias_mapping.rs).

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::model::Model;

/// One step of a change, in the form of the REST API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The fields repeat the names of the REST API.
pub enum AliasChange {
    /// Takes the name from whoever had it.
    #[serde(rename = "create_alias")]
    Create {
        alias_name: String,
        collection_name: String,
    },
    /// One that is not there is no error.
    #[serde(rename = "delete_alias")]
    Delete { alias_name: String },
    /// One that is not there is an error.
    #[serde(rename = "rename_alias")]
    Rename {
        old_alias_name: String,
        new_alias_name: String,
    },
}

impl Model {
    /// The collection that is meant by a name.
    pub fn real<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// One step after the other: those before a refused one stay.
    pub(super) fn change_aliases(&mut self, changes: &[AliasChange]) -> Result<(), ApiError> {
        for change in changes {
            match change {
                AliasChange::Create {
                    alias_name,
                    collection_name,
                } => {
                    self.collection(collection_name)?;
                    if self.collections.contains_key(alias_name) {
                        let why = format!("Collection `{alias_name}` already exists!");
                        return Err(ApiError::conflict(why));
                    }
                    self.aliases
                        .insert(alias_name.clone(), collection_name.clone());
                }
                AliasChange::Delete { alias_name } => drop(self.aliases.remove(alias_name)),
                AliasChange::Rename {
                    old_alias_name,
                    new_alias_name,
                } => {
                    let gone = || format!("Alias {old_alias_name} does not exists!");
                    let of = self.aliases.remove(old_alias_name);
                    let of = of.ok_or_else(|| ApiError::not_found(gone()))?;
                    self.aliases.insert(new_alias_name.clone(), of);
                }
            }
        }
        Ok(())
    }
}
