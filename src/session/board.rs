//! Where a session's task says how the session stands, and others wait for news.
//!
//! One writer, any number of readers, and the latest is all that is kept. Unlike
//! tokio's `watch`, which spreads its readers over eight lists, it has one: a
//! session has few readers, and a process may have many sessions.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;

/// Both ends of a board on which `first` stands.
pub(super) fn board<T>(first: T) -> (Writer<T>, Reader<T>) {
    let latest = Latest {
        value: first,
        version: 0,
        closed: false,
    };
    let shared = Arc::new(Shared {
        latest: Mutex::new(latest),
        changed: Notify::new(),
    });
    let reader = Reader {
        shared: Arc::clone(&shared),
        seen: None,
    };
    (Writer(shared), reader)
}

#[derive(Debug)]
struct Shared<T> {
    latest: Mutex<Latest<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct Latest<T> {
    value: T,
    version: u64,
    /// The writer is gone.
    closed: bool,
}

impl<T> Shared<T> {
    /// What stands there is whole even if someone panicked inside.
    fn lock(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Latest<T>)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }
}

impl<T: Clone> Shared<T> {
    /// The latest for one who has seen that version; `None` if none will follow.
    fn news(&self, seen: &mut Option<u64>) -> Poll<Option<T>> {
        let latest = self.lock();
        if seen.replace(latest.version) != Some(latest.version) {
            Poll::Ready(Some(latest.value.clone()))
        } else if latest.closed {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

/// What writes.
#[derive(Debug)]
pub(super) struct Writer<T>(Arc<Shared<T>>);

impl<T> Writer<T> {
    /// Makes the next out of the latest.
    pub(super) fn update(&self, update: impl FnOnce(&mut T)) {
        self.0.change(|latest| {
            update(&mut latest.value);
            latest.version = latest.version.wrapping_add(1);
        });
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.0.change(|latest| latest.closed = true);
    }
}

/// What reads.
#[derive(Clone, Debug)]
pub(super) struct Reader<T> {
    shared: Arc<Shared<T>>,
    /// The version that it has returned last.
    seen: Option<u64>,
}

impl<T: Clone> Reader<T> {
    /// The latest, read or not.
    pub(super) fn latest(&self) -> T {
        self.shared.lock().value.clone()
    }

    /// A reader that has read nothing yet.
    pub(super) fn anew(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            seen: None,
        }
    }

    /// Waits for one that it has not returned yet: the latest. `None` when it
    /// has returned the last.
    ///
    /// # Cancel safety
    ///
    /// What it would have returned counts as not read.
    pub(super) async fn next(&mut self) -> Option<T> {
        loop {
            // It hears of all changes from here on, so that none is missed
            // between the look and the wait.
            let changed = pin!(self.shared.changed.notified());
            if let Poll::Ready(found) = self.shared.news(&mut self.seen) {
                return found;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    /// What it returns at once.
    fn now<T: Clone>(reader: &mut Reader<T>) -> Poll<Option<T>> {
        pin!(reader.next()).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_reader_gets_the_first_and_then_what_is_new() {
        let (writer, mut reader) = board(1);
        assert_eq!(now(&mut reader), Poll::Ready(Some(1)));
        assert_eq!(now(&mut reader), Poll::Pending);
        writer.update(|value| *value += 1);
        writer.update(|value| *value += 1);
        assert_eq!(reader.latest(), 3);
        assert_eq!(now(&mut reader), Poll::Ready(Some(3)));
        assert_eq!(now(&mut reader), Poll::Pending);
        assert_eq!(now(&mut reader.anew()), Poll::Ready(Some(3)));
    }

    #[test]
    fn the_last_is_read_before_the_end() {
        let (writer, mut reader) = board(1);
        writer.update(|value| *value = 2);
        drop(writer);
        assert_eq!(now(&mut reader), Poll::Ready(Some(2)));
        assert_eq!(now(&mut reader), Poll::Ready(None));
        assert_eq!(now(&mut reader), Poll::Ready(None));
        assert_eq!(reader.latest(), 2);
    }

    #[tokio::test]
    async fn all_who_wait_hear_of_a_change_and_of_the_end() {
        let (writer, mut reader) = board(1);
        assert_eq!(reader.next().await, Some(1));
        let waiting = [reader.clone(), reader].map(|mut reader| {
            tokio::spawn(async move { (reader.next().await, reader.next().await) })
        });
        tokio::task::yield_now().await;
        writer.update(|value| *value = 2);
        tokio::task::yield_now().await;
        drop(writer);
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap(), (Some(2), None));
        }
    }
}
