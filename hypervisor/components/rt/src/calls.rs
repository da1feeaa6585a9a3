//! The system calls, one function each.
//!
//! Owns the one instruction that makes them. Grouped by who has use for them: a VMM
//! ([`vmm`]), a service ([`service`]), `root` ([`machine`]); all are re-exported here.
//! What each does, and which handle with which rights it takes, stands at [`Call`].
//!
//! They are safe: ring 0 reads and writes only the memory that a call's references name, and
//! a handle gives no way into memory that is Rust's already.

pub mod machine;
pub mod service;
pub mod vmm;

pub use machine::*;
pub use service::*;
pub use vmm::*;

use core::mem::MaybeUninit;
use skerry_abi::{Call, Handle, Refused};

/// The value of an argument register; one that a call does not use is left as it is.
type Argument = MaybeUninit<u64>;

/// Makes a call. Gives RAX and RDX as they come.
///
/// # Safety
/// Pointers among the arguments are to memory that ring 0 may read, or change, as the call says.
#[inline(always)]
pub(crate) unsafe fn raw(number: u64, arguments: [Argument; 6]) -> (u64, u64) {
    let [rdi, rsi, rdx, r10, r8, r9] = arguments;
    #[cfg(target_os = "none")]
    {
        let (first, second);
        // SAFETY: the caller's promise; all registers but the two results are kept, and the
        // stack is not touched.
        unsafe {
            core::arch::asm!(
                "int 0x80",
                inlateout("rax") number => first,
                in("rdi") rdi,
                in("rsi") rsi,
                inlateout("rdx") rdx => second,
                in("r10") r10,
                in("r8") r8,
                in("r9") r9,
                options(nostack),
            );
        }
        (first, second)
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (number, rdi, rsi, rdx, r10, r8, r9);
        (Refused::NoSuchCall.code(), 0)
    }
}

/// Makes a call with the first `N` argument registers. Gives both results.
///
/// # Safety
/// As for [`raw`].
#[inline(always)]
unsafe fn call<const N: usize>(call: Call, arguments: [u64; N]) -> Result<(u64, u64), Refused> {
    // SAFETY: the caller's promise.
    let (first, second) = unsafe { both(call, arguments) };
    Ok((Refused::read(first)?, second))
}

/// The same, with RAX as it comes.
///
/// # Safety
/// As for [`raw`].
#[inline(always)]
unsafe fn both<const N: usize>(call: Call, arguments: [u64; N]) -> (u64, u64) {
    let argument = |index| {
        let value: Option<&u64> = arguments.get(index);
        value.map_or(MaybeUninit::uninit(), |value| MaybeUninit::new(*value))
    };
    let six = core::array::from_fn(argument);
    // SAFETY: the caller's promise.
    unsafe { raw(call as u64, six) }
}

/// A call without pointers.
#[inline(always)]
fn plain<const N: usize>(number: Call, arguments: [u64; N]) -> Result<u64, Refused> {
    // SAFETY: no caller in this module gives an address as one of these arguments.
    unsafe { call(number, arguments) }.map(|(result, _)| result)
}

/// A call without pointers that makes a handle.
fn make<const N: usize>(number: Call, arguments: [u64; N]) -> Result<Handle, Refused> {
    plain(number, arguments).map(Handle::from_word)
}

/// A call that only reads `items`, given as its address and their count.
fn give<T>(number: Call, handle: Handle, items: &[T], rest: u64) -> Result<u64, Refused> {
    let (at, count) = (items.as_ptr() as u64, items.len() as u64);
    // SAFETY: ring 0 reads no further than the slice goes.
    unsafe { call(number, [handle.word(), at, count, rest]) }.map(|(result, _)| result)
}

/// A call that fills a record.
fn fill<T: Default>(number: Call, handle: Handle) -> Result<T, Refused> {
    let mut record = T::default();
    let at = &raw mut record as u64;
    // SAFETY: ring 0 fills one record at this address; the records are all integers.
    unsafe { call(number, [handle.word(), at]) }?;
    Ok(record)
}
