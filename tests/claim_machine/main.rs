//! The recipe against a script: what a client that acquires locks writes, and
//! what it makes of the answers.

#[path = "../support/mod.rs"]
mod support;

mod acquiring;
mod creation_order;
mod crossing;
mod leaving;
mod lock_path;
mod long_queue;
mod reattaching;
mod refusals;
mod removal;
mod second_in_line;
mod sessions;
mod survey;
mod ttl;
mod waiting;
mod watching_over;

use support::scripted::client::Client;
use zklock::lock::AcquisitionId;

/// A claim of another client's.
const OTHER: &str = "_c_00000000000000aa0000000000000001-lock-0000000003";
const FURTHER: &str = "_c_00000000000000bb0000000000000001-lock-0000000002";

/// All is over, and nothing is kept for what is gone.
#[track_caller]
fn nothing_is_left(client: &mut Client) {
    client.expect_nothing();
    client.expect_notices([]);
    client.keeps_nothing();
}

/// Leaves, and has the claim deleted.
#[track_caller]
fn leave(client: &mut Client, id: AcquisitionId, delete: &str) {
    client.leave(id);
    client.expect([delete]);
    client.deleted();
}
