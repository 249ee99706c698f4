//! The context of a mail, as far as cells tell contexts apart: its segment and its daypart.
use serde::{Deserialize, Serialize};

/// Segment and daypart of a mail: positions within the experiment from 1, or 0 for none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Context {
    /// Position of the segment from 1; 0 for none.
    pub segment: u8,
    /// Position of the daypart from 1; 0 for none.
    pub daypart: u8,
}
