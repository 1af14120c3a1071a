//! A look at a whole queue, for people and their tools.
//!
//! The claims are listed, and then asked one by one what they say of
//! themselves, a few at a time. What goes meanwhile is left out, and what is too
//! much for the server is asked again. A connection that breaks means starting
//! over.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::acquisition::{LockSpec, Notice, Token};
use super::claim::{SequenceNumber, sequence_number};
use super::contenders::{Contender, Queue, headroom};
use super::effects::{Effects, LiveSession};
use super::error::QueueError;
use super::metadata::ClaimData;
use crate::proto::{Children, ErrorCode, Reply, Request, Stat};
use crate::session::{Outcome, Timestamp};

/// Names a survey among those of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SurveyId(pub u64);

/// A request for a survey.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SurveyRequest {
    /// Its name; every survey has another one.
    pub id: SurveyId,
    /// The lock whose queue is to be looked at.
    pub lock: Arc<LockSpec>,
    /// When to give up.
    pub deadline: Timestamp,
}

/// Which request of a survey a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SurveyStep {
    /// Which survey.
    pub id: SurveyId,
    /// How often it has begun.
    pub attempt: u32,
    /// What was asked.
    pub op: SurveyOp,
}

/// What a survey asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SurveyOp {
    /// For the names.
    List,
    /// For the data of the claim at this place among them.
    Read(usize),
    /// For no more than what is known of the claim at this place, since its
    /// data may not be read.
    Stat(usize),
    /// For the same ahead of its data, which may be more than a frame takes.
    Measure(usize),
}

/// So many claims are asked at a time, so that nothing else has to wait long.
const WINDOW: usize = 64;

/// What the answer to a read is longer than the data: by header, length and
/// Stat.
const BESIDE_DATA: usize = 16 + 4 + 68;

/// The surveys under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Surveys(BTreeMap<SurveyId, Survey>);

impl Surveys {
    pub(super) fn begin(
        &mut self,
        request: SurveyRequest,
        live: Option<LiveSession>,
        effects: &mut Effects,
    ) {
        let id = request.id;
        let survey = self.0.entry(id).or_insert_with(|| Survey::new(request, 0));
        if live.is_some() {
            survey.start(effects);
        }
    }

    /// There is a new connection.
    pub(super) fn start_over(&mut self, effects: &mut Effects) {
        self.0.values_mut().for_each(|survey| survey.start(effects));
    }

    /// There is nothing to do before there is one.
    pub(super) fn disconnected(&mut self) {
        for survey in self.0.values_mut() {
            survey.retry_at = None;
        }
    }

    pub(super) fn close(&mut self, effects: &mut Effects) {
        for id in std::mem::take(&mut self.0).into_keys() {
            let result = Err(QueueError::Closed);
            effects.notify(Notice::Surveyed { id, result });
        }
    }

    pub(super) fn completed(
        &mut self,
        SurveyStep { id, attempt, op }: SurveyStep,
        outcome: Outcome,
        live: Option<LiveSession>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Some(survey) = self.0.get_mut(&id).filter(|other| other.attempt == attempt) else {
            return;
        };
        let result = match survey.take(op, outcome, effects) {
            Ok(()) => survey.result(),
            Err(Setback::Failed(error)) => Some(Err(error)),
            Err(Setback::Throttled) => {
                let later = live.map(|live| now + live.timeout / 6);
                survey.retry_at = survey.retry_at.or(later);
                None
            }
            Err(Setback::Disconnected) => None,
        };
        if let Some(result) = result {
            self.0.remove(&id);
            effects.notify(Notice::Surveyed { id, result });
        }
    }

    pub(super) fn keep_time(
        &mut self,
        live: Option<LiveSession>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        self.0.retain(|id, survey| {
            let in_time = now < survey.request.deadline;
            if !in_time {
                let (id, result) = (*id, Err(QueueError::TimedOut));
                effects.notify(Notice::Surveyed { id, result });
            } else if live.is_some() && survey.retry_at.is_some_and(|at| at <= now) {
                survey.ask_again(effects);
            }
            in_time
        });
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let times = |survey: &Survey| [Some(survey.request.deadline), survey.retry_at];
        let times = self.0.values().flat_map(times).flatten();
        times.filter(|at| *at != Timestamp::MAX).min()
    }
}

