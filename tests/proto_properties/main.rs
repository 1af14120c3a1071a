//! Properties of the wire layer: whatever is written reads back the same, however it is cut; and no
//! bytes whatever make a decoder panic or allocate beyond its bounds.

mod counting;
mod strategies;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use zklock::proto::*;

use self::strategies::*;

const OPCODES: [OpCode; 13] = [
    OpCode::Create,
    OpCode::Delete,
    OpCode::Exists,
    OpCode::GetData,
    OpCode::SetData,
    OpCode::GetChildren,
    OpCode::Sync,
    OpCode::Ping,
    OpCode::GetChildren2,
    OpCode::Create2,
    OpCode::Auth,
    OpCode::SetWatches,
    OpCode::CloseSession,
];

proptest! {
    #[test]
    fn a_request_reads_back_as_it_was_written(request in request(), xid: i32) {
        let frame = encoded(|out| request.encode(xid, out));
        let op = request.opcode().as_i32();
        prop_assert_eq!(Request::decode_strict(&frame), Ok((RequestHeader { xid, op }, request)));
    }

    #[test]
    fn a_reply_reads_back_as_it_was_written(header in reply_header(), reply in reply()) {
        let frame = encoded(|out| {
            header.encode(out);
            reply.encode(out);
        });
        let mut reader = Reader::new(&frame);
        prop_assert_eq!(ReplyHeader::decode(&mut reader), Ok(header));
        prop_assert_eq!(reader.offset(), ReplyHeader::SIZE);
        prop_assert_eq!(Reply::decode(reply.opcode(), &mut reader), Ok(reply));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_connect_request_reads_back_as_it_was_written(request in connect_request()) {
        let frame = encoded(|out| request.encode(out));
        let mut reader = Reader::new(&frame);
        prop_assert_eq!(ConnectRequest::decode(&mut reader), Ok(request));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_connect_response_reads_back_as_it_was_written(response in connect_response()) {
        let frame = encoded(|out| response.encode(out));
        let mut reader = Reader::new(&frame);
        prop_assert_eq!(ConnectResponse::decode(&mut reader), Ok(response));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn an_event_reads_back_as_it_was_written(event in event()) {
        let frame = encoded(|out| event.encode(out));
        let mut reader = Reader::new(&frame);
        prop_assert_eq!(WatcherEvent::decode(&mut reader), Ok(event));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn children_come_out_as_they_went_in(names in vec(vec(any::<u8>(), 0..20), 0..20)) {
        let children: Children = names.iter().collect();
        prop_assert_eq!(children.len(), names.len());
        prop_assert_eq!(children.iter().len(), names.len());
        prop_assert!(children.iter().eq(names.iter().map(|name| &name[..])));
    }

    #[test]
    fn text_in_javas_encoding_reads_as_the_same_text(text in text()) {
        let mut frame = BytesMut::new();
        Writer::new(&mut frame).buffer(Some(&cesu8(&text)));
        let frame = frame.freeze();
        let read = Reader::new(&frame).string("Test.text");
        prop_assert_eq!(read.as_deref(), Ok(&*text));
    }

    #[test]
    fn frames_come_out_the_same_however_they_are_cut(
        payloads in vec(bytes(), 0..8),
        cuts in vec(1_usize..40, 1..20),
    ) {
        let mut stream = BytesMut::new();
        for payload in &payloads {
            write_frame(&mut stream, |out| out.extend_from_slice(payload)).unwrap();
        }
        let (mut received, mut frames) = (BytesMut::new(), Vec::new());
        for size in cuts.iter().cycle() {
            received.extend_from_slice(&stream.split_to(stream.len().min(*size)));
            while let Some(frame) = FrameReader::default().read(&mut received).unwrap() {
                frames.push(frame);
            }
            if stream.is_empty() {
                break;
            }
        }
        prop_assert_eq!(frames, payloads);
        prop_assert!(received.is_empty());
    }

    #[test]
    fn a_path_is_accepted_exactly_if_javas_rules_accept_it(path in path_like()) {
        prop_assert_eq!(ZnodePath::new(&path).is_ok(), java_accepts(&path), "{:?}", path);
    }

    #[test]
    fn a_path_is_made_of_its_ancestors(path in path()) {
        let mut parent = ZnodePath::root();
        for ancestor in path.ancestors_from_root() {
            prop_assert_eq!(ancestor.parent(), Some(parent.clone()));
            prop_assert_eq!(parent.child(ancestor.name()), Ok(ancestor.clone()));
            prop_assert_eq!(ZnodePath::new(&ancestor), Ok(ancestor.clone()));
            parent = ancestor;
        }
        prop_assert_eq!(parent, path);
    }

    #[test]
    fn joined_paths_are_paths(chroot in path(), path in path()) {
        let joined = chroot.join(&path);
        prop_assert_eq!(ZnodePath::new(&joined), Ok(joined.clone()));
        let depth = |path: &ZnodePath| path.ancestors_from_root().count();
        prop_assert_eq!(depth(&joined), depth(&chroot) + depth(&path));
    }

    #[test]
    fn arbitrary_bytes_are_decoded_within_bounds(frame in vec(any::<u8>(), 0..400)) {
        decode_as_everything(&frame.into());
    }

    #[test]
    fn spoilt_frames_are_decoded_within_bounds(frame in spoilt_frame()) {
        decode_as_everything(&frame);
    }

    #[test]
    fn what_decodes_reads_back_the_same_after_writing(frame in spoilt_frame()) {
        if let Ok((header, request)) = Request::decode(&frame) {
            let again = encoded(|out| request.encode(header.xid, out));
            prop_assert_eq!(Request::decode_strict(&again), Ok((header, request)));
        }
        for op in OPCODES {
            if let Ok(reply) = Reply::decode(op, &mut Reader::new(&frame)) {
                let again = encoded(|out| reply.encode(out));
                prop_assert_eq!(Reply::decode(op, &mut Reader::new(&again)), Ok(reply));
            }
        }
    }
}

#[test]
fn a_listing_of_a_hundred_thousand_names_is_decoded_in_place() {
    let children = (0..100_000)
        .map(|number| format!("lock-{number:010}"))
        .collect();
    let frame = encoded(|out| Reply::GetChildren { children }.encode(out));
    let (reply, allocated) = counting::allocated(|| {
        Reply::decode(OpCode::GetChildren, &mut Reader::new(&frame)).unwrap()
    });
    assert!(matches!(reply, Reply::GetChildren { children } if children.len() == 100_000));
    assert!(allocated < 100, "{allocated} bytes");
}

#[test]
fn an_acl_of_tiny_entries_stays_within_ten_times_its_bytes() {
    for size in 0..4 {
        let acl = vec![Acl::new(Perms::ALL, "s".repeat(size), "i".repeat(size)); 10_000];
        let request = Request::Create {
            path: "/".into(),
            data: None,
            acl: acl.into(),
            mode: CreateMode::Persistent,
        };
        decode_as_everything(&encoded(|out| request.encode(1, out)));
    }
}

#[test]
fn watches_on_tiny_paths_stay_within_ten_times_their_bytes() {
    for size in 0..4 {
        let paths = || vec!["p".repeat(size).into(); 10_000];
        let request = Request::SetWatches {
            relative_zxid: 0,
            data: paths(),
            exist: paths(),
            child: paths(),
        };
        decode_as_everything(&encoded(|out| request.encode(1, out)));
    }
}

/// Every decoder must come back, with whatever answer, having allocated no more than it promises.
fn decode_as_everything(frame: &Bytes) {
    let within = |factor: usize, decode: &dyn Fn()| {
        let ((), allocated) = counting::allocated(decode);
        let bound = factor * frame.len() + 4096;
        assert!(allocated <= bound, "{allocated} bytes for {}", frame.len());
    };
    within(10, &|| drop(Request::decode(frame)));
    within(4, &|| drop(ConnectRequest::decode(&mut Reader::new(frame))));
    within(4, &|| {
        drop(ConnectResponse::decode(&mut Reader::new(frame)))
    });
    within(4, &|| drop(WatcherEvent::decode(&mut Reader::new(frame))));
    within(4, &|| drop(ReplyHeader::decode(&mut Reader::new(frame))));
    for op in OPCODES {
        within(4, &|| drop(Reply::decode(op, &mut Reader::new(frame))));
    }
    within(4, &|| {
        let mut buf = BytesMut::from(&frame[..]);
        while let Ok(Some(_)) = FrameReader::new(frame.len()).read(&mut buf) {}
    });
}

/// As Java's `DataOutput` writes it: every UTF-16 unit by itself.
fn cesu8(text: &str) -> Vec<u8> {
    let continuation = |bits: u16| 0x80 | (bits & 0x3F) as u8;
    text.encode_utf16()
        .flat_map(|unit| match unit {
            0..0x80 => vec![unit as u8],
            0x80..0x800 => vec![0xC0 | (unit >> 6) as u8, continuation(unit)],
            _ => vec![
                0xE0 | (unit >> 12) as u8,
                continuation(unit >> 6),
                continuation(unit),
            ],
        })
        .collect()
}

/// ZooKeeper's own check, retold: it walks over UTF-16 units and looks at pairs of neighbours.
fn java_accepts(path: &str) -> bool {
    let units: Vec<u16> = path.encode_utf16().collect();
    let (slash, dot) = (u16::from(b'/'), u16::from(b'.'));
    if units.first() != Some(&slash) {
        return false;
    }
    if units.len() == 1 {
        return true;
    }
    if units.last() == Some(&slash) {
        return false;
    }
    let ends = |at: usize| units.get(at).is_none_or(|unit| *unit == slash);
    (1..units.len()).all(|at| match units[at] {
        0..=0x1F | 0x7F..=0x9F | 0xD800..=0xF8FF | 0xFFF0..=0xFFFF => false,
        unit if unit == slash => units[at - 1] != slash,
        unit if unit == dot && units[at - 1] == slash => {
            !(ends(at + 1) || units[at + 1] == dot && ends(at + 2))
        }
        _ => true,
    })
}
