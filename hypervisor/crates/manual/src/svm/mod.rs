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

pub use decode::{decode, frequent, groups, instruction_bytes, plain_bytes, port_bytes};
pub use field::{CleanBits, Field, SegmentFields, VmcbRead};
pub use intercept::{Intercepts3, Intercepts4};
