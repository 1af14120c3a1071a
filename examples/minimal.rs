//! The least that a program with a lock has to do: its size is what the library
//! adds to one.

use zklock::{Error, Lock, Session};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let session = Session::connect("localhost:2181").await?;
    let guard = Lock::new(&session, "/my/locks")?.acquire().await?;
    println!("token {}", guard.fencing_token());
    guard.release().await?;
    session.close().await;
    Ok(())
}
