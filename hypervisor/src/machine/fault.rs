//! A component's memory as it touches it, and as its calls name it.
//!
//! Owns the answer to a page fault in ring 3: a page given for the first time, or the end. The
//! same search serves the copies of calls, so a pointer to memory that was never touched is as
//! good as any.

use super::Machine;
use super::turn::{Step, Turn};
use crate::mem;
use crate::object::component::Component;
use crate::object::guest::NotBacked;
use skerry_abi::{EndCause, Refused, Rights, layout};
use skerry_rights::Id;
use skerry_second_stage::PageSize;
use skerry_words::{Gpa, Hpa, PAGE_BYTES};
use x86_64::registers::control::Cr2;

/// What is done with a piece of a component's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It is read.
    Read,
    /// It is written.
    Write,
    /// Instructions are fetched from it.
    Fetch,
}

impl Access {
    const fn right(self) -> Rights {
        match self {
            Self::Read => Rights::READ,
            Self::Write => Rights::WRITE,
            Self::Fetch => Rights::RUN,
        }
    }

    /// From the error code of a page fault `[SDM 3A, "Page-Fault Exceptions", ed. 085]`.
    const fn of_fault(error_code: u64) -> Self {
        match error_code & 0b1_0010 {
            0b1_0000 => Self::Fetch,
            0 => Self::Read,
            _ => Self::Write,
        }
    }
}

impl Machine {
    /// A page fault in ring 3.
    #[cold]
    pub(super) fn page_fault(&mut self, id: Id<Component>) -> Step {
        let at = Cr2::read_raw();
        let Some(component) = self.components.get(id) else {
            return Step::Leave(Turn::Ended);
        };
        if let Some(vcpu) = self.loaded.and_then(|id| self.vcpus.get_mut(id)) {
            vcpu.hardware.cr2_is_lost();
        }
        let access = Access::of_fault(component.thread.frame.error_code());
        let was_there = component.thread.frame.error_code() & 1 != 0;
        let outcome = if was_there {
            Err(Refused::BadAddress)
        } else {
            self.page_in(id, at, access).map(|_| ())
        };
        match outcome {
            Ok(()) => Step::Go,
            Err(Refused::Exhausted) => {
                self.end_component(id, EndCause::OutOfMemory, 0, at);
                Step::Leave(Turn::Ended)
            }
            Err(_) => {
                self.end_component(id, cause_of(at), 0, at);
                Step::Leave(Turn::Ended)
            }
        }
    }

    /// The host address behind `at`, mapped and given memory now if it was not.
    ///
    /// # Errors
    /// [`Refused::BadAddress`] if it is not the component's to access so;
    /// [`Refused::Exhausted`].
    pub fn page_in(&mut self, id: Id<Component>, at: u64, access: Access) -> Result<Hpa, Refused> {
        let component = self.components.get_mut(id).ok_or(Refused::Revoked)?;
        let space = component.space.as_ref().ok_or(Refused::Revoked)?;
        if let Some(mapping) = (at < layout::USER_END)
            .then(|| space.translate(at))
            .flatten()
        {
            let allowed = match access {
                Access::Read => true,
                Access::Write => mapping.rights.writable(),
                Access::Fetch => mapping.rights.executable(),
            };
            return if allowed {
                Ok(mapping.hpa)
            } else {
                Err(Refused::BadAddress)
            };
        }
        if let Some(gpa) = at.checked_sub(layout::GUEST_WINDOW)
            && gpa < layout::GUEST_END
        {
            return self.guest_page_in(id, Gpa(gpa), access);
        }
        let region = component.region(at).ok_or(Refused::BadAddress)?;
        if !region.rights().contains(access.right()) {
            return Err(Refused::BadAddress);
        }
        let memory = self.memories.get_mut(region.memory);
        let page = memory
            .ok_or(Refused::BadAddress)?
            .page(region.page_of(at))?;
        let space = component.space.as_mut().ok_or(Refused::Revoked)?;
        let start = at & !(PAGE_BYTES - 1);
        space
            .map(start, page, PageSize::Kib4, region.rights())
            .map_err(|_| Refused::Exhausted)?;
        Ok(Hpa(page.0 + at % PAGE_BYTES))
    }

    fn guest_page_in(
        &mut self,
        id: Id<Component>,
        gpa: Gpa,
        access: Access,
    ) -> Result<Hpa, Refused> {
        let component = self.components.get_mut(id).ok_or(Refused::Revoked)?;
        let vcpu = component.vcpu.and_then(|id| self.vcpus.get(id));
        let guest = vcpu.and_then(|vcpu| self.guests.get_mut(vcpu.guest));
        if access == Access::Fetch {
            return Err(Refused::BadAddress);
        }
        let (start, leaf) = match guest.ok_or(Refused::BadAddress)?.page(gpa) {
            Ok(page) => page,
            Err(NotBacked::NotRam) => return Err(Refused::BadAddress),
            Err(NotBacked::OutOfMemory) => return Err(Refused::Exhausted),
        };
        let space = component.space.as_mut().ok_or(Refused::Revoked)?;
        let rights = Rights::READ | Rights::WRITE;
        space
            .map(layout::GUEST_WINDOW + start.0, leaf.hpa, leaf.size, rights)
            .map_err(|_| Refused::Exhausted)?;
        Ok(Hpa(leaf.hpa.0 + (gpa.0 - start.0)))
    }

    /// Copies from a component's memory.
    ///
    /// # Errors
    /// As [`Machine::page_in`].
    pub fn copy_in(&mut self, id: Id<Component>, at: u64, into: &mut [u8]) -> Result<(), Refused> {
        self.copy(id, at, into.len(), Access::Read, |from, part| {
            // SAFETY: a piece of one page that the component has.
            unsafe { mem::read(from, &mut into[part]) };
        })
    }

    /// Copies to a component's memory.
    ///
    /// # Errors
    /// As [`Machine::page_in`].
    pub fn copy_out(&mut self, id: Id<Component>, at: u64, from: &[u8]) -> Result<(), Refused> {
        self.copy(id, at, from.len(), Access::Write, |to, part| {
            // SAFETY: a piece of one page that the component may write.
            unsafe { mem::write(to, &from[part]) };
        })
    }

    fn copy(
        &mut self,
        id: Id<Component>,
        at: u64,
        bytes: usize,
        access: Access,
        mut piece: impl FnMut(Hpa, core::ops::Range<usize>),
    ) -> Result<(), Refused> {
        let end = at.checked_add(bytes as u64).ok_or(Refused::BadAddress)?;
        if end > layout::USER_END {
            return Err(Refused::BadAddress);
        }
        let mut done = 0;
        while done < bytes {
            let from = at + done as u64;
            let left = (PAGE_BYTES - from % PAGE_BYTES) as usize;
            let length = left.min(bytes - done);
            let hpa = self.page_in(id, from, access)?;
            piece(hpa, done..done + length);
            done += length;
        }
        Ok(())
    }
}

fn cause_of(at: u64) -> EndCause {
    if (layout::STACK - PAGE_BYTES..layout::STACK).contains(&at) {
        EndCause::StackOverflow
    } else {
        EndCause::BadAccess
    }
}
