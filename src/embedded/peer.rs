//! One client of an embedded server: its stream of bytes, and what waits to be
//! written to it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::io::{poll_read_buf, poll_write_buf};

/// A socket, or one end of a pipe in memory.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How much is read at once, in bytes.
const READ_SIZE: usize = 16 * 1024;

/// Of a client that has more than this to read still, no more is read.
const MOST_UNREAD: usize = 1024 * 1024;

/// What a read brought.
pub(super) enum Read {
    Bytes,
    End,
}

/// A client's connection.
pub(super) struct Peer {
    stream: Box<dyn Stream>,
    /// When to write what; the end of the connection has no bytes.
    outgoing: VecDeque<(Instant, Option<Bytes>)>,
    /// How many bytes that is.
    unread: usize,
    /// Nothing is taken from it any more.
    closing: bool,
    gone: bool,
}

impl Peer {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            outgoing: VecDeque::new(),
            unread: 0,
            closing: false,
            gone: false,
        }
    }

    /// Reads what is there, in place of what is in the buffer.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<Read> {
        if self.closing || self.gone || self.unread > MOST_UNREAD {
            return Poll::Pending;
        }
        into.clear();
        into.reserve(READ_SIZE);
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, into));
        self.gone = read.map_or(true, |bytes| bytes == 0);
        Poll::Ready(if self.gone { Read::End } else { Read::Bytes })
    }

    pub(super) fn write(&mut self, bytes: Bytes, at: Instant) {
        self.unread = self.unread.saturating_add(bytes.len());
        self.outgoing.push_back((at, Some(bytes)));
    }

    /// Ends the connection once all is written.
    pub(super) fn close(&mut self, at: Instant) {
        self.closing = true;
        self.outgoing.push_back((at, None));
    }

    /// Whether there is no connection any more.
    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }

    /// When to write next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.outgoing.front().map(|(at, _)| *at)
    }

    /// Writes what is due, as far as the client reads it. Returns whether it
    /// has read anything.
    pub(super) fn write_due(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut progress = false;
        while let Some((at, bytes)) = self.outgoing.front_mut() {
            if self.gone || *at > now {
                break;
            }
            let Some(bytes) = bytes else {
                self.gone = true;
                break;
            };
            match poll_write_buf(Pin::new(&mut self.stream), cx, bytes) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => self.gone = true,
                Poll::Ready(Ok(written)) => {
                    self.unread = self.unread.saturating_sub(written);
                    if !bytes.has_remaining() {
                        self.outgoing.pop_front();
                    }
                }
            }
            progress = true;
        }
        progress
    }
}
