//! The engine, with a clock, a connection and a server that the story moves.

use std::time::Duration;

use bytes::Bytes;
use zklock::session::{Action, Cause, Engine, Io, Timestamp};

use super::peer::Peer;
use super::story::{Answer, Answered, Step, Story, Welcome};
use super::watched::{Subject, Watched};

/// No single input brings about more than so many outputs, beside the outcomes of
/// requests.
const OUTPUTS: usize = 16;
/// A close ends a session within this time, whatever the server does.
const CLOSE: Duration = Duration::from_secs(2);
/// It does so in at most so many steps.
const CLOSE_STEPS: usize = 100;
/// Beside the recipe's requests, a heartbeat's two and a closeSession.
const OWN_IN_FLIGHT: usize = 3;

/// Lets a story happen to a session with this recipe, and closes it.
pub(super) fn run<R: Subject>(story: Story<R::Command>) {
    let mut world = World::<R>::new(&story);
    for step in story.steps {
        world.step(step);
    }
    world.finish();
}

/// The connection, as the engine wants it and the network leaves it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Down,
    Dialing,
    Up,
}

struct World<R: Subject> {
    engine: Engine<Watched<R>>,
    now: Timestamp,
    link: Link,
    /// What was transmitted is not all written.
    writing: bool,
    peer: Peer,
    most_in_flight: usize,
}

impl<R: Subject> World<R> {
    fn new(story: &Story<R::Command>) -> Self {
        let (config, now) = (story.setup.config(), story.setup.start());
        let most_in_flight = config.max_in_flight + OWN_IN_FLIGHT;
        Self {
            engine: Engine::new(config, Watched::new(), now),
            now,
            link: Link::Down,
            writing: false,
            peer: Peer::new(),
            most_in_flight,
        }
    }

    fn step(&mut self, step: Step<R::Command>) {
        match step {
            Step::Oblige(times) => (0..times % 32).for_each(|_| self.oblige()),
            Step::Wait { micros } => self.now = self.now + Duration::from_micros(micros.into()),
            Step::Tick => self.tick(),
            Step::Sleep => self.sleep(),
            Step::Connected => self.connect(),
            Step::Disconnected { executed } => self.disconnect(executed.into()),
            Step::Write => self.write(),
            Step::Flushed => self.flush(),
            Step::Partial => self.arrive(Io::Partial),
            Step::Welcome(welcome) => self.welcome(welcome),
            Step::Reply(answer) => self.reply(answer),
            Step::Event { kind, node } => self.frame(self.peer.event(kind, node)),
            Step::Remove { node } => {
                let event = self.peer.remove(node);
                event.into_iter().for_each(|event| self.frame(event));
            }
            Step::Frame(frame) => self.frame(frame.into()),
            Step::Ask(ask) => self.ask(ask),
            Step::Close => self.close(),
        }
    }

    /// What would happen next if all went well.
    fn oblige(&mut self) {
        match self.link {
            Link::Dialing => self.connect(),
            Link::Up if self.writing => self.flush(),
            Link::Up => {
                self.write();
                if !self.writing {
                    self.oblige_client();
                }
            }
            Link::Down => self.sleep(),
        }
    }

    fn oblige_client(&mut self) {
        if self.peer.owes_welcome() {
            self.welcome(Welcome::Good);
        } else if self.peer.in_flight() > 0 {
            self.reply(Answer {
                skip: 0,
                zxid: 0,
                outcome: Answered::Executed,
            });
        } else {
            self.sleep();
        }
    }

    fn connect(&mut self) {
        let allowed = self.link == Link::Dialing;
        if allowed {
            self.link = Link::Up;
            self.writing = false;
            self.peer.connect();
        }
        self.io(Io::Connected, allowed);
    }

    fn disconnect(&mut self, executed: usize) {
        if self.link == Link::Up {
            self.peer.execute_in_vain(executed, self.session());
        }
        self.link = Link::Down;
        self.io(Io::Disconnected(Cause::ClosedByServer), true);
    }

