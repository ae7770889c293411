//! The pipe between the thread that archives a shard and the request that streams the archive.
//!
//! Owns: how wide it is. Each time one end waits for the other it costs a switch between threads, whatever was handed over.

/// What the thread may be ahead of the request by, in bytes. Each stream holds as much while it lasts.
pub const WIDTH: usize = 512 * 1024;

/// The largest piece that is handed on at once, in bytes: what the buffer of pieces keeps as its size, which is no more.
pub const PIECE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::TryStreamExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::time::timeout;
    use tokio_util::codec::{BytesCodec, FramedRead};

    use super::*;

    /// More than a read of a disk brings at once.
    const AHEAD: usize = 256 * 1024;

    #[tokio::test]
    async fn a_writer_gets_far_ahead_and_all_of_it_arrives_in_large_pieces() {
        let (read, mut write) = tokio::io::duplex(WIDTH);
        let written: Vec<u8> = (0..AHEAD).map(|at| (at / 251) as u8).collect();
        let all = timeout(Duration::from_secs(10), write.write_all(&written)).await;
        all.expect("the writer does not wait for the reader")
            .unwrap();
        drop(write);

        let pieces = FramedRead::with_capacity(read, BytesCodec::new(), PIECE);
        let pieces: Vec<_> = pieces.try_collect().await.unwrap();
        assert_eq!(pieces.concat(), written);
        assert!(pieces.len() <= AHEAD / (32 * 1024), "{}", pieces.len());
    }
}
