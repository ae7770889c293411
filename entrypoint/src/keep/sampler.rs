//! Notes some points of a shard while it is taken, and looks at the same ones in a restored shard. What is
//! noted, and what a difference means, is `planner::keep::samples`' to say.
//!
//! Contents are noted as hashes: they say whether a point is the same, and nothing else to whoever reads the
//! records.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use planner::heal::names::ShardId;
use planner::keep::ids::Sha256;
use planner::keep::records::{Description, ShardKey};
use planner::keep::samples::{
    Found, Look, POINTS, Point, SEARCHES, Sample, SampleId, Samples, Score, Search, unchanged,
};
use qdrant_api::{Client, Error, Nearest, PointId, WholePoint};
use serde_json::Value;

use crate::log::chain;
use crate::store::sha256;

/// Which shard of whom.
#[derive(Clone, Debug)]
pub struct Sampler {
    client: Client,
    collection: String,
    shard: u32,
    key: Option<qdrant_api::ShardKey>,
}

/// What was seen before a file was made.
pub struct Before {
    ids: Vec<PointId>,
    look: Look,
}

impl Sampler {
    /// Of a shard that the node of `client` holds.
    pub fn new(client: Client, collection: &str, shard: ShardId) -> Self {
        Self {
            client,
            collection: collection.to_owned(),
            shard: shard.0,
            key: None,
        }
    }

    /// With custom sharding an id may stand under several keys: it is searched under its own.
    #[must_use]
    pub fn keyed(self, description: Option<&Description>) -> Self {
        let key = description.and_then(|what| what.keys.get(&ShardId(self.shard)));
        let key = key.map(|key| match key {
            ShardKey::Number(number) => qdrant_api::ShardKey::Number(*number),
            ShardKey::Word(word) => qdrant_api::ShardKey::Keyword(word.clone()),
        });
        Self { key, ..self }
    }

    /// Looks at some points; about `count` there are. A set is not worse for having none: what speaks
    /// against it is said and otherwise ignored.
    pub async fn before(&self, count: u64) -> Option<Before> {
        let looked = async {
            let ids = self.pick(count).await?;
            let look = self.look(&ids, None).await?;
            Ok(Before { ids, look })
        };
        self.or_none(looked.await)
    }

    /// Looks again, and notes what has not changed.
    pub async fn after(&self, before: Option<Before>) -> Option<Samples> {
        let before = before?;
        let by: Vec<_> = asked(&before.look.searches);
        let after = self.or_none(self.look(&before.ids, Some(&by)).await)?;
        let (points, searches) = unchanged(&before.look, &after);
        let sum = sum(&points, &searches)?;
        (!points.is_empty()).then_some(Samples {
            points,
            searches,
            sum,
        })
    }

    /// Looks at what was noted.
    ///
    /// # Errors
    /// Those of Qdrant.
    pub async fn again(&self, noted: &Samples) -> Result<Look, Error> {
        let ids: Vec<_> = noted.points.iter().map(|point| id_out(&point.id)).collect();
        self.look(&ids, Some(&asked(&noted.searches))).await
    }

    fn or_none<T>(&self, looked: Result<T, Error>) -> Option<T> {
        let (collection, shard) = (&self.collection, self.shard);
        let failed = |error: &Error| {
            let why = chain(error);
            tracing::debug!("no points of shard {shard} of {collection} are noted: {why}");
        };
        looked.inspect_err(failed).ok()
    }

