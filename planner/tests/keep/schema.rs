//! `docs/manifest.schema.json` says what the Rust types say: what they write is valid, every field and
//! every reason is in it, and what it does not allow they refuse.

use std::collections::BTreeMap;

use planner::heal::names::ShardId;
use planner::ids::PeerId;
use planner::keep::missing::{Lack, Missing, When};
use planner::keep::read::read;
use planner::keep::records::{Asked, Manifest, Origin, Scope, ShardKey, Sharding};
use serde_json::{Map, Value, json};

use crate::sample::{SLOT, manifest, name, set};

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/manifest.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The words of JSON Schema that ours uses; a word that is not known here fails.
struct Check {
    root: Value,
}

impl Check {
    fn valid(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let rules = schema.as_object().unwrap();
        for (word, rule) in rules {
            let holds = match word.as_str() {
                "$schema" | "title" | "description" | "$defs" => true,
                "$ref" => {
                    let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.valid(&self.root["$defs"][name], value)?;
                    true
                }
                "const" => rule == value,
                "enum" => rule.as_array().unwrap().contains(value),
                "oneOf" => {
                    let all = rule.as_array().unwrap().iter();
                    all.filter(|one| self.valid(one, value).is_ok()).count() == 1
                }
                "type" => match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                },
                "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
                "maximum" => value.as_u64().is_none_or(|n| n <= rule.as_u64().unwrap()),
                "minItems" => value.as_array().unwrap().len() as u64 >= rule.as_u64().unwrap(),
                "pattern" => value
                    .as_str()
                    .is_some_and(|text| matches(rule.as_str().unwrap(), text)),
                "items" => {
                    let mut items = value.as_array().into_iter().flatten();
                    items.try_for_each(|item| self.valid(rule, item))?;
                    true
                }
                "required" => {
                    let mut keys = rule
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|key| key.as_str().unwrap());
                    keys.all(|key| value.get(key).is_some())
                }
                "properties" => {
                    for (key, schema) in rule.as_object().unwrap() {
                        value
                            .get(key)
                            .map_or(Ok(()), |there| self.valid(schema, there))?;
                    }
                    true
                }
                "additionalProperties" => {
                    self.others(rules, rule, value)?;
                    true
                }
                other => panic!("`{other}` is not checked"),
            };
            if !holds {
                return Err(format!("{word} {rule} does not hold for {value}"));
            }
        }
        Ok(())
    }

    /// The fields that the schema does not name.
    fn others(
        &self,
        rules: &Map<String, Value>,
        rule: &Value,
        value: &Value,
    ) -> Result<(), String> {
        let named = |key: &str| {
            rules
                .get("properties")
                .is_some_and(|all| all.get(key).is_some())
        };
        for (key, there) in value.as_object().into_iter().flatten() {
            match rule {
                _ if named(key) => {}
                Value::Bool(false) => return Err(format!("{key} is not known")),
                schema => self.valid(schema, there)?,
            }
        }
        Ok(())
    }
}

/// The little of regular expressions that the schema uses: classes, and how often.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern
        .strip_prefix('^')
        .unwrap()
        .strip_suffix('$')
        .unwrap();
    let mut text = text.chars().peekable();
    while let Some(first) = pattern.chars().next() {
        let (class, rest) = match first {
            '[' => pattern[1..].split_once(']').unwrap(),
            '\\' => (&pattern[1..2], &pattern[2..]),
            _ => pattern.split_at(1),
        };
        let within = |c: char| match class {
            "0-9" => c.is_ascii_digit(),
            "0-9a-f" => c.is_ascii_digit() || ('a'..='f').contains(&c),
            literal => literal.chars().eq([c]),
        };
        let (least, most, rest) = if let Some(rest) = rest.strip_prefix('+') {
            (1, usize::MAX, rest)
        } else if let Some(rest) = rest.strip_prefix('{') {
            let (count, rest) = rest.split_once('}').unwrap();
            match count.strip_suffix(',') {
                Some(least) => (least.parse().unwrap(), usize::MAX, rest),
                None => (count.parse().unwrap(), count.parse().unwrap(), rest),
            }
        } else {
            (1, 1, rest)
        };
        let mut found = 0;
        while found < most && text.next_if(|c| within(*c)).is_some() {
            found += 1;
        }
        if found < least {
            return false;
        }
        pattern = rest;
    }
    text.next().is_none()
}

fn is_valid(value: &Value) -> Result<(), String> {
    let root = schema();
    let check = Check { root: root.clone() };
    check.valid(&root, value)
}

