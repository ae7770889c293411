//! The process: how it ends.

use crate::subject::{Lab, s};

/// SIGTERM: says so, ends with 0, soon.
async fn sigterm_ends_cleanly(lab: Lab) {
    let mut nodes = lab.cluster(2).await;
    nodes[1].term();
    assert_eq!(nodes[1].exit(s(10)).await.code(), Some(0));
    let log = nodes[1].log();
    assert!(log.contains("SIGTERM received"), "{}", nodes[1].tail());
}

/// What was acknowledged before SIGKILL is there afterwards.
async fn sigkill_loses_nothing(lab: Lab) {
    let mut node = lab.founder().await;
    node.create(1, 1, 10).await;
    for at in 0..20 {
        node.write(at * 10..at * 10 + 10).await;
    }
    node.kill();
    let again = lab.node(1).start();
    again.leads_itself().await;
    crate::subject::until("all points", s(10), async || match again.count().await? {
        200 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
}

/// SIGINT while a client writes without a pause over one connection: ends with 0 at once (SIGTERM
/// would wait half a minute for that connection), and every acknowledged write is there afterwards.
async fn sigint_under_load_loses_nothing(lab: Lab) {
    let mut node = lab.founder().await;
    node.create(1, 1, 10).await;
    let acknowledged = {
        let mut acknowledged = 0_u64;
        loop {
            let answer = node.try_write(acknowledged..acknowledged + 1).await;
            if !answer {
                break acknowledged;
            }
            acknowledged += 1;
            if acknowledged == 100 {
                node.interrupt();
            }
        }
    };
    assert!(acknowledged >= 100, "{acknowledged}");
    assert_eq!(node.exit(s(10)).await.code(), Some(0));
    assert!(node.log().contains("SIGINT received"), "{}", node.tail());
    let again = lab.node(1).start();
    again.leads_itself().await;
    // The last one may be there without its answer.
    crate::subject::until("all acknowledged points", s(10), async || {
        match again.count().await? {
            n if n == acknowledged || n == acknowledged + 1 => Ok(()),
            n => Err(format!("{n} of {acknowledged}")),
        }
    })
    .await;
}

crate::behaviours!(
    sigterm_ends_cleanly,
    sigkill_loses_nothing,
    sigint_under_load_loses_nothing
);
