//! Rules of the reducer: the changes that a message makes to [`crate::reduce::Progress`].

mod apply;
mod attempt;
pub mod batch;
mod claims;
mod commits;
mod end;
mod estimates;
mod failures;
mod logged;
pub mod notes;
mod place;
mod process;
mod programs;
pub mod reasons;
mod runs;
mod stderr;
mod wrapped;