/// A manifest in which every field is there.
fn full() -> Manifest {
    let mut manifest = manifest();
    manifest.deleted.insert(name("old"), set(SLOT));
    manifest.origin = Origin::Hand;
    manifest.asked = Some(Asked {
        token: "word".into(),
        by: "on call".to_owned(),
    });
    let description = manifest.collections[0].description.as_mut().unwrap();
    description.sharding = Sharding::Custom;
    description.keys = BTreeMap::from([
        (ShardId(0), ShardKey::Word("Ω/..".to_owned())),
        (ShardId(1), ShardKey::Number(7)),
    ]);
    manifest.collections[1].whole = false;
    manifest.collections[1].missing = all_lacks();
    manifest.collections[1].files.clear();
    manifest
}

fn all_lacks() -> Vec<Missing> {
    let (peer, why) = (PeerId(7), "for people".to_owned());
    let states = [Some("Dead".to_owned()), None];
    let mut lacks = vec![
        Lack::Unread(why.clone()),
        Lack::Resharding,
        Lack::Changed,
        Lack::Shards,
        Lack::NoSource,
        Lack::NotDelivered { peer },
        Lack::Failed {
            peer,
            why: why.clone(),
        },
        Lack::Stray { peer, why },
    ];
    for when in [When::Before, When::After, When::AtTheEnd] {
        lacks.extend(
            states
                .clone()
                .map(|state| Lack::NotActive { peer, when, state }),
        );
    }
    for lack in &lacks {
        // A new reason does not compile until it is here, and so in the schema.
        match lack {
            Lack::Unread(_)
            | Lack::Resharding
            | Lack::Changed
            | Lack::Shards
            | Lack::NoSource
            | Lack::NotDelivered { .. }
            | Lack::Failed { .. }
            | Lack::NotActive { .. }
            | Lack::Stray { .. } => {}
        }
    }
    let mut missing: Vec<_> = lacks
        .into_iter()
        .map(|why| Missing { shard: None, why })
        .collect();
    missing[0].shard = Some(ShardId(0));
    missing
}

#[test]
fn what_is_written_is_valid() {
    for manifest in [manifest(), full()] {
        let value = serde_json::to_value(&manifest).unwrap();
        is_valid(&value).unwrap();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let again: Manifest = read(SLOT, "manifest.json", &bytes).unwrap();
        assert_eq!(again, manifest);
    }
    let mut one = manifest();
    one.collections.remove(0);
    one.scope = Scope::One(name("notes"));
    one.collections[0].whole = false;
    one.collections[0].files.clear();
    one.collections[0].description = None;
    one.collections[0].missing = all_lacks();
    is_valid(&serde_json::to_value(&one).unwrap()).unwrap();
}

#[test]
fn every_field_of_the_schema_is_written() {
    let written = serde_json::to_value(full()).unwrap();
    let defs = schema()["$defs"].clone();
    let same = |def: &str, value: &Value| {
        let known: Vec<_> = defs[def]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        let there: Vec<_> = value.as_object().unwrap().keys().collect();
        let sorted = |mut all: Vec<&String>| {
            all.sort();
            all.into_iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(sorted(known), sorted(there), "{def}");
    };
    same("Manifest", &written);
    same("Asked", &written["asked"]);
    same("Source", &written["source"]);
    same("Description", &written["collections"][0]["description"]);
    same("File", &written["collections"][0]["files"][0]);
    same("Count", &written["collections"][0]["files"][0]["before"]);
    same("Collection", &written["collections"][1]);
    same("Missing", &written["collections"][1]["missing"][0]);
}

#[test]
fn what_the_schema_refuses_is_refused() {
    let changes: [&dyn Fn(&mut Value); 14] = [
        &|all| all["novelty"] = json!(1),
        &|all| all["format"] = json!(2),
        &|all| all["set"] = json!("2026-02-28T09:15:00Z"),
        &|all| all["started"] = json!("20260228T091500Z"),
        &|all| all["origin"] = json!("moon"),
        &|all| all["asked"] = json!("on call"),
        &|all| all["asked"]["why"] = json!("a test"),
        &|all| all["scope"] = json!({"one": "a", "two": "b"}),
        &|all| all["collections"] = json!([]),
        &|all| all["collections"][0]["files"][0]["path"] = json!("../c000/s0-2.shard"),
        &|all| all["collections"][0]["files"][0]["sha256"] = json!("00FF".repeat(16)),
        &|all| all["collections"][0]["files"][0]["bytes"] = json!(0),
        &|all| all["collections"][1]["missing"][0]["why"] = json!({"bored": {}}),
        &|all| drop(all["source"].as_object_mut().unwrap().remove("qdrant")),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut value = serde_json::to_value(full()).unwrap();
        change(&mut value);
        assert!(is_valid(&value).is_err(), "schema, change {at}");
        let bytes = serde_json::to_vec(&value).unwrap();
        assert!(
            read::<Manifest>(SLOT, "manifest.json", &bytes).is_err(),
            "change {at}"
        );
    }
}
