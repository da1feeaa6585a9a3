//! Intel VT-x: what volume 3C says, as data.
//!
//! Table of contents; each concept has its file.

pub mod caps;
mod controls;
mod decode;
pub mod field;

pub use controls::{
    Controls, EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
};
pub use decode::{decode, frequent, groups};
pub use field::{Field, SegmentFields, VmcsRead};
