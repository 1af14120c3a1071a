//! The one task of a session: the only code that touches its socket, its timer
//! and the clock. It decides nothing; the engine does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use super::board::Writer;
use super::clock::Clock;
use super::dialer::{Dialer, Dialing};
use super::engine::{Action, Engine, Io, Recipe};
use super::handle::SessionState;
use super::inbox::Receiver;
use super::pace::Pace;
use super::state::{Cause, SessionEvent};
use super::stats::SessionStats;
use super::time::Timestamp;
use super::transport::{Flush, Read, Transport};
use crate::trace::{Span, event};

/// After so many turns without a rest, other tasks get theirs.
const TURNS: usize = 32;
/// After so many frames in one turn, timers and commands get theirs.
const FRAMES_PER_TURN: usize = 256;

/// What a handle sends to its session's task.
#[derive(Debug)]
pub(crate) enum Message<C> {
    /// For the recipe.
    Recipe(C),
    /// Close the session, and say when that is done.
    Close(oneshot::Sender<()>),
    /// Count what the session has seen.
    Stats(oneshot::Sender<SessionStats>),
}

/// A recipe that a task of its own can drive.
pub trait Hosted:
    Recipe<Token: Send + Unpin, Command: Send> + Default + Send + Unpin + 'static
{
}

impl<R> Hosted for R where
    R: Recipe<Token: Send + Unpin, Command: Send> + Default + Send + Unpin + 'static
{
}

enum Link {
    Down,
    Dialing(Dialing),
    Up(Transport),
}

/// What is outside the machines, and how it is to be.
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) dialer: Dialer,
    /// How many servers there are to dial in turn.
    pub(super) servers: usize,
    pub(super) max_frame: usize,
}

/// The task. It ends when the session is closed or its last handle is gone.
pub(super) struct Driver<R: Recipe> {
    engine: Engine<R>,
    surroundings: Surroundings,
    inbox: Receiver<Message<R::Command>>,
    inbox_open: bool,
    link: Link,
    pace: Pace,
    dials: usize,
    timer: Pin<Box<Sleep>>,
    timer_set_for: Option<Timestamp>,
    state: Writer<SessionState>,
    closers: Vec<oneshot::Sender<()>>,
    stopped: bool,
    /// All tasks run on one thread: those of the users never beside this one.
    alone: bool,
    /// The others had their turn since the last write.
    yielded: bool,
    span: Span,
}

impl<R: Recipe> Driver<R> {
    pub(super) fn new(
        engine: Engine<R>,
        surroundings: Surroundings,
        inbox: Receiver<Message<R::Command>>,
        state: Writer<SessionState>,
        span: Span,
    ) -> Self {
        Self {
            engine,
            surroundings,
            inbox,
            inbox_open: true,
            link: Link::Down,
            pace: Pace::default(),
            dials: 0,
            timer: Box::pin(sleep(Duration::ZERO)),
            timer_set_for: None,
            state,
            closers: Vec::new(),
            stopped: false,
            alone: Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread,
            yielded: false,
            span,
        }
    }

    fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }

    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let progress = self.turn(cx);
            if self.stopped {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One round of everything. The socket comes before the timers: after a
    /// pause, what has arrived meanwhile must count before what was missed.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        // Asked once: what has passed by the next look is the next turn's.
        let pause = self.pause();
        let heard = pause.is_none() && self.read(cx);
        let mut progress = heard;
        progress |= self.keep_time(pause, cx);
        progress |= self.take_messages(cx);
        progress |= self.act();
        if heard && self.yields(cx) {
            return false;
        }
        progress |= self.write(cx);
        progress
    }

    /// Whoever was answered may ask for more at once, as one who is granted a
    /// lock and releases it, and that is to go out in the same write. So on a
    /// runtime of one thread the others come first, once for each write. Where
    /// there are more threads another would only take this task over.
    fn yields(&mut self, cx: &mut Context<'_>) -> bool {
        let has_requests = self.engine.session().has_requests();
        self.yielded = self.alone && has_requests && !self.yielded;
        if self.yielded {
            // This puts it behind those that are ready.
            cx.waker().wake_by_ref();
        }
        self.yielded
    }

    /// Until when the connection is not read, though time is kept: never beyond
    /// what is due, which has to see all that has arrived.
    fn pause(&self) -> Option<Timestamp> {
        let until = self.pace.pause()?;
        let now = self.now();
        let due = self.engine.deadline().is_some_and(|at| at <= now);
        (now < until && !due).then_some(until)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let frames = self.read_frames(cx);
        if frames > 0 {
            let in_flight = self.engine.session().in_flight();
            let clock = self.surroundings.clock;
            self.pace.read(frames, in_flight, || clock.now());
        }
        frames > 0
    }

    /// How many frames came; parts of them and other news of the connection count
    /// as one each.
    fn read_frames(&mut self, cx: &mut Context<'_>) -> usize {
        for frames in 0..FRAMES_PER_TURN {
            let io = match &mut self.link {
                Link::Down => return frames,
                Link::Dialing(dial) => match dial.as_mut().poll(cx) {
                    Poll::Pending => return frames,
                    Poll::Ready(Ok(stream)) => {
                        self.link = Link::Up(Transport::new(stream, self.surroundings.max_frame));
                        Io::Connected
                    }
                    Poll::Ready(Err(cause)) => self.hang_up(cause),
                },
                Link::Up(transport) => match transport.poll_read(cx) {
                    Poll::Pending => return frames,
                    Poll::Ready(Ok(Read::Frame(frame))) => Io::Frame(frame),
                    Poll::Ready(Ok(Read::Partial)) => Io::Partial,
                    Poll::Ready(Err(cause)) => self.hang_up(cause),
                },
            };
            self.tell(io);
            // A frame may end the connection: obey before reading on.
            self.act();
        }
        FRAMES_PER_TURN
    }

    fn hang_up(&mut self, cause: Cause) -> Io {
        self.link = Link::Down;
        Io::Disconnected(self.surroundings.dialer.explain(cause))
    }

    fn tell(&mut self, io: Io) {
        let now = self.now();
        let allowed = self.engine.io(io, now);
        debug_assert_eq!(allowed, Ok(()), "the link is what the engine asked for");
    }

    fn keep_time(&mut self, pause: Option<Timestamp>, cx: &mut Context<'_>) -> bool {
        let now = self.now();
        let deadline = self.engine.deadline();
        if deadline.is_some_and(|at| at <= now) {
            if pause.is_some() {
                // It has become due since: read first.
                return true;
            }
            self.inbox.give_back();
            self.engine.tick(now);
            return true;
        }
        let times = [deadline, pause];
        let Some(deadline) = times.into_iter().flatten().min() else {
            return false;
        };
        if self.timer_set_for != Some(deadline) {
            self.timer_set_for = Some(deadline);
            let at = Instant::now().checked_add(deadline - now);
            self.timer.as_mut().reset(at.unwrap_or_else(far_future));
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        // Rounding woke us early, or the two clocks disagree: set it again.
        self.timer_set_for = None;
        true
    }

    fn take_messages(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while self.inbox_open {
            match self.inbox.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Message::Recipe(command))) => {
                    self.engine.command(command, self.now());
                }
                Poll::Ready(Some(Message::Close(done))) => {
                    self.closers.push(done);
                    self.engine.close(self.now());
                }
                Poll::Ready(Some(Message::Stats(sender))) => {
                    // Nobody listens if the future was dropped.
                    let _ = sender.send(self.engine.session().stats(self.now()));
                }
                Poll::Ready(None) => {
                    self.inbox_open = false;
                    self.engine.close(self.now());
                }
            }
            progress = true;
        }
        progress
    }

    /// Does what the engine asks for.
    fn act(&mut self) -> bool {
        let mut progress = false;
        while let Some(action) = self.engine.poll() {
            self.link = match action {
                Action::HangUp => Link::Down,
                Action::Dial(server) => {
                    event!(debug, server = %server, "dialing");
                    // Another of a server's addresses first in each round.
                    let round = self
                        .dials
                        .checked_div(self.surroundings.servers)
                        .unwrap_or(0);
                    self.dials = self.dials.wrapping_add(1);
                    Link::Dialing(self.surroundings.dialer.dial(server, round))
                }
            };
            progress = true;
        }
        while let Some(event) = self.engine.event() {
            event!(info, event = %event, "session");
            self.stopped |= matches!(event, SessionEvent::Stopped(_));
            let session = self.engine.session();
            let left = session.lease().map(|until| until - self.now());
            let (id, left) = (session.session_id(), left.unwrap_or_default());
            self.state.update(|state| state.after(event, id, left));
            progress = true;
        }
        progress
    }

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.now();
        let Link::Up(transport) = &mut self.link else {
            return false;
        };
        if let Some(frames) = self.engine.transmit(now) {
            transport.start_write(frames);
        }
        let io = match transport.poll_flush(cx) {
            Poll::Pending | Poll::Ready(Ok(Flush::Idle)) => return false,
            Poll::Ready(Ok(Flush::Done)) => Io::Flushed,
            Poll::Ready(Err(cause)) => self.hang_up(cause),
        };
        self.tell(io);
        true
    }
}

/// The runtime shuts down: whoever waits on another one must hear of it.
impl<R: Recipe> Drop for Driver<R> {
    fn drop(&mut self) {
        if !self.stopped {
            self.engine.abandon(self.now());
            self.act();
        }
    }
}

/// What tokio's timers take for never.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86_400 * 365 * 30)
}

impl<R: Recipe<Token: Unpin> + Unpin> Future for Driver<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let span = this.span.clone();
        span.within(|| this.run(cx))
    }
}
