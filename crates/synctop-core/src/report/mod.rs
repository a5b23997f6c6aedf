//! Reports for people and programs, made from [`crate::reduce::Progress`]: verdict, summary as JSON
//! and as text, changes between two looks. Reads the reducer; the reducer knows nothing of it.
//!
//! ```text
//! verdict.rs  headline, cause, next step     summary.rs  summary as JSON
//! changes.rs  changes between two looks      text.rs     summary as text
//! ```

pub mod changes;
mod summary;
pub mod text;
mod verdict;

pub use summary::{Summary, summary};
pub use text::report;
pub use verdict::{
    NO_MESSAGES_NEXT, Verdict, advice, describe_exit, not_understood, parked, remedy as verdict_remedy, resumed,
    trouble, unreadable_feed_warning, verdict,
};
