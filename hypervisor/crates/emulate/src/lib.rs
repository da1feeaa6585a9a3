//! Guest instructions that reach devices, executed in software.
//!
//! Owns what a CPU does between an instruction's bytes and a device: the guest's own
//! address translation ([`translate`]), instruction fetch ([`fetch()`]), decoding, and the
//! execution of memory-mapped accesses ([`mmio()`], [`vector_mmio`]) and of INS and OUTS
//! ([`string_io()`]); and the second look at instructions that some CPUs do not describe
//! ([`measure()`]).
//!
//! Does not own devices, nor guest RAM: those answer behind [`MmioTarget`],
//! [`PortTarget`] and [`GuestMemory`](skerry_verdict::GuestMemory). Called by the VMM with a
//! guest state whose groups INSTRUCTION, CONTROL, OPERAND (or SEGMENTS), PRIVILEGE and STACK
//! are valid; without PDPTES the page-directory-pointer entries of PAE paging are read from
//! the guest's memory.
//!
//! All of it runs on hostile values: no panic, and no loop without a bound.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

mod address;
mod alu;
mod condition;
mod cursor;
mod decode;
mod fetch;
mod glance;
mod instruction;
mod iteration;
mod measure;
mod mmio;
mod mode;
mod multiply;
mod opcode;
mod operate;
mod paging;
mod pair;
mod place;
mod plain;
mod prefix;
mod register;
mod segment;
mod shift;
mod stack;
mod status_word;
mod string;
mod string_io;
mod vector;

pub use fetch::{Bytes, fetch};
pub use glance::Glance;
pub use measure::{Measured, is_measurable, measure, plain_length};
pub use mmio::{Emulator, mmio};
pub use paging::translate;
pub use string_io::string_io;
pub use vector::registers::{VectorLayout, VectorRegisters};
pub use vector::vector_mmio;

/// What the crate's own tests need to compare the decoder with another; not for use.
#[doc(hidden)]
pub mod decoder {
    pub use crate::address::{Base, MemoryOperand};
    pub use crate::alu::{Alu, BitScan, BitTest, Unary};
    pub use crate::condition::Condition;
    pub use crate::decode::{DecodeError, decode};
    pub use crate::instruction::{
        Count, Extension, Instruction, Operation, Repeat, Source, StackOperation, StringOperation,
    };
    pub use crate::multiply::Accumulation;
    pub use crate::register::Register;
    pub use crate::shift::{DoubleShift, Shift};
    pub use crate::vector::decode::{
        Alignment, Part, RegisterFile, VectorInstruction, VectorMove, decode_vector,
    };
}

use skerry_verdict::Fault;
use skerry_words::{Gpa, Port, Width};

/// Whatever answers in guest-physical space outside RAM.
pub trait MmioTarget {
    /// The guest reads; bits above `width` are ignored.
    fn read(&mut self, at: Gpa, width: Width) -> u64;
    /// The guest writes; bits above `width` are zero.
    fn write(&mut self, at: Gpa, width: Width, value: u64);
}

/// Whatever answers in port space.
pub trait PortTarget {
    /// The guest reads; bits above `width` are ignored.
    fn read(&mut self, port: Port, width: Width) -> u32;
    /// The guest writes; bits above `width` are zero.
    fn write(&mut self, port: Port, width: Width, value: u32);
}

/// Why an instruction was not executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmulateError {
    /// The guest gets this fault, as a CPU would give it.
    Fault(Fault),
    /// It is LMSW with this word: CR0 is the VMM's to change. The word is read, and the state
    /// tells the instruction's length.
    StatusWord(u16),
    /// It is a move of an MMX or vector register, whose values are not at hand:
    /// [`vector_mmio`] does it once they are, at this page. Nothing was changed.
    Vector(Gpa),
    /// The emulator does not know the instruction.
    Unknown {
        /// Where it is: the guest's RIP.
        rip: u64,
        /// Its bytes, as far as they could be fetched.
        bytes: Bytes,
    },
}

impl From<Fault> for EmulateError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl core::fmt::Display for EmulateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fault(fault) => {
                let (vector, _) = fault.vector();
                write!(f, "fault with vector {:#x}", vector.0)
            }
            Self::StatusWord(word) => write!(f, "LMSW of {word:#x}"),
            Self::Vector(_) => write!(f, "a move of a vector register"),
            Self::Unknown { rip, bytes } => {
                write!(f, "instruction not emulated at {rip:#x}: {bytes}")
            }
        }
    }
}

impl core::error::Error for EmulateError {}

/// How far a string instruction came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It is done; RIP is behind it.
    Finished,
    /// Its budget is used up; RIP is at it and the registers say what remains.
    Interrupted,
}
