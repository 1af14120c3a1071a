//! A session against everything that can happen to it.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `story` | what an input consists of: a setup and what happens, one thing after another |
//! | `world` | lets it happen: the engine, the clock and the connection |
//! | `peer` | the server: reads what the engine writes, and checks it; answers, right or wrong |
//! | `watched` | between the session and its recipe: each request ends once, and events make sense |
//! | `asks`, `wishes` | the two recipes: plain requests, and locks |

mod asks;
mod peer;
mod story;
mod watched;
mod wishes;
mod world;

use arbitrary::Arbitrary;

use self::asks::{Ask, Asks};
use self::story::Story;
use self::wishes::{Wish, Wishes};

/// One input: what happens to a session, and what lives on it.
#[derive(Arbitrary, Debug)]
pub enum Fuzzed {
    /// Requests of every kind.
    Requests(Story<Ask>),
    /// Locks.
    Locks(Story<Wish>),
}

impl Fuzzed {
    /// Lets it all happen.
    pub fn run(self) {
        match self {
            Self::Requests(story) => world::run::<Asks>(story),
            Self::Locks(story) => world::run::<Wishes>(story),
        }
    }
}