    /// Points from the beginning and from places by chance: numbers up to the count, which most ids are,
    /// and UUIDs.
    async fn pick(&self, count: u64) -> Result<Vec<PointId>, Error> {
        let mut ids = Vec::new();
        let number = || PointId::Num(rand::random_range(0..=count));
        let uuid = PointId::Uuid(uuid::Uuid::new_v4().to_string());
        let each = u32::try_from(POINTS / 4).ok().and_then(NonZeroU32::new);
        let each = each.unwrap_or(NonZeroU32::MIN);
        for offset in [None, Some(number()), Some(number()), Some(uuid)] {
            let page = self
                .client
                .ids_local(&self.collection, self.shard, offset.as_ref(), each);
            ids.extend(page.await?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// `searches` are the names of vectors with the points to search by; `None`: those of the first point.
    async fn look(
        &self,
        ids: &[PointId],
        searches: Option<&[(String, SampleId)]>,
    ) -> Result<Look, Error> {
        if ids.is_empty() {
            return Ok(Look::default());
        }
        let there = self
            .client
            .retrieve_local(&self.collection, self.shard, ids)
            .await?;
        let whole: BTreeMap<SampleId, WholePoint> = there
            .into_iter()
            .map(|point| (id_in(&point.id), point))
            .collect();
        let searches = match searches {
            Some(searches) => searches.to_vec(),
            None => whole.iter().next().map_or_else(Vec::new, |(id, first)| {
                let names = dense(&first.vector).into_iter();
                names.map(|(name, _)| (name, id.clone())).collect()
            }),
        };
        let mut look = Look {
            points: whole.iter().map(|(id, p)| (id.clone(), noted(p))).collect(),
            searches: Vec::new(),
        };
        for (name, by) in searches.into_iter().take(SEARCHES) {
            let vectors = whole.get(&by).map(|point| dense(&point.vector));
            let vector = vectors.and_then(|mut all| all.remove(&name));
            let Some(vector) = vector else { continue };
            let found = self.search(&name, vector, ids, &mut look.points).await?;
            look.searches.push(Search {
                vector: name,
                by,
                found,
            });
        }
        Ok(look)
    }

    async fn search(
        &self,
        name: &str,
        vector: &Value,
        ids: &[PointId],
        points: &mut BTreeMap<SampleId, Point>,
    ) -> Result<Vec<Found>, Error> {
        let what = Nearest {
            vector,
            using: (!name.is_empty()).then_some(name),
            among: ids,
            key: self.key.as_ref(),
        };
        let mut found = BTreeMap::new();
        for scored in self.client.nearest(&self.collection, &what).await? {
            let id = id_in(&scored.id);
            if let Some(point) = points.get_mut(&id) {
                point.version = Some(scored.version);
            }
            found.insert(id, Score(scored.score));
        }
        let found = found.into_iter();
        Ok(found.map(|(id, score)| Found { id, score }).collect())
    }
}

/// What was noted is as it was written.
pub fn is_intact(noted: &Samples) -> bool {
    sum(&noted.points, &noted.searches) == Some(noted.sum)
}

fn sum(points: &[Sample], searches: &[Search]) -> Option<Sha256> {
    // Nothing in them can fail to be written.
    let text = serde_json::to_value((points, searches)).ok()?;
    Some(hashed(&text))
}

fn asked(searches: &[Search]) -> Vec<(String, SampleId)> {
    let asked = searches.iter();
    asked
        .map(|search| (search.vector.clone(), search.by.clone()))
        .collect()
}

fn noted(point: &WholePoint) -> Point {
    Point {
        payload: hashed(&point.payload),
        vectors: hashed(&point.vector),
        version: None,
    }
}

/// The dense vectors of a point by their names; sparse ones are objects.
fn dense(vector: &Value) -> BTreeMap<String, &Value> {
    match vector {
        Value::Array(_) => BTreeMap::from([(String::new(), vector)]),
        Value::Object(named) => {
            let named = named.iter().filter(|(_, vector)| vector.is_array());
            named.map(|(name, vector)| (name.clone(), vector)).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// Hashes a value in a form that does not depend on the order of fields.
fn hashed(value: &Value) -> Sha256 {
    let mut text = String::new();
    canonical(value, &mut text);
    sha256(text.as_bytes())
}

fn canonical(value: &Value, into: &mut String) {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().collect();
            into.push('{');
            for (name, value) in fields {
                into.push_str(&Value::from(name.as_str()).to_string());
                into.push(':');
                canonical(value, into);
                into.push(',');
            }
            into.push('}');
        }
        Value::Array(values) => {
            into.push('[');
            for value in values {
                canonical(value, into);
                into.push(',');
            }
            into.push(']');
        }
        // An empty payload is printed in either way.
        Value::Null => into.push_str("{}"),
        other => into.push_str(&other.to_string()),
    }
}

fn id_in(id: &PointId) -> SampleId {
    match id {
        PointId::Num(number) => SampleId::Number(*number),
        PointId::Uuid(uuid) => SampleId::Uuid(uuid.clone()),
    }
}

fn id_out(id: &SampleId) -> PointId {
    match id {
        SampleId::Number(number) => PointId::Num(*number),
        SampleId::Uuid(uuid) => PointId::Uuid(uuid.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_fields_and_an_empty_payload_mean_nothing() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let one = read(r#"{"b": [1, {"d": 2, "c": "null"}], "a": null}"#);
        let other = read(r#"{"a": null, "b": [1, {"c": "null", "d": 2}]}"#);
        assert_eq!(hashed(&one), hashed(&other));
        assert_eq!(hashed(&json!({})), hashed(&Value::Null));
        for (a, b) in [
            (json!([1, 2]), json!([2, 1])),
            (json!({"a": 1}), json!({"a": 2})),
            (json!(["a,b"]), json!(["a", "b"])),
            (json!("null"), json!("{}")),
            (json!([[1], 2]), json!([1, [2]])),
        ] {
            assert_ne!(hashed(&a), hashed(&b), "{a} {b}");
        }
    }

    #[test]
    fn dense_vectors_are_told_from_sparse_ones() {
        let named =
            json!({"a": [0.5], "m": [[1.0], [2.0]], "s": {"indices": [1], "values": [1.0]}});
        assert_eq!(dense(&named).into_keys().collect::<Vec<_>>(), ["a", "m"]);
        assert_eq!(dense(&json!([1.0])).into_keys().collect::<Vec<_>>(), [""]);
        assert!(dense(&Value::Null).is_empty());
    }

    #[test]
    fn what_was_noted_and_has_changed_is_found_out() {
        let point = |byte| Sample {
            id: SampleId::Number(7),
            payload: Sha256([byte; 32]),
            vectors: Sha256([2; 32]),
        };
        let samples = |byte| Samples {
            points: vec![point(byte)],
            searches: Vec::new(),
            sum: sum(&[point(1)], &[]).unwrap(),
        };
        assert!(is_intact(&samples(1)));
        assert!(!is_intact(&samples(3)));
    }
}
