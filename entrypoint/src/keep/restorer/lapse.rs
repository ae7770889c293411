//! For how long our Qdrant may not answer, or not lead, before what is half made is given up. To make a
//! collection can take hours, so one missed answer must not begin it again. That another steward has been at it
//! meanwhile is seen by the Raft term, and what a late one does by the uuid: before each change, after the counts,
//! and in the record.

use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::time::Instant;

use super::PAUSE;
use super::outcome::{Done, Failed};

/// The longest moment.
const LAPSE: Duration = Duration::from_secs(15);

/// Why nothing is posted any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lapsed {
    /// Nothing was for [`LAPSE`].
    Silent,
    /// The rounds have ended.
    Ended,
}

/// Waits until nothing was posted for [`LAPSE`], or never will be.
pub(super) async fn lapsed<T>(posts: &mut channel::Receiver<Option<T>>) -> Lapsed {
    loop {
        if posts.wait_for(Option::is_none).await.is_err() {
            return Lapsed::Ended;
        }
        match tokio::time::timeout(LAPSE, posts.wait_for(Option::is_some)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Lapsed::Ended,
            Err(_) => return Lapsed::Silent,
        }
    }
}

/// Does it again while it has to wait for a moment only.
pub(super) async fn in_time<T, F>(what: impl Fn() -> F) -> Done<T>
where
    F: Future<Output = Done<T>>,
{
    let began = Instant::now();
    loop {
        match what().await {
            Err(Failed::Wait(_)) if began.elapsed() < LAPSE => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `lapsed` is over when nothing was posted for `silence`, and a post came then.
    async fn after(silence: Duration) -> Option<Lapsed> {
        let (posts, mut posted) = channel::channel(Some(()));
        let waits = tokio::spawn(async move { lapsed(&mut posted).await });
        posts.send_replace(None);
        tokio::time::sleep(silence).await;
        posts.send_replace(Some(()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        match waits.is_finished() {
            true => waits.await.ok(),
            false => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_without_a_post_ends_nothing() {
        assert_eq!(after(LAPSE - Duration::from_secs(1)).await, None);
        let longer = after(LAPSE + Duration::from_secs(1)).await;
        assert_eq!(longer, Some(Lapsed::Silent));
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_waited_for() {
        let began = Instant::now();
        let late = LAPSE - Duration::from_secs(1);
        let done = in_time(|| async {
            match began.elapsed() < late {
                true => Err(Failed::Wait("not yet".to_owned())),
                false => Ok(()),
            }
        });
        assert!(done.await.is_ok());
        let never = in_time::<(), _>(|| async { Err(Failed::Wait("never".to_owned())) });
        assert!(never.await.is_err());
        assert!(began.elapsed() < 3 * LAPSE);
        let again = Instant::now();
        let over = in_time::<(), _>(|| async { Err(Failed::Overtaken("over".to_owned())) });
        assert!(matches!(over.await, Err(Failed::Overtaken(_))));
        assert_eq!(again.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_that_have_ended_post_no_more() {
        let (posts, mut posted) = channel::channel(None::<()>);
        drop(posts);
        assert_eq!(lapsed(&mut posted).await, Lapsed::Ended);
        let (posts, mut posted) = channel::channel(Some(()));
        drop(posts);
        assert_eq!(lapsed(&mut posted).await, Lapsed::Ended);
    }
}
