//! A recipe that asks for requests of every kind and does nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arbitrary::Arbitrary;
use bytes::Bytes;
use zklock::proto::{Acl, CreateMode, Request};
use zklock::session::{Outcome, Recipe, RecipeInput, Timestamp};

use super::watched::Subject;

/// A request to ask for.
#[derive(Arbitrary, Debug)]
pub enum Ask {
    /// A create, with so many times 512 bytes of data.
    Create(u8),
    /// A create with the other opcode.
    Create2,
    /// A delete.
    Delete,
    /// A request for metadata.
    Exists,
    /// A request for data.
    GetData,
    /// A listing.
    GetChildren,
    /// The other listing.
    GetChildren2,
    /// A sync.
    Sync,
    /// A ping of the recipe's own.
    Ping,
    /// An authentication of the recipe's own.
    Auth,
    /// A closeSession behind the machine's back.
    CloseSession,
}

/// The recipe. Each request has a path of its own.
#[derive(Default)]
pub(super) struct Asks {
    asked: u32,
    requests: VecDeque<(u32, Request)>,
    not_sent: BTreeSet<u32>,
}

impl Subject for Asks {
    /// What was not sent has reached nobody.
    fn check_end(&self, reached: &[String]) {
        for path in reached {
            let number = path.strip_prefix("/asked-");
            let number = number.and_then(|number| number.parse().ok());
            assert!(number.is_none_or(|number: u32| !self.not_sent.contains(&number)));
        }
    }
}

impl Recipe for Asks {
    type Token = u32;
    type Command = Ask;

    fn command(&mut self, ask: Ask, _: Timestamp) {
        self.asked += 1;
        let path = format!("/asked-{}", self.asked).into();
        self.requests.push_back((self.asked, request(&ask, path)));
    }

    fn handle(&mut self, input: RecipeInput<u32>, _: Timestamp) {
        if let RecipeInput::Completed {
            token,
            outcome: Outcome::NotSent,
        } = input
        {
            self.not_sent.insert(token);
        }
    }

    fn poll(&mut self) -> Option<(u32, Request)> {
        self.requests.pop_front()
    }

    fn deadline(&self) -> Option<Timestamp> {
        None
    }
}

fn request(ask: &Ask, path: Arc<str>) -> Request {
    let acl: Arc<[Acl]> = [Acl::world_anyone()].into();
    let mode = CreateMode::Ephemeral;
    match ask {
        Ask::Create(size) => Request::Create {
            path,
            data: Some(vec![7; usize::from(*size) * 512].into()),
            acl,
            mode,
        },
        Ask::Create2 => Request::Create2 {
            path,
            data: None,
            acl,
            mode,
        },
        Ask::Delete => Request::Delete { path, version: -1 },
        Ask::Exists => Request::Exists { path, watch: true },
        Ask::GetData => Request::GetData { path, watch: true },
        Ask::GetChildren => Request::GetChildren { path, watch: true },
        Ask::GetChildren2 => Request::GetChildren2 { path, watch: true },
        Ask::Sync => Request::Sync { path },
        Ask::Ping => Request::Ping,
        Ask::Auth => Request::Auth {
            kind: 0,
            scheme: "digest".into(),
            auth: Some(Bytes::from_static(b"user:password")),
        },
        Ask::CloseSession => Request::CloseSession,
    }
}
