//! Airbyte protocol, version 0: stdout of connectors.
//!
//! One envelope, `{"type":"<UPPER>","<payload>":{…}}`, with a payload under the type's name in
//! lower case (except `connectionStatus`). A stream has a namespace and a name. There is no end
//! message: the sync ends with the process, a stream with its first COMPLETE or INCOMPLETE. A
//! destination prints the states that it has committed, as it received them. The formats come from
//! recordings of published connectors of 2026-11-20.

mod adapter;
mod claims;
mod fast;
mod measure;
mod wire;

pub use adapter::PROTOCOL;
