//! Reads and writes of the registers in memory, and what each write does.
//!
//! Owns the rules of xAPIC accesses, and the one table from register to effect, which the
//! MSRs of x2APIC mode share `[SDM 3A, "The Local APIC Block Diagram", ed. 085]`. Does not
//! own instruction decoding: an access here is one register.

use core::ops::DerefMut;

use skerry_words::{ApicPage, Tsc, Vector};

use super::register::{
    COMMAND, COMMAND_HIGH, CURRENT_COUNT, DESTINATION_FORMAT, DIVIDE, END_OF_INTERRUPT,
    ERROR_STATUS, ID, INITIAL_COUNT, LOGICAL_DESTINATION, LVT_ERROR, LVT_LINT0, LVT_LINT1,
    LVT_PERFORMANCE, LVT_THERMAL, LVT_TIMER, SELF_IPI, SPURIOUS, TASK_PRIORITY, XAPIC, XAPIC_READ,
    XAPIC_WRITTEN, kept,
};
use super::{Action, LocalApic, error};

impl<P: DerefMut<Target = ApicPage>> LocalApic<P> {
    /// Reads the 32-bit word at `offset` (below 4096) of the registers in memory. To be called
    /// in xAPIC mode only; the caller takes a narrower access from the word it lies in, which
    /// is the one `offset` is in.
    ///
    /// Registers are 16 bytes apart. The three words behind each read as 0 (the manual leaves
    /// them undefined), as does EOI. Where there is no register, 0 is read and the error
    /// status register gets an error.
    #[inline]
    pub fn read(&mut self, offset: u16, now: Tsc) -> u32 {
        if offset & 0xc != 0 {
            return 0;
        }
        let offset = offset & !3;
        if offset == CURRENT_COUNT {
            return self.current_count(now);
        }
        if XAPIC_READ.has(offset) {
            return self.page.get(offset);
        }
        if !XAPIC.has(offset) {
            self.detect(error::ILLEGAL_REGISTER);
        }
        0
    }

    /// Writes 32 bits to the registers in memory. To be called in xAPIC mode only.
    ///
    /// Reserved bits are not kept. A write to a register that cannot be written, or that is
    /// not at a multiple of 16, has no effect; where there is none, it is an error as for a
    /// read.
    #[inline]
    pub fn write(&mut self, offset: u16, value: u32, now: Tsc) -> Action {
        if offset == END_OF_INTERRUPT {
            return self.end_of_interrupt();
        }
        if offset & 0xf != 0 {
            return Action::None;
        }
        if XAPIC_WRITTEN.has(offset) {
            return self.store(offset, value, now);
        }
        if !XAPIC.has(offset) {
            self.detect(error::ILLEGAL_REGISTER);
        }
        Action::None
    }

    /// An APIC-write exit: the CPU has put what the guest wrote into the page at `offset`, and
    /// the rest is to be done here `[SDM 3C, "APIC-Write VM Exits", ed. 085]`.
    ///
    /// Where the CPU keeps the task priority in the page but does not deliver interrupts, this
    /// is also how to tell that it may have changed: with the offset 80h.
    pub fn written(&mut self, offset: u16, now: Tsc) -> Action {
        let offset = offset & !0xf;
        self.store(offset, self.page.get(offset), now)
    }

    #[inline(never)]
    pub(super) fn current_count(&mut self, now: Tsc) -> u32 {
        self.expire(now);
        self.timer.current(now)
    }

    /// What a write to a register does, in every mode. It does not look at what stands there:
    /// that may already be `value`.
    #[inline(never)]
    pub(super) fn store(&mut self, offset: u16, value: u32, now: Tsc) -> Action {
        match offset {
            END_OF_INTERRUPT => return self.end_of_interrupt(),
            TASK_PRIORITY => self.set_task_priority(value),
            COMMAND => return self.send(value),
            SELF_IPI => self.send_self(Vector(value as u8)),
            _ => {
                self.store_setting(offset, value, now);
                return Action::Setting;
            }
        }
        Action::None
    }

    /// The registers that are rarely written.
    #[inline(never)]
    fn store_setting(&mut self, offset: u16, value: u32, now: Tsc) {
        match offset {
            ID | LOGICAL_DESTINATION | COMMAND_HIGH => self.page.set(offset, value & kept(offset)),
            DESTINATION_FORMAT => self.page.set(offset, value | !kept(offset)),
            SPURIOUS => self.set_spurious(value, now),
            ERROR_STATUS => self.latch_errors(),
            LVT_TIMER | LVT_THERMAL | LVT_PERFORMANCE | LVT_LINT0 | LVT_LINT1 | LVT_ERROR => {
                self.set_lvt(offset, value, now);
            }
            INITIAL_COUNT => {
                self.expire(now);
                self.timer.set_initial(value, now);
                self.page.set(INITIAL_COUNT, self.timer.initial());
            }
            DIVIDE => {
                self.expire(now);
                self.timer.set_divide(value, now);
                self.page.set(DIVIDE, value & kept(DIVIDE));
            }
            _ => {}
        }
    }
}