/// One survey.
#[derive(Clone, Debug)]
struct Survey {
    request: SurveyRequest,
    attempt: u32,
    /// The contenders, once they are listed.
    names: Option<Vec<(Arc<str>, SequenceNumber)>>,
    /// How many of them have been asked, and have not answered.
    asked: usize,
    open: usize,
    queue: Queue,
    /// What the server had too much to do for, and when to ask again.
    throttled: Vec<SurveyOp>,
    retry_at: Option<Timestamp>,
    /// How long a frame may be, in bytes, once the data of a claim were more.
    max: Option<usize>,
}

/// Why a survey does not go on.
enum Setback {
    Failed(QueueError),
    Throttled,
    Disconnected,
}

impl Survey {
    fn new(request: SurveyRequest, attempt: u32) -> Self {
        Self {
            queue: Queue::empty(request.lock.path.clone()),
            request,
            attempt,
            names: None,
            asked: 0,
            open: 0,
            throttled: Vec::new(),
            retry_at: None,
            max: None,
        }
    }

    fn start(&mut self, effects: &mut Effects) {
        let max = self.max;
        let anew = Self::new(self.request.clone(), self.attempt.wrapping_add(1));
        *self = Self { max, ..anew };
        self.ask(SurveyOp::List, effects);
    }

    fn ask_again(&mut self, effects: &mut Effects) {
        self.retry_at = None;
        for op in std::mem::take(&mut self.throttled) {
            self.ask(op, effects);
        }
    }

    fn ask(&self, op: SurveyOp, effects: &mut Effects) {
        let watch = false;
        let request = match op {
            SurveyOp::List => {
                let path = self.request.lock.path.clone().into();
                Request::GetChildren2 { path, watch }
            }
            SurveyOp::Read(index) => {
                let path = self.path(index);
                Request::GetData { path, watch }
            }
            SurveyOp::Stat(index) | SurveyOp::Measure(index) => {
                let path = self.path(index);
                Request::Exists { path, watch }
            }
        };
        let step = SurveyStep {
            id: self.request.id,
            attempt: self.attempt,
            op,
        };
        effects.requests.push_back((Token::Survey(step), request));
    }

    fn take(
        &mut self,
        op: SurveyOp,
        outcome: Outcome,
        effects: &mut Effects,
    ) -> Result<(), Setback> {
        let answer = match outcome {
            Outcome::Ok { reply, .. } => Ok(reply),
            Outcome::Server(ErrorCode::ThrottledOp) => {
                self.throttled.push(op);
                return Err(Setback::Throttled);
            }
            Outcome::Server(code) => Err(code),
            Outcome::TooLong { max, .. } if op != SurveyOp::List => {
                self.max = Some(max);
                return Err(Setback::Disconnected);
            }
            Outcome::TooLong { length, max } => {
                let path = self.request.lock.path.clone();
                return Err(Setback::Failed(QueueError::TooLong { path, length, max }));
            }
            _ => return Err(Setback::Disconnected),
        };
        match op {
            SurveyOp::List => self.listed(answer)?,
            SurveyOp::Read(index) => self.read(index, answer, effects)?,
            SurveyOp::Stat(index) => self.found(index, answer)?,
            SurveyOp::Measure(index) => self.measured(index, answer, effects)?,
        }
        self.ask_more(effects);
        Ok(())
    }

