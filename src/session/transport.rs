//! A connection to a server: a byte stream in, whole frames out, and back.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

use super::dialer::Stream;
use super::state::Cause;
use crate::proto::FrameReader;

/// How much room a read is given at least, in bytes.
const READ_SIZE: usize = 16 * 1024;

/// After a frame longer than this its buffer is given back, in bytes.
const KEPT_CAPACITY: usize = 16 * 1024;

/// What a read brought.
pub(super) enum Read {
    /// A whole frame, without its length prefix.
    Frame(Bytes),
    /// Bytes of a frame that is not whole yet.
    Partial,
}

/// What a flush found.
pub(super) enum Flush {
    /// There was nothing to write.
    Idle,
    /// All is written now.
    Done,
}

/// A stream with the frames cut from it.
pub(super) struct Transport {
    stream: Box<dyn Stream>,
    codec: Frames,
    incoming: BytesMut,
    outgoing: Bytes,
    flushing: bool,
}

impl Transport {
    /// `max_frame` bounds what is read of one frame, in bytes.
    pub(super) fn new(stream: Box<dyn Stream>, max_frame: usize) -> Self {
        Self {
            stream,
            codec: Frames(FrameReader::new(max_frame)),
            incoming: BytesMut::new(),
            outgoing: Bytes::new(),
            flushing: false,
        }
    }

    /// The next frame, or the news that a part of one has come.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, Cause>> {
        if let Some(frame) = self.codec.decode(&mut self.incoming)? {
            self.give_back(frame.len());
            return Poll::Ready(Ok(Read::Frame(frame)));
        }
        if ready!(self.poll_fill(cx))? == 0 {
            return Poll::Ready(Err(Cause::ClosedByServer));
        }
        let Some(frame) = self.codec.decode(&mut self.incoming)? else {
            return Poll::Ready(Ok(Read::Partial));
        };
        self.give_back(frame.len());
        Poll::Ready(Ok(Read::Frame(frame)))
    }

    /// Reads some bytes; how many. Where no frame is under way they go through
    /// the stack, so that a connection on which nothing comes keeps no buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if !self.incoming.is_empty() {
            self.incoming.reserve(READ_SIZE);
            return poll_read_buf(stream, cx, &mut self.incoming);
        }
        let mut room = [MaybeUninit::uninit(); READ_SIZE];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(stream.poll_read(cx, &mut read))?;
        self.incoming.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// After a large frame, keeps only what came behind it.
    fn give_back(&mut self, frame: usize) {
        if frame > KEPT_CAPACITY {
            self.incoming = BytesMut::from(self.incoming.as_ref());
        }
    }

    /// Takes whole frames to be written, when the last ones are.
    pub(super) fn start_write(&mut self, frames: Bytes) {
        self.flushing = true;
        self.outgoing = frames;
    }

    /// Writes what is left to write.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<Flush, Cause>> {
        if !self.flushing {
            return Poll::Ready(Ok(Flush::Idle));
        }
        while self.outgoing.has_remaining() {
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write(cx, &self.outgoing))?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.outgoing.advance(written);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushing = false;
        self.outgoing = Bytes::new();
        Poll::Ready(Ok(Flush::Done))
    }
}

/// ZooKeeper's framing as tokio's codecs have it.
#[derive(Debug)]
struct Frames(FrameReader);

impl Decoder for Frames {
    type Item = Bytes;
    type Error = Cause;

    fn decode(&mut self, incoming: &mut BytesMut) -> Result<Option<Bytes>, Cause> {
        Ok(self.0.read(incoming)?)
    }
}
