//! Runs the image as a service of three would run: formed, one killed, replaced, all stopped.
//!
//! The engine's DNS answers the service name with every container's address and one volume is the shared file
//! system. Root is read-only, there is no capability, and the user is the image's own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use super::docker::{Docker, Leftovers};
use super::{http, labels};

const SERVICE: &str = "qdrant";
const API_KEY: &str = "image-lane";
const CONTROL_PORT: &str = "6336";
/// A bound against waiting for ever, not an expectation: on a machine that compiles beside it, a replacement took three
/// minutes.
const FORMED_WITHIN: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(250);
/// Longer than the entrypoint's default stop budget, so that it is the entrypoint that keeps the budget.
const STOP_SECONDS: &str = "40";

/// Where Qdrant's own shutdown is seen.
const SHUTDOWN_LINES: [&str; 1] = ["received; starting"];
const READ_ONLY: [&str; 4] = ["/", "/qdrant", "/qdrant/licenses", "/etc"];
const WRITTEN: [&str; 4] = [
    "/qdrant/storage",
    "/qdrant/storage.proof",
    "/qdrant/snapshots",
    "/tmp",
];

/// One started container.
struct Task {
    name: String,
    control: SocketAddr,
}

/// As much of `/v1/status` as the lane judges.
#[derive(Debug, Deserialize)]
struct Status {
    phase: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    ready: bool,
    generation: Option<Generation>,
    peer_id: Option<u64>,
    #[serde(default)]
    peers: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Generation {
    number: u64,
    token: String,
}

/// Forms a cluster of three, kills one, replaces it, and stops all. `real` is whether Qdrant itself is in the image,
/// not its stand-in: only Qdrant says its last lines.
///
/// # Errors
/// What did not hold, with the last state of each container; their logs are printed.
pub fn rehearse(
    docker: &Docker,
    image: &str,
    real: bool,
    leftovers: &mut Leftovers<'_>,
) -> anyhow::Result<()> {
    let result = phases(docker, image, real, leftovers);
    if result.is_err() {
        for name in leftovers.containers() {
            if let Ok(output) = docker
                .command()
                .args(["logs", "--tail", "30", name])
                .output()
            {
                eprintln!("---- last lines of {name}");
                eprint!(
                    "{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
    result
}

fn phases(
    docker: &Docker,
    image: &str,
    real: bool,
    leftovers: &mut Leftovers<'_>,
) -> anyhow::Result<()> {
    ensure_image(docker, image)?;
    let network = leftovers.network()?;
    let volume = leftovers.volume()?;
    let mut tasks = Vec::new();
    for number in 1..=3 {
        tasks.push(start(
            docker,
            image,
            &network,
            &volume,
            &format!("task-{number}"),
            leftovers,
        )?);
    }
    let began = Instant::now();
    let formed = wait_for_one_cluster(&tasks, 3)?;
    println!(
        "image lane: three containers are one cluster, ready after {:.1} s; generation {}",
        began.elapsed().as_secs_f64(),
        formed.number
    );
    for task in &tasks {
        ensure_task(docker, task)?;
    }

    let killed = tasks.remove(0);
    docker.run(&["kill", &killed.name])?;
    let began = Instant::now();
    tasks.push(start(
        docker, image, &network, &volume, "task-4", leftovers,
    )?);
    let healed = wait_for_one_cluster(&tasks, 3)?;
    ensure!(
        healed.token == formed.token && healed.number == formed.number,
        "the replacement is in generation {healed:?}, the cluster was formed as {formed:?}"
    );
    println!(
        "image lane: one killed, its replacement is ready after {:.1} s",
        began.elapsed().as_secs_f64()
    );

    for task in &tasks {
        docker.run(&["stop", "--time", STOP_SECONDS, &task.name])?;
        let code = docker.run(&["inspect", "--format", "{{.State.ExitCode}}", &task.name])?;
        ensure!(
            code == "0",
            "{} ended with {code} after SIGTERM, wanted 0",
            task.name
        );
        if real {
            ensure_shutdown_lines(docker, task)?;
        }
    }
    println!(
        "image lane: all stopped with exit code 0{}",
        if real {
            ", each after Qdrant's own last lines"
        } else {
            ""
        }
    );
    Ok(())
}

/// What the image says about itself.
fn ensure_image(docker: &Docker, image: &str) -> anyhow::Result<()> {
    let json = docker.run(&["image", "inspect", "--format", "{{json .Config}}", image])?;
    let config = serde_json::from_str(&json).context("parse the image's configuration")?;
    let findings = labels::findings(&config);
    ensure!(findings.is_empty(), "the image: {}", findings.join("; "));
    Ok(())
}

fn start(
    docker: &Docker,
    image: &str,
    network: &str,
    volume: &str,
    name: &str,
    leftovers: &mut Leftovers<'_>,
) -> anyhow::Result<Task> {
    let name = leftovers.container(name);
    let label = leftovers.label();
    let shared = format!("{volume}:/qdrant/snapshots");
    let publish = format!("127.0.0.1::{CONTROL_PORT}");
    let mut arguments = vec!["run", "--detach", "--name", &name, "--label", &label];
    arguments.extend([
        "--network",
        network,
        "--network-alias",
        SERVICE,
        "--publish",
        &publish,
    ]);
    arguments.extend(["--volume", &shared, "--read-only", "--tmpfs", "/tmp"]);
    arguments.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
    let environment = [
        "ENTRYPOINT_CLUSTER_SIZE=3".to_owned(),
        format!("ENTRYPOINT_DNS_NAME={SERVICE}"),
        format!("ENTRYPOINT_SERVICE={SERVICE}"),
        format!("QDRANT__SERVICE__API_KEY={API_KEY}"),
    ];
    for variable in &environment {
        arguments.extend(["--env", variable]);
    }
    arguments.push(image);
    docker.run(&arguments)?;
    let published = docker.run(&["port", &name, CONTROL_PORT])?;
    let first = published.lines().next().unwrap_or_default();
    let control = first
        .parse()
        .with_context(|| format!("{name}: the engine says its control port is {first:?}"))?;
    Ok(Task { name, control })
}

/// Waits until every task is a ready member of the same generation that knows at least `peers` peers.
fn wait_for_one_cluster(tasks: &[Task], peers: usize) -> anyhow::Result<Generation> {
    let deadline = Instant::now() + FORMED_WITHIN;
    loop {
        let states: Vec<_> = tasks.iter().map(|task| (task, status(task))).collect();
        match judge(&states, peers) {
            Ok(generation) => return Ok(generation),
            Err(why) if Instant::now() >= deadline => {
                let shown: Vec<_> = states
                    .iter()
                    .map(|(task, state)| format!("{}: {}", task.name, shown(state)))
                    .collect();
                bail!(
                    "not one cluster after {FORMED_WITHIN:?}: {why}\n  {}",
                    shown.join("\n  ")
                );
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// The state that both the status and the load balancer's check agree on.
fn status(task: &Task) -> anyhow::Result<Status> {
    let (code, body) = http::get(task.control, "/v1/status", API_KEY)?;
    ensure!(code == 200, "/v1/status answers {code}: {}", body.trim());
    let mut status: Status = serde_json::from_str(&body).context("parse /v1/status")?;
    let (code, _) = http::get(task.control, "/readyz", "")?;
    status.ready = status.ready && code == 200;
    Ok(status)
}

fn shown(state: &anyhow::Result<Status>) -> String {
    match state {
        Ok(status) => format!(
            "{} ({}), ready {}, {} peers, generation {:?}",
            status.phase,
            status.reason,
            status.ready,
            status.peers.len(),
            status.generation
        ),
        Err(error) => format!("{error:#}"),
    }
}

/// The generation they share, or why they are not one cluster.
fn judge(states: &[(&Task, anyhow::Result<Status>)], peers: usize) -> Result<Generation, String> {
    let mut shared: Option<&Generation> = None;
    let mut ids = Vec::new();
    for (task, state) in states {
        let name = &task.name;
        let Ok(status) = state else {
            return Err(format!("{name} does not answer"));
        };
        let Some(generation) = &status.generation else {
            return Err(format!("{name} has no generation"));
        };
        if status.phase != "member" || !status.ready || status.peers.len() < peers {
            return Err(format!(
                "{name} is no ready member that knows {peers} peers"
            ));
        }
        if shared.is_some_and(|other| {
            other.token != generation.token || other.number != generation.number
        }) {
            return Err(format!("{name} is in another generation"));
        }
        shared = Some(generation);
        let Some(id) = status.peer_id else {
            return Err(format!("{name} has no peer id"));
        };
        if ids.contains(&id) {
            return Err(format!("{name} has the peer id of another container"));
        }
        ids.push(id);
    }
    let Some(Generation { number, token }) = shared else {
        return Err("nobody was asked".to_owned());
    };
    Ok(Generation {
        number: *number,
        token: token.clone(),
    })
}

/// A running task is not root and refuses who has no key.
fn ensure_task(docker: &Docker, task: &Task) -> anyhow::Result<()> {
    let id = docker.run(&["exec", &task.name, "id", "-u"])?;
    ensure!(id == "1000", "{} runs as user {id}, wanted 1000", task.name);
    ensure_read_only(docker, task)?;
    docker.run(&["exec", &task.name, "/qdrant/entrypoint", "health"])?;
    docker.run(&["exec", &task.name, "/qdrant/entrypoint", "status"])?;
    let (code, _) = http::get(task.control, "/v1/status", "not-the-key")?;
    ensure!(
        code == 401 || code == 403,
        "{}: /v1/status answers {code} to a wrong key",
        task.name
    );
    Ok(())
}

/// Qdrant ended by itself, not by a kill: that an exit code of 0 alone could hide.
fn ensure_shutdown_lines(docker: &Docker, task: &Task) -> anyhow::Result<()> {
    let mut command = docker.command();
    // Both streams: which one Qdrant writes to is its own choice.
    let logs = command
        .args(["logs", &task.name])
        .output()
        .context("read the logs")?;
    let said = [logs.stdout, logs.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    for line in SHUTDOWN_LINES {
        ensure!(
            said.contains(line),
            "{} ended with 0 and never said {line:?}",
            task.name
        );
    }
    Ok(())
}

/// The image is what the container may not change: only its volumes and /tmp take a file, and to the user alone.
fn ensure_read_only(docker: &Docker, task: &Task) -> anyhow::Result<()> {
    for path in READ_ONLY {
        let probe = format!("{path}/.probe");
        let tried = docker.run(&["exec", &task.name, "touch", &probe]);
        ensure!(tried.is_err(), "{}: {path} can be written", task.name);
    }
    for path in WRITTEN {
        let probe = format!("{path}/.probe");
        docker
            .run(&["exec", &task.name, "touch", &probe])
            .and_then(|_| docker.run(&["exec", &task.name, "rm", &probe]))
            .with_context(|| format!("{path} must take files"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(token: &str, peer_id: u64) -> serde_json::Value {
        serde_json::json!({
            "format": 1, "phase": "member", "reason": "in", "ready": true,
            "generation": {"number": 1, "token": token, "mode": "found"},
            "peer_id": peer_id, "peers": [{"id": 1}, {"id": 2}, {"id": 3}],
        })
    }

    fn judged(states: Vec<serde_json::Value>) -> Result<Generation, String> {
        let tasks: Vec<_> = (1..=states.len())
            .map(|n| Task {
                name: format!("task-{n}"),
                control: ([127, 0, 0, 1], 1).into(),
            })
            .collect();
        let states: Vec<_> = tasks
            .iter()
            .zip(states)
            .map(|(task, state)| (task, serde_json::from_value(state).map_err(Into::into)))
            .collect();
        judge(&states, 3)
    }

    #[test]
    fn three_ready_members_of_one_token_are_one_cluster() {
        let generation = judged(vec![member("a", 1), member("a", 2), member("a", 3)]).unwrap();
        assert_eq!((generation.number, generation.token.as_str()), (1, "a"));
    }

    #[test]
    fn two_clusters_a_twin_and_a_waiting_task_are_not() {
        let mut waiting = member("a", 3);
        waiting["phase"] = "waiting".into();
        let mut unformed = member("a", 3);
        unformed["generation"] = serde_json::Value::Null;
        let mut alone = member("a", 3);
        alone["peers"] = serde_json::json!([{"id": 3}]);
        for (third, why) in [
            (member("b", 3), "another generation"),
            (member("a", 2), "peer id of another"),
            (waiting, "no ready member"),
            (unformed, "no generation"),
            (alone, "knows 3 peers"),
            (serde_json::json!("noise"), "does not answer"),
        ] {
            let refused = judged(vec![member("a", 1), member("a", 2), third]).unwrap_err();
            assert!(
                refused.starts_with("task-3") && refused.contains(why),
                "{refused}"
            );
        }
    }
}
