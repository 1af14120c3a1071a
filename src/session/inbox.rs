//! What handles post to their session's task.
//!
//! An unbounded queue with many senders and one receiver. Unlike tokio's, which
//! allocates room for 32 messages at once, it takes no memory while nothing is
//! posted, and none for each message once it has been in use.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A queue keeps room for so many messages, however few it has.
const KEPT_CAPACITY: usize = 4;

/// Both ends of a queue.
pub(super) fn inbox<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared(Mutex::new(State {
        queue: VecDeque::new(),
        task: None,
        senders: 1,
        closed: false,
    })));
    let receiver = Receiver(Arc::clone(&shared));
    (Sender(shared), receiver)
}

/// The receiver is gone, and the message with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

struct Shared<T>(Mutex<State<T>>);

struct State<T> {
    queue: VecDeque<T>,
    /// Whom to wake when something is posted.
    task: Option<Waker>,
    senders: usize,
    /// The receiver is gone.
    closed: bool,
}

impl<T> Shared<T> {
    /// Nothing that can panic happens inside.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What posts.
pub(super) struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Posts a message. If the receiver is gone, it is dropped.
    pub(super) fn send(&self, message: T) -> Result<(), Gone> {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            return Err(Gone);
        }
        state.queue.push_back(message);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let mut state = self.0.lock();
        state.senders = state.senders.saturating_add(1);
        drop(state);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders = state.senders.saturating_sub(1);
        let last = state.senders == 0;
        let task = state.task.take_if(|_| last);
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// What takes, for one task.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next message; `None` when all are taken and no sender is left.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if let Some(message) = state.queue.pop_front() {
            return Poll::Ready(Some(message));
        }
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        match &mut state.task {
            Some(task) => task.clone_from(cx.waker()),
            task => *task = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Gives back the room that a burst has left.
    pub(super) fn give_back(&mut self) {
        self.0.lock().queue.shrink_to(KEPT_CAPACITY);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let (unread, task) = (std::mem::take(&mut state.queue), state.task.take());
        drop(state);
        // Whatever these wake may post again.
        drop((unread, task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn messages_come_in_order_and_wake_the_receiver_once() {
        let (sender, mut receiver) = inbox();
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut cx = Context::from_waker(&waker);
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
        assert_eq!(sender.send(1), Ok(()));
        assert_eq!(sender.clone().send(2), Ok(()));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some(1)));
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some(2)));
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
    }

    #[test]
    fn the_last_sender_to_go_ends_it_behind_what_was_posted() {
        let (sender, mut receiver) = inbox();
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut cx = Context::from_waker(&waker);
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
        let other = sender.clone();
        drop(sender);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        assert_eq!(other.send(1), Ok(()));
        drop(other);
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some(1)));
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn the_last_sender_to_go_wakes_the_receiver() {
        let (sender, mut receiver) = inbox::<()>();
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut cx = Context::from_waker(&waker);
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
        drop(sender);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn without_a_receiver_messages_are_dropped_those_posted_before_too() {
        let (sender, receiver) = inbox();
        let message = Arc::new(());
        assert_eq!(sender.send(Arc::clone(&message)), Ok(()));
        drop(receiver);
        assert_eq!(Arc::strong_count(&message), 1);
        assert_eq!(sender.send(Arc::clone(&message)), Err(Gone));
        assert_eq!(Arc::strong_count(&message), 1);
    }
}
