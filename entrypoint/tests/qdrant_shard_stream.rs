//! The verifier of archives against a shard stream of a real Qdrant, where `QDRANT_BIN` names one.

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use entrypoint::archive::{Fault, Verifier, verify};
    use serde_json::{Value, json};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// One Qdrant on loopback; it ends with this.
    struct Qdrant {
        child: Child,
        url: String,
    }

    impl Drop for Qdrant {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    impl Qdrant {
        fn start(program: &str, dir: &Path) -> Self {
            let (http, grpc) = (free_port(), free_port());
            let child = Command::new(program)
                .current_dir(dir)
                .env("QDRANT__SERVICE__HOST", "127.0.0.1")
                .env("QDRANT__SERVICE__HTTP_PORT", http.to_string())
                .env("QDRANT__SERVICE__GRPC_PORT", grpc.to_string())
                .env("QDRANT__STORAGE__STORAGE_PATH", dir.join("storage"))
                .env("QDRANT__STORAGE__SNAPSHOTS_PATH", dir.join("snapshots"))
                .env("QDRANT__TELEMETRY_DISABLED", "true")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let url = format!("http://127.0.0.1:{http}");
            let qdrant = Self { child, url };
            let end = Instant::now() + PATIENCE;
            loop {
                match ureq::get(format!("{}/readyz", qdrant.url)).call() {
                    Ok(_) => return qdrant,
                    Err(error) if Instant::now() > end => panic!("not ready; last: {error}"),
                    Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }

        fn put(&self, path: &str, body: &Value) {
            let answer = ureq::put(format!("{}{path}", self.url)).send(&body.to_string());
            let answer = answer.unwrap().body_mut().read_to_string().unwrap();
            assert!(answer.contains("\"ok\""), "{path}: {answer}");
        }

        fn bytes(&self, path: &str) -> Vec<u8> {
            let answer = ureq::get(format!("{}{path}", self.url)).call().unwrap();
            let mut bytes = Vec::new();
            answer
                .into_body()
                .into_reader()
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        }
    }

    fn points(from: u64, to: u64) -> Value {
        let point = |id: u64| {
            json!({
                "id": id,
                "vector": [id as f64, 1.0, 2.0, 3.0],
                "payload": {"city": format!("city {}", id % 7), "text": "words ".repeat(20)},
            })
        };
        json!({ "points": (from..to).map(point).collect::<Vec<_>>() })
    }

    #[test]
    fn a_stream_of_the_real_one_is_accepted_and_no_part_of_it() {
        let Some(program) = env::var("QDRANT_BIN").ok().filter(|bin| !bin.is_empty()) else {
            println!("skipped: QDRANT_BIN names no Qdrant");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let qdrant = Qdrant::start(&program, dir.path());
        // A small write-ahead log, so that every single byte can be tried.
        let config = json!({
            "vectors": {"size": 4, "distance": "Cosine"},
            "wal_config": {"wal_capacity_mb": 1},
            "optimizers_config": {"default_segment_number": 2},
        });
        qdrant.put("/collections/things", &config);
        qdrant.put(
            "/collections/things/index?wait=true",
            &json!({"field_name": "city", "field_schema": "keyword"}),
        );
        for from in (0..2000).step_by(500) {
            qdrant.put(
                "/collections/things/points?wait=true",
                &points(from, from + 500),
            );
        }
        let bytes = qdrant.bytes("/collections/things/shards/0/snapshot");
        let summary = verify(bytes.as_slice()).unwrap();
        println!("accepted: {summary:?}");
        assert_eq!(summary.bytes, bytes.len() as u64);
        assert!(summary.segments >= 1 && summary.entries > 10, "{summary:?}");
        assert_eq!(summary.unknown, 0, "this Qdrant writes something new");

        // Cut at every block and beside it, and at every byte of the end.
        let mut verifier = Verifier::new();
        let (blocks, _) = bytes.as_chunks::<512>();
        for (n, block) in blocks.iter().enumerate() {
            assert!(
                verifier.clone().finish().is_err(),
                "accepted {n} blocks of {}",
                blocks.len()
            );
            let mut beside = verifier.clone();
            beside.push(&block[..1]).unwrap();
            assert!(beside.finish().is_err(), "accepted {n} blocks and a byte");
            verifier.push(block).unwrap();
        }
        for length in bytes.len() - 1536..bytes.len() {
            assert!(verify(&bytes[..length]).is_err(), "accepted {length} bytes");
        }
        let mut more = bytes.clone();
        more.push(0);
        let refused = verify(more.as_slice()).unwrap_err().to_string();
        assert!(refused.contains(&Fault::Trailing.to_string()), "{refused}");
    }
}
