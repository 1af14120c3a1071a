//! ZooKeeper's 4-letter words.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A server that is starting may take a word and never answer it, though it
/// answers the next one. So no attempt takes long, and there are many.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 10;

/// What the server on `port` answers to a 4-letter word.
pub(super) fn four_letter_word(port: u16, word: &str) -> io::Result<String> {
    let mut answer = ask(port, word);
    for _ in 1..ATTEMPTS {
        match &answer {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                answer = ask(port, word);
            }
            _ => break,
        }
    }
    answer
}

fn ask(port: u16, word: &str) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT_LIMIT)?;
    stream.set_read_timeout(Some(ATTEMPT_LIMIT))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