    /// The socket takes what the engine has for it, if it has taken the last.
    fn write(&mut self) {
        let Some(bytes) = self.engine.transmit(self.now) else {
            return;
        };
        assert!(!self.writing, "the last transmission is not flushed");
        assert_eq!(self.link, Link::Up);
        assert!(!bytes.is_empty());
        self.writing = true;
        let session = self.engine.session().session_id();
        self.peer.receive(&bytes, session);
        assert!(self.peer.in_flight() <= self.most_in_flight);
    }

    fn flush(&mut self) {
        self.writing = false;
        self.arrive(Io::Flushed);
    }

    fn welcome(&mut self, welcome: Welcome) {
        let session = self.engine.session().session_id();
        let frame = self.peer.welcome(welcome, session);
        self.frame(frame);
    }

    fn reply(&mut self, answer: Answer) {
        let session = self.session();
        if let Some(frame) = self.peer.answer(answer, session) {
            self.frame(frame);
        }
    }

    fn frame(&mut self, frame: Bytes) {
        self.arrive(Io::Frame(frame));
    }

    /// Something that takes a connection.
    fn arrive(&mut self, io: Io) {
        self.io(io, self.link == Link::Up);
    }

    fn io(&mut self, io: Io, allowed: bool) {
        let news = self.engine.recipe().news();
        let answer = self.engine.io(io, self.now);
        assert_eq!(answer.is_ok(), allowed, "{answer:?} when {:?}", self.link);
        self.settle(news);
    }

    fn ask(&mut self, ask: R::Command) {
        let news = self.engine.recipe().news();
        self.engine.command(ask, self.now);
        self.settle(news);
    }

    fn close(&mut self) {
        let news = self.engine.recipe().news();
        self.engine.close(self.now);
        self.settle(news);
    }

    fn sleep(&mut self) {
        if let Some(deadline) = self.engine.deadline() {
            self.now = self.now.max(deadline);
            self.tick();
        }
    }

    fn tick(&mut self) {
        let news = self.engine.recipe().news();
        self.engine.tick(self.now);
        self.settle(news);
        let next = self.engine.deadline();
        assert!(next.is_none_or(|next| next > self.now), "time stands still");
    }

    /// Does what the engine asks for, and checks how it stands.
    fn settle(&mut self, news: usize) {
        let mut outputs = 0;
        while let Some(action) = self.engine.poll() {
            outputs += 1;
            self.link = match (action, self.link) {
                (Action::Dial(_), Link::Down) => Link::Dialing,
                (Action::HangUp, Link::Dialing | Link::Up) => Link::Down,
                (action, link) => panic!("{action:?} when {link:?}"),
            };
        }
        while self.engine.event().is_some() {
            outputs += 1;
        }
        outputs += self.engine.recipe().news() - news;
        assert!(outputs <= OUTPUTS, "{outputs} outputs");
        self.check_state();
    }

    fn check_state(&self) {
        let (session, recipe) = (self.engine.session(), self.engine.recipe());
        assert_eq!(session.is_live(), recipe.is_live());
        assert_eq!(self.engine.deadline().is_none(), recipe.is_stopped());
        assert_eq!(session.lease().is_some(), session.session_id().is_some());
        if let (Some(until), Some(timeout)) = (session.lease(), session.timeout()) {
            assert!(until <= self.now + timeout, "a lease beyond the timeout");
        }
        if let (true, Some(timeout)) = (session.is_live(), session.timeout()) {
            let deadline = self.engine.deadline();
            let soon = deadline.is_some_and(|next| next <= self.now + timeout / 6);
            assert!(soon, "a silent server would not be noticed in time");
        }
        if recipe.is_stopped() {
            assert_eq!((recipe.open(), self.link), (0, Link::Down));
        }
    }

    /// Closes the session, with a server that has nothing more to say.
    fn finish(mut self) {
        self.close();
        let end = self.now + CLOSE;
        for _ in 0..CLOSE_STEPS {
            let Some(deadline) = self.engine.deadline() else {
                break;
            };
            assert!(deadline <= end, "a close that takes too long");
            self.sleep();
        }
        let recipe = self.engine.recipe();
        assert!(recipe.is_stopped(), "a close that does not end");
        recipe.recipe().check_end(self.peer.reached());
    }

    fn session(&self) -> i64 {
        self.engine.session().session_id().unwrap_or_default()
    }
}
