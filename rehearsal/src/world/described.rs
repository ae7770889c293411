//! What the collections of a cluster are, apart from what is in them: configuration, payload indexes, shard
//! keys, aliases. Owns: giving a collection some of that, and reading all of it. Must not: judge.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::World;
use crate::timing;

impl World {
    /// Gives a collection a payload index of this field.
    ///
    /// # Errors
    /// When Qdrant refuses it.
    pub async fn index(&self, collection: &str, field: &str) -> Result<()> {
        let index = json!({"field_name": field, "field_schema": "keyword"});
        let path = format!("/collections/{collection}/index?wait=true");
        self.leader_says(Method::PUT, &path, Some(index)).await?;
        self.step(format!("{collection} has an index of {field}"));
        Ok(())
    }

    /// Gives a collection another name.
    ///
    /// # Errors
    /// When Qdrant refuses it.
    pub async fn alias(&self, collection: &str, alias: &str) -> Result<()> {
        let create = json!({"create_alias": {"alias_name": alias, "collection_name": collection}});
        let actions = json!({"actions": [create]});
        self.leader_says(Method::POST, "/collections/aliases", Some(actions))
            .await?;
        self.step(format!("{collection} has the alias {alias}"));
        Ok(())
    }

    /// Every collection as the leader describes it, and all aliases.
    ///
    /// # Errors
    /// When Qdrant does not say it.
    pub async fn described(&self) -> Result<Value> {
        let all = self.leader_says(Method::GET, "/collections", None).await?;
        let mut collections = BTreeMap::new();
        for named in list(&all, "collections") {
            let name = named
                .get("name")
                .and_then(Value::as_str)
                .context("a collection has a name")?;
            collections.insert(name.to_owned(), self.described_one(name).await?);
        }
        let aliases = self.leader_says(Method::GET, "/aliases", None).await?;
        let aliases: BTreeSet<String> = list(&aliases, "aliases")
            .iter()
            .map(Value::to_string)
            .collect();
        Ok(json!({"collections": collections, "aliases": aliases}))
    }

    async fn described_one(&self, name: &str) -> Result<Value> {
        let there = self
            .leader_says(Method::GET, &format!("/collections/{name}"), None)
            .await?;
        let indexes = there
            .get("payload_schema")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        // How many points it has is what is in it.
        let indexes = indexes.into_iter().map(|(field, mut index)| {
            if let Some(index) = index.as_object_mut() {
                index.remove("points");
            }
            (field, index)
        });
        let placed = self
            .leader_says(Method::GET, &format!("/collections/{name}/cluster"), None)
            .await?;
        let local = list(&placed, "local_shards");
        let shards = local.iter().chain(list(&placed, "remote_shards"));
        let mut keys: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for shard in shards {
            let id = shard
                .get("shard_id")
                .and_then(Value::as_u64)
                .context("a shard has a number")?;
            keys.entry(
                shard
                    .get("shard_key")
                    .map_or_else(|| "null".to_owned(), Value::to_string),
            )
            .or_default()
            .insert(id);
        }
        Ok(json!({
            "config": there.get("config"),
            "indexes": indexes.collect::<serde_json::Map<_, _>>(),
            "shards": keys,
        }))
    }

    /// The `result` of a request to the leader's Qdrant.
    async fn leader_says(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let leader = self.leader().context("look for the leader")?;
        let client = reqwest::Client::builder()
            .timeout(timing::REST)
            .no_proxy()
            .build()
            .context("build a client")?;
        let mut request = client
            .request(method, format!("http://{}:6333{path}", leader.address))
            .header("api-key", &leader.api_key);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .with_context(|| format!("ask {path}"))?;
        let status = answer.status();
        if !status.is_success() {
            let said = answer.text().await.unwrap_or_default();
            bail!("{path}: {status}: {said}");
        }
        let mut said: Value = answer
            .json()
            .await
            .with_context(|| format!("read {path}"))?;
        let result = said.get_mut("result").map(Value::take);
        Ok(result.unwrap_or_default())
    }
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let list = of.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}
