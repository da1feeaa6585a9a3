//! Who is told of what: notifications, interrupt lines, the log's reader.

use super::Machine;
use crate::cpu;
use crate::object::component::Component;
use skerry_abi::{Refused, layout};
use skerry_rights::Id;
use skerry_words::Tsc;

/// How many interrupt lines the 8259 pair has.
const LINES: usize = 16;

/// Who waits for which line, and the bits it wants then.
#[derive(Default)]
pub struct Lines {
    waiting: [Option<(Id<Component>, u64)>; LINES],
}

impl Lines {
    /// Has `id` told by `bits` when `line` interrupts.
    ///
    /// # Errors
    /// [`Refused::BadArgument`].
    pub fn wait(&mut self, line: u8, id: Id<Component>, bits: u64) -> Result<(), Refused> {
        let place = self.waiting.get_mut(usize::from(line));
        *place.ok_or(Refused::BadArgument)? = Some((id, bits));
        cpu::interrupt::open_line(line);
        Ok(())
    }
}

impl Machine {
    /// Sets bits of a component's and wakes it.
    ///
    /// # Errors
    /// [`Refused::Revoked`] if it has ended.
    pub fn notify(&mut self, id: Id<Component>, bits: u64) -> Result<(), Refused> {
        let component = self.components.get_mut(id).ok_or(Refused::Revoked)?;
        if component.has_ended() {
            return Err(Refused::Revoked);
        }
        let thread = &mut component.thread;
        thread.pending |= bits;
        if thread.sleeps_until.is_some() {
            thread.sleeps_until = None;
            let taken = thread.take_pending();
            thread.frame.answer_both(0, taken);
            if let Some(place) = thread.place {
                self.scheduler.wake(place);
            }
        }
        Ok(())
    }

    /// Tells the components whose lines have interrupted, and the reader of the log.
    #[inline(always)]
    pub(super) fn tell_of_interrupts(&mut self) {
        if cpu::interrupt::lines_wait() {
            self.tell_of_lines();
        }
        if crate::log::has_news() {
            self.tell_of_news();
        }
    }

    #[inline(never)]
    fn tell_of_lines(&mut self) {
        let lines = cpu::interrupt::take_lines();
        for (line, waiting) in self.lines.waiting.into_iter().enumerate() {
            if lines & (1 << line) != 0
                && let Some((id, bits)) = waiting
            {
                self.lines.waiting[line] = None;
                // Fails if it has ended: then nobody waits.
                let _ = self.notify(id, bits);
            }
        }
    }

    #[inline(never)]
    fn tell_of_news(&mut self) {
        if let Some(reader) = self.log_reader
            && self.notify(reader, layout::LOG_BIT).is_err()
        {
            self.log_reader = None;
            crate::log::print_again();
        }
    }

    /// Wakes who slept until now.
    #[inline(always)]
    pub(super) fn wake_due(&mut self) {
        let now = cpu::tsc::now();
        if now >= self.next_wake {
            self.wake_sleepers(now);
        }
    }

    #[inline(never)]
    fn wake_sleepers(&mut self, now: Tsc) {
        self.next_wake = Tsc::NEVER;
        for (_, component) in self.components.iter_mut() {
            let thread = &mut component.thread;
            let Some(deadline) = thread.sleeps_until else {
                continue;
            };
            if deadline > now {
                self.next_wake = self.next_wake.min(deadline);
                continue;
            }
            thread.sleeps_until = None;
            thread.frame.answer_both(0, 0);
            if let Some(place) = thread.place {
                self.scheduler.wake(place);
            }
        }
    }
}
