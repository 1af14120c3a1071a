//! A guide in short chapters: what to choose, what to expect, what is not there.
//!
//! - [`timeouts`]: session timeout, connect timeout, deadline, TTL, and the lease.
//! - [`losing`]: how a holder learns that its lock is lost, and what to do then.
//! - [`fencing`]: what protects the resource when no lock can.
//! - [`sharing`]: a queue with Go, Java and Python clients.
//! - [`migrating`]: from kafka-kit's lock.
//! - [`testing`]: your own code, on the embedded server.
//! - [`limits`]: what is not there.
//!
//! The chapters are in `docs/guide`. Their code runs with the tests.

/// Makes a module of each file. What is imported is what the files may link to.
macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {
        $(
            pub mod $name {
                #![doc = include_str!(concat!("../docs/guide/", $file))]
                #[allow(unused_imports, reason = "each chapter links to some of it")]
                use crate::{embedded::EmbeddedServer, proto::OpCode, *};
            }
        )*
    };
}

chapters! {
    timeouts: "timeouts.md",
    losing: "losing.md",
    fencing: "fencing.md",
    sharing: "sharing.md",
    migrating: "migrating.md",
    testing: "testing.md",
    limits: "limits.md",
}