    fn listed(&mut self, answer: Result<Reply, ErrorCode>) -> Result<(), Setback> {
        let children = match answer {
            Ok(Reply::GetChildren2 { children, stat }) => {
                self.queue.headroom = headroom(&stat);
                children
            }
            // Nobody has ever asked for the lock.
            Err(ErrorCode::NoNode) => Children::default(),
            Err(code) => {
                let (operation, path) = ("list the claims", self.request.lock.path.clone());
                return Err(Setback::Failed(QueueError::Refused {
                    operation,
                    path,
                    code,
                }));
            }
            Ok(_) => return Err(Setback::Disconnected),
        };
        // The Stat of a count that has wrapped is that of a new path.
        let mut numbers = children.iter().filter_map(sequence_number);
        if numbers.any(|number| number < 0) {
            self.queue.headroom = 0;
        }
        let mut names = Vec::new();
        for name in &children {
            // No request can name what is no text.
            match (sequence_number(name), std::str::from_utf8(name)) {
                (Some(number), Ok(name)) => names.push((name.into(), number)),
                _ => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    self.queue.others.push(name);
                }
            }
        }
        self.names = Some(names);
        Ok(())
    }

    fn ask_more(&mut self, effects: &mut Effects) {
        let listed = self.names.as_ref().map_or(0, Vec::len);
        while self.asked < listed && self.open < WINDOW && self.throttled.is_empty() {
            let op = match self.max {
                None => SurveyOp::Read(self.asked),
                Some(_) => SurveyOp::Measure(self.asked),
            };
            self.asked += 1;
            self.open += 1;
            self.ask(op, effects);
        }
    }

    fn read(
        &mut self,
        index: usize,
        answer: Result<Reply, ErrorCode>,
        effects: &mut Effects,
    ) -> Result<(), Setback> {
        match answer {
            Ok(Reply::GetData { data, stat }) => {
                let data = data.as_deref().and_then(ClaimData::decode);
                self.add(index, &stat, data);
            }
            Err(ErrorCode::NoAuth) => {
                self.ask(SurveyOp::Stat(index), effects);
                return Ok(());
            }
            Err(ErrorCode::NoNode) => {}
            answer => return Err(self.unreadable(index, answer)),
        }
        self.open = self.open.saturating_sub(1);
        Ok(())
    }

    fn found(&mut self, index: usize, answer: Result<Reply, ErrorCode>) -> Result<(), Setback> {
        match answer {
            Ok(Reply::Exists { stat }) => self.add(index, &stat, None),
            Err(ErrorCode::NoNode) => {}
            answer => return Err(self.unreadable(index, answer)),
        }
        self.open = self.open.saturating_sub(1);
        Ok(())
    }

    /// Reads the data that a frame takes, and does without the others.
    fn measured(
        &mut self,
        index: usize,
        answer: Result<Reply, ErrorCode>,
        effects: &mut Effects,
    ) -> Result<(), Setback> {
        let fits = |stat: &Stat| {
            let data = usize::try_from(stat.data_length).unwrap_or(0);
            self.max
                .is_none_or(|max| data.saturating_add(BESIDE_DATA) <= max)
        };
        match answer {
            Ok(Reply::Exists { stat }) if fits(&stat) => {
                self.ask(SurveyOp::Read(index), effects);
                Ok(())
            }
            answer => self.found(index, answer),
        }
    }

    fn add(&mut self, index: usize, stat: &Stat, data: Option<ClaimData>) {
        let name = self.names.as_ref().and_then(|names| names.get(index));
        if let Some((name, number)) = name {
            let contender = Contender::new(name, *number, stat);
            self.queue.contenders.push(Contender { data, ..contender });
        }
    }

    /// A reply of another kind than was asked for cannot be: the session
    /// matches them.
    fn unreadable(&self, index: usize, answer: Result<Reply, ErrorCode>) -> Setback {
        let Err(code) = answer else {
            return Setback::Disconnected;
        };
        let znode = self.path(index);
        Setback::Failed(QueueError::Unreadable { znode, code })
    }

    fn path(&self, index: usize) -> Arc<str> {
        let name = self.names.as_ref().and_then(|names| names.get(index));
        let name = name.map(|(name, _)| &**name).unwrap_or_default();
        self.request.lock.below(name)
    }

    /// What was found, once all have answered.
    fn result(&mut self) -> Option<Result<Queue, QueueError>> {
        let names = self.names.as_ref()?;
        if self.open > 0 || self.asked < names.len() {
            return None;
        }
        self.queue.sort();
        let path = self.request.lock.path.clone();
        Some(Ok(std::mem::replace(&mut self.queue, Queue::empty(path))))
    }
}
