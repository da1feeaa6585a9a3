//! Skerry's own hypercalls, version 1.
//!
//! VMCALL (VT-x) or VMMCALL (AMD-V) in ring 0 of the guest; number in RAX, arguments in RDI
//! and RSI, result in RAX. A negative result is a refusal. The table is found by CPUID leaf
//! 40000000h ("SkerrySkerry") and its version in EAX of leaf 40000001h.
//!
//! | number | call | arguments | result |
//! |---|---|---|---|
//! | 0 | version | | 1 |
//! | 1 | console write | RDI address (guest-physical), RSI length (0 to 4096) | bytes written |
//! | 2 | yield | | 0, after others had their turn |
//! | 3 | shutdown | RDI status (0 is success) | does not return |
//! | 4 | statistics | RDI index: 0 exits answered, 1 absent port and memory accesses, 2 faults injected for refused instructions and registers, 3 interrupts delivered | the count |

use alloc::vec::Vec;
use skerry_verdict::{GuestMemory, Registers, Resume, StopReason};
use skerry_words::{Gpa, Gpr, GuestState};

/// CPUID leaf 40000000h, EBX, ECX, EDX.
pub const SIGNATURE: [u8; 12] = *b"SkerrySkerry";
/// The version of the table above.
pub const HYPERCALL_VERSION: u32 = 1;

const VERSION: u64 = 0;
const CONSOLE_WRITE: u64 = 1;
const YIELD: u64 = 2;
const SHUTDOWN: u64 = 3;
const STATISTICS: u64 = 4;

/// Refusals, as RAX shows them.
const UNKNOWN_NUMBER: u64 = -1_i64 as u64;
const BAD_ARGUMENT: u64 = -2_i64 as u64;
const NOT_PERMITTED: u64 = -3_i64 as u64;

const CONSOLE_WRITE_MAX_BYTES: u64 = 4096;

/// Whoever keeps the counts of the statistics call.
pub(crate) trait Statistics {
    /// The count with this index, or `None` past the last.
    fn count(&self, index: u64) -> Option<u64>;
}

/// Answers one hypercall.
#[inline]
pub(crate) fn answer(
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
    console: &mut Vec<u8>,
    statistics: impl Statistics,
) -> Resume {
    let mut resume = Resume::Enter;
    let argument = state.get(Gpr::Rdi);
    let result = match state.get(Gpr::Rax) {
        _ if state.cpl != 0 => NOT_PERMITTED,
        VERSION => u64::from(HYPERCALL_VERSION),
        CONSOLE_WRITE => console_write(argument, state.get(Gpr::Rsi), memory, console),
        YIELD => {
            resume = Resume::Yield;
            0
        }
        SHUTDOWN => {
            resume = Resume::Stop(StopReason::Shutdown(argument as u32));
            0
        }
        STATISTICS => statistics.count(argument).unwrap_or(BAD_ARGUMENT),
        _ => UNKNOWN_NUMBER,
    };
    state.set(Gpr::Rax, result);
    state.advance();
    resume
}

#[inline(never)]
fn console_write(
    at: u64,
    length: u64,
    memory: &mut impl GuestMemory,
    console: &mut Vec<u8>,
) -> u64 {
    if length > CONSOLE_WRITE_MAX_BYTES {
        return BAD_ARGUMENT;
    }
    let start = console.len();
    console.resize(start.saturating_add(length as usize), 0);
    let Some(room) = console.get_mut(start..) else {
        return BAD_ARGUMENT;
    };
    if memory.read(Gpa(at), room).is_err() {
        console.truncate(start);
        return BAD_ARGUMENT;
    }
    length
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use skerry_verdict::Unbacked;

    struct Page([u8; 4096]);
    impl GuestMemory for Page {
        fn read(&mut self, at: Gpa, into: &mut [u8]) -> Result<(), Unbacked> {
            let start = usize::try_from(at.0).map_err(|_| Unbacked(at))?;
            let end = start.checked_add(into.len()).ok_or(Unbacked(at))?;
            into.copy_from_slice(self.0.get(start..end).ok_or(Unbacked(at))?);
            Ok(())
        }
        fn write(&mut self, at: Gpa, _: &[u8]) -> Result<(), Unbacked> {
            Err(Unbacked(at))
        }
    }

    struct Four;
    impl Statistics for Four {
        fn count(&self, index: u64) -> Option<u64> {
            [9, 8, 7, 6].get(usize::try_from(index).ok()?).copied()
        }
    }

    fn call(number: u64, rdi: u64, rsi: u64, cpl: u32) -> (i64, Resume, Vec<u8>) {
        let mut state = GuestState::at_reset();
        state.cpl = cpl;
        state.set(Gpr::Rax, number);
        state.set(Gpr::Rdi, rdi);
        state.set(Gpr::Rsi, rsi);
        let mut console = Vec::new();
        let resume = answer(&mut state, &mut Page([b'x'; 4096]), &mut console, Four);
        (state.get(Gpr::Rax) as i64, resume, console)
    }

    #[test]
    fn only_ring_0_of_the_guest_may_call() {
        assert_eq!(call(0, 0, 0, 3).0, -3);
        assert_eq!(call(3, 0, 0, 3).1, Resume::Enter);
        assert_eq!(call(0, 0, 0, 0).0, 1);
    }

    #[test]
    fn console_writes_take_memory_the_guest_has_and_nothing_else() {
        assert_eq!(call(1, 4, 3, 0), (3, Resume::Enter, b"xxx".to_vec()));
        assert_eq!(call(1, 4095, 2, 0), (-2, Resume::Enter, Vec::new()));
        assert_eq!(call(1, u64::MAX, 2, 0), (-2, Resume::Enter, Vec::new()));
        assert_eq!(call(1, 0, 4097, 0), (-2, Resume::Enter, Vec::new()));
        assert_eq!(call(1, 0, u64::MAX, 0), (-2, Resume::Enter, Vec::new()));
    }

    #[test]
    fn shutdown_carries_its_status_and_yield_yields() {
        assert_eq!(call(3, 7, 0, 0).1, Resume::Stop(StopReason::Shutdown(7)));
        assert_eq!(call(2, 0, 0, 0).1, Resume::Yield);
    }

    #[test]
    fn unknown_numbers_and_indices_are_refused() {
        assert_eq!(call(5, 0, 0, 0).0, -1);
        assert_eq!(call(u64::MAX, 0, 0, 0).0, -1);
        assert_eq!(call(4, 3, 0, 0).0, 6);
        assert_eq!(call(4, 4, 0, 0).0, -2);
    }
}
