//! Data of the reducer, without the rules that change it.

pub mod attempt;
pub mod clock;
pub mod commits;
pub mod compact;
pub mod errors;
pub mod estimate;
pub mod feed;
pub mod fingerprint;
pub mod gaps;
pub mod input;
pub mod link;
pub mod logged;
pub mod lookup;
pub mod outcome;
pub mod parts;
pub mod position;
pub mod progress;
pub mod ranges;
pub mod rare;
pub mod rates;
pub mod runs;
pub mod stderr;
pub mod stream;
pub mod streams;
pub mod sums;
pub mod tally;
