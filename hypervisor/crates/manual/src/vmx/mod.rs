//! Intel VT-x: what volume 3C says, as data.
//!
//! Table of contents; each concept has its file.

pub mod caps;
pub mod checks;
mod controls;
mod decode;
pub mod field;
mod instruction_error;

pub use controls::{
    Controls, EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
    TertiaryControls,
};
pub use decode::{decode, groups};
pub use field::{Field, FieldWidth, SegmentFields, VmcsRead};
pub use instruction_error::instruction_error;
