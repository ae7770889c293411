//! API keys on REST and between peers (trap T4's remedy).

use crate::subject::{Lab, s};

/// Everything but the four open paths answers 401 without the right key.
async fn rest_asks_for_the_key(lab: Lab) {
    let node = lab
        .node(1)
        .key("right")
        .env("QDRANT__SERVICE__ALT_API_KEY", "other")
        .start();
    node.leads_itself().await;
    for path in ["/", "/healthz", "/livez", "/readyz"] {
        let answer = node.call_with(None, "GET", path, None).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for path in [
        "/cluster",
        "/collections",
        "/cluster/metadata/keys",
        "/no/such/path",
    ] {
        for key in [None, Some("wrong"), Some("")] {
            let answer = node.call_with(key, "GET", path, None).await.unwrap();
            assert_eq!(answer.status, 401, "{path} with {key:?}: {answer:?}");
        }
    }
    for key in ["right", "other"] {
        let answer = node
            .call_with(Some(key), "GET", "/cluster", None)
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{key}");
    }
    let answer = node
        .call_with(None, "DELETE", "/cluster/peer/1", None)
        .await
        .unwrap();
    assert_eq!(answer.status, 401);
}

/// With enforcement a newcomer without the key, or with another one, is not taken in.
async fn peers_ask_for_the_key(lab: Lab) {
    let enforce =
        |spec: crate::subject::Spec| spec.env("QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH", "true");
    let first = lab
        .node(1)
        .key("right")
        .env("QDRANT__SERVICE__ALT_API_KEY", "other");
    let first = enforce(first).start();
    first.leads_itself().await;
    for (n, key) in [(2, None), (3, Some("wrong"))] {
        let spec = lab.node(n).join(&lab.uri(1));
        let mut node = key
            .into_iter()
            .fold(spec, |spec, key| spec.key(key))
            .start();
        assert_eq!(node.exit(s(10)).await.code(), Some(101), "{key:?}");
        assert!(
            node.started.elapsed() < s(5),
            "{key:?} took {:?}",
            node.started.elapsed()
        );
    }
    assert_eq!(first.view().await.peers.len(), 1);
    let second = enforce(lab.node(4).key("right").join(&lab.uri(1)))
        .start_joined()
        .await;
    second.is_voter_among(2).await;
}

/// Without enforcement the port between peers asks for nothing, even when a key is set.
async fn peers_do_not_ask_by_default(lab: Lab) {
    let first = lab.node(1).key("right").start();
    first.leads_itself().await;
    let second = lab.node(2).join(&lab.uri(1)).start_joined().await;
    second.is_voter_among(2).await;
}

crate::behaviours!(
    rest_asks_for_the_key,
    peers_ask_for_the_key,
    peers_do_not_ask_by_default
);
