//! Handles and their futures can move between threads. This file is done when
//! it compiles.

use std::time::Duration;

use zklock::embedded::EmbeddedServer;
use zklock::{Guard, Lock, Session};

fn is_send<T: Send>(_: T) {}
fn is_send_and_sync<T: Send + Sync + 'static>() {}

#[test]
fn handles_are_send_and_sync() {
    is_send_and_sync::<Session>();
    is_send_and_sync::<Lock>();
    is_send_and_sync::<Guard>();
    is_send_and_sync::<zklock::Error>();
    is_send_and_sync::<EmbeddedServer>();
}

#[test]
fn futures_are_send() {
    // Never called: what counts is its type.
    fn futures(session: &Session, lock: &Lock, guard: &Guard, owned: Guard) {
        is_send(Session::connect("localhost"));
        is_send(Session::builder("localhost").connect());
        is_send(session.close());
        is_send(lock.acquire().timeout(Duration::MAX).into_future());
        is_send(lock.try_acquire().owner("user1").into_future());
        is_send(lock.release_owner("user1"));
        is_send(guard.lost());
        is_send(owned.release());
    }
    let _ = futures;

    fn futures_of_a_server(server: &EmbeddedServer) {
        is_send(EmbeddedServer::start());
        is_send(server.session().connect());
        is_send(server.expire(1));
        is_send(server.set_counter("/", 1));
        is_send(server.dump());
    }
    let _ = futures_of_a_server;
}
