//! AMD-V (SVM): what volume 2 of the AMD64 manual says, as data.
//!
//! Table of contents; each concept has its file.

pub mod caps;
pub mod checks;
mod decode;
pub mod event;
pub mod field;
mod intercept;
pub mod segment;

pub use decode::{decode, groups, instruction_bytes};
pub use field::{CleanBits, Field, SegmentFields, VmcbRead};
pub use intercept::{Intercepts3, Intercepts4};
