use super::Failure;
use super::args::{FeedArgs, LookArgs, RunArgs};
pub(super) fn run(_: &RunArgs, _: &LookArgs, _: &FeedArgs) -> Result<u8, Failure> {
    Ok(0)
}
