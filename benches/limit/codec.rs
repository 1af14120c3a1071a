//! The codec and the look at a queue, without a socket: ours beside the least
//! that has to be done with the same bytes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use zklock::lock::sequence_number;
use zklock::proto::{
    Acl, CreateMode, ErrorCode, OpCode, Reader, Reply, ReplyHeader, Request, write_frame,
};

use crate::Setup;
use crate::report::{Pair, Report, Target};

const CHILDREN: usize = 1_000;

pub fn codec(setup: &Setup, report: &mut Report) {
    let frame = listing();
    compare(
        setup,
        report,
        "decode-1000",
        20,
        || decode(&frame),
        || raw_decode(&frame),
    );
    let create = create();
    compare(
        setup,
        report,
        "encode-create",
        1_000,
        || encode(&create),
        || raw_encode(&create),
    );
    let Reply::GetChildren { children } = decode(&frame) else {
        panic!("a listing");
    };
    let ours = || {
        let numbers = children.iter().filter_map(sequence_number);
        numbers.filter(|number| *number < 500).max()
    };
    compare(setup, report, "predecessor-1000", 20, ours, || {
        raw_predecessor(&frame, 500)
    });
}

/// Times so many calls of each in turn; the samples are per call.
fn compare<A, B>(
    setup: &Setup,
    report: &mut Report,
    measure: &str,
    calls: u32,
    ours: impl Fn() -> A,
    raw: impl Fn() -> B,
) {
    let mut pair = Pair::default();
    for _ in 0..setup.scaled(1_000) {
        pair.push(time(calls, &ours), time(calls, &raw));
    }
    report.times(measure, &pair, Target::None);
}

fn time<T>(calls: u32, call: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    start.elapsed() / calls
}

fn name(number: usize) -> String {
    format!("_c_{number:032x}-lock-{number:010}")
}

/// The payload of a reply that lists so many claims.
fn listing() -> Bytes {
    let children = (0..CHILDREN).map(name).collect();
    let mut out = BytesMut::new();
    let (xid, zxid, error) = (7, 42, ErrorCode::Ok);
    ReplyHeader { xid, zxid, error }.encode(&mut out);
    Reply::GetChildren { children }.encode(&mut out);
    out.freeze()
}

fn decode(frame: &Bytes) -> Reply {
    let mut reader = Reader::new(frame);
    ReplyHeader::decode(&mut reader).unwrap();
    Reply::decode(OpCode::GetChildren, &mut reader).unwrap()
}

/// Finds the end of each name.
fn raw_decode(frame: &[u8]) -> usize {
    let mut at = 20;
    for _ in 0..CHILDREN {
        let length: [u8; 4] = frame[at..at + 4].try_into().unwrap();
        at += 4 + u32::from_be_bytes(length) as usize;
    }
    at
}

fn raw_predecessor(frame: &[u8], own: u32) -> Option<u32> {
    let (mut at, mut nearest) = (20, None);
    for _ in 0..CHILDREN {
        let length: [u8; 4] = frame[at..at + 4].try_into().unwrap();
        let end = at + 4 + u32::from_be_bytes(length) as usize;
        let number = crate::raw::number(&frame[at..end]);
        if number < own {
            nearest = nearest.max(Some(number));
        }
        at = end;
    }
    nearest
}

fn create() -> Request {
    let acl: Arc<[Acl]> = [Acl::world_anyone()].into();
    Request::Create {
        path: format!("/my/locks/{}", &name(7)[..41]).into(),
        data: Some(Bytes::from_static(&[b' '; 150])),
        acl,
        mode: CreateMode::EphemeralSequential,
    }
}

fn encode(request: &Request) -> BytesMut {
    let mut out = BytesMut::with_capacity(512);
    write_frame(&mut out, |out| request.encode(7, out)).unwrap();
    out
}

fn raw_encode(request: &Request) -> Vec<u8> {
    let Request::Create { path, data, .. } = request else {
        panic!("a create");
    };
    let data = data.as_deref().unwrap();
    let mut out = Vec::with_capacity(512);
    let length = 8 + 4 + path.len() + 4 + data.len() + 4 + 4 + 9 + 10 + 4;
    for int in [length as i32, 7, 1, path.len() as i32] {
        out.extend_from_slice(&int.to_be_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(&(data.len() as i32).to_be_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone\0\0\0\x03");
    out
}
