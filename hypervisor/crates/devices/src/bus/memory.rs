//! Which address is whose.
//!
//! Owns the routing of accesses to memory that is no RAM: the mapped UART, the I/O APIC, the
//! HPET and the test device's memory. Does not own the local APICs' page: each vCPU has its own, and
//! the VMM asks it first. Called by the VMM through [`Platform`].

use skerry_words::{Gpa, Tsc, Vector, Width};

use super::{each_byte, last_of, shift};
use crate::line::IrqLine;
use crate::platform::{Effect, Platform};
use crate::uart::{Register as UartRegister, Uart};

/// Bytes of a UART's registers in memory.
const UART_BYTES: u64 = 8;

/// The I/O APIC's page, and its registers in it.
mod ioapic {
    pub(super) const PAGE: u64 = 0xfec0_0000;
    pub(super) const SELECT: u64 = PAGE;
    pub(super) const WINDOW: u64 = PAGE | 0x10;
    pub(super) const EOI: u64 = PAGE | 0x40;
}

/// The HPET's page.
const HPET: u64 = 0xfed0_0000;

impl Platform {
    /// Answers a read of memory that is no RAM. The result is never wider than `width`.
    #[inline]
    pub fn memory_read(&mut self, at: Gpa, width: Width, now: Tsc) -> u64 {
        self.expire(now);
        match (width, self.mapped_byte(at)) {
            (Width::Byte, Some(register)) => u64::from(self.read_mapped(register)),
            _ => self.memory_read_rarely(at, width, now),
        }
    }

    /// What takes longer, apart, so that the UART's reads are short.
    #[inline(never)]
    fn memory_read_rarely(&mut self, at: Gpa, width: Width, now: Tsc) -> u64 {
        if at.page_start().0 == ioapic::PAGE {
            return self.read_ioapic(at, width);
        }
        if at.page_start().0 == HPET {
            return self.read_hpet(at, width, now);
        }
        let test_device = self.test_device.as_ref();
        if let Some(value) = test_device.and_then(|device| device.load(at, width)) {
            return value;
        }
        self.read_mapped_wide(at, width)
    }

    fn read_mapped_wide(&mut self, at: Gpa, width: Width) -> u64 {
        let Some((first, mapped)) = self.mapped_at(at, width) else {
            return self.absent_read(width);
        };
        let value = each_byte(width).fold(0, |value, byte| {
            let register = UartRegister::at(first.wrapping_add(byte));
            value | (u64::from(mapped.read(register)) << shift(byte))
        });
        let level = mapped.interrupt();
        self.set_line(IrqLine::COM2, level);
        value
    }

    /// Answers a write to memory that is no RAM.
    #[inline]
    pub fn memory_write(&mut self, at: Gpa, width: Width, value: u64, now: Tsc) -> Effect {
        self.expire(now);
        match (width, self.mapped_byte(at)) {
            (Width::Byte, Some(register)) => self.write_mapped(register, value as u8),
            _ => self.memory_write_rarely(at, width, value, now),
        }
    }

    #[inline(never)]
    fn memory_write_rarely(&mut self, at: Gpa, width: Width, value: u64, now: Tsc) -> Effect {
        if at.page_start().0 == ioapic::PAGE {
            self.write_ioapic(at, width, value, now);
            return Effect::None;
        }
        if at.page_start().0 == HPET {
            self.write_hpet(at, width, value, now);
            return Effect::None;
        }
        let test_device = self.test_device.as_mut();
        if test_device.is_some_and(|device| device.store(at, width, value).is_some()) {
            return Effect::None;
        }
        self.write_mapped_wide(at, width, value)
    }

    /// The index register can be accessed at any width; the window only by four bytes, as
    /// `[Intel 82093AA (IOAPIC), "I/O Window Register", order 290566-001]` demands, and so the
    /// EOI register, which is write-only. What else is in the page is absent.
    fn read_ioapic(&mut self, at: Gpa, width: Width) -> u64 {
        match (at.0, width) {
            (ioapic::SELECT, _) => u64::from(self.ioapic.selected()),
            (ioapic::WINDOW, Width::Dword) => u64::from(self.ioapic.read()),
            _ => self.absent_read(width),
        }
    }

    fn write_ioapic(&mut self, at: Gpa, width: Width, value: u64, now: Tsc) {
        match (at.0, width) {
            (ioapic::SELECT, _) => self.ioapic.select(value as u8),
            (ioapic::WINDOW, Width::Dword) => {
                // Edges up to now meet the table as it was.
                self.run_timer(now);
                self.ioapic.write(value as u32);
                self.refresh_deadline();
            }
            (ioapic::EOI, Width::Dword) => self.end_of_interrupt(Vector(value as u8), now),
            _ => self.count_absent(),
        }
    }

    fn read_hpet(&mut self, at: Gpa, width: Width, now: Tsc) -> u64 {
        match self.hpet.read(at.page_offset() as u16, width, now) {
            Some(value) => value,
            None => self.absent_read(width),
        }
    }

    fn write_hpet(&mut self, at: Gpa, width: Width, value: u64, now: Tsc) {
        match self.hpet.write(at.page_offset() as u16, width, value, now) {
            Some(moves) => self.wire_hpet(moves),
            None => self.count_absent(),
        }
        self.refresh_deadline();
    }

    fn write_mapped_wide(&mut self, at: Gpa, width: Width, value: u64) -> Effect {
        let Some((first, _)) = self.mapped_at(at, width) else {
            self.count_absent();
            return Effect::None;
        };
        each_byte(width).fold(Effect::None, |effect, byte| {
            let register = UartRegister::at(first.wrapping_add(byte));
            let next = self.write_mapped(register, (value >> shift(byte)) as u8);
            last_of(effect, next)
        })
    }

    /// The register of the mapped UART at this address, if there is one.
    #[inline]
    fn mapped_byte(&self, at: Gpa) -> Option<UartRegister> {
        let offset = at.0.wrapping_sub(self.mapped_uart.as_ref()?.at.0);
        (offset < UART_BYTES).then(|| UartRegister::at(offset as u16))
    }

    fn read_mapped(&mut self, register: UartRegister) -> u8 {
        let Some(mapped) = self.mapped_uart.as_mut() else {
            return u8::MAX;
        };
        let value = mapped.uart.read(register);
        let level = mapped.uart.interrupt();
        self.set_line(IrqLine::COM2, level);
        value
    }

    /// The mapped UART and the first register, if the whole access lies inside it.
    fn mapped_at(&mut self, at: Gpa, width: Width) -> Option<(u16, &mut Uart)> {
        let mapped = self.mapped_uart.as_mut()?;
        let offset = at.0.checked_sub(mapped.at.0)?;
        let end = offset.checked_add(width.bytes())?;
        (end <= UART_BYTES).then_some((offset as u16, &mut mapped.uart))
    }

    fn write_mapped(&mut self, register: UartRegister, value: u8) -> Effect {
        let Some(mapped) = self.mapped_uart.as_mut() else {
            return Effect::None;
        };
        let written = mapped.uart.write(register, value);
        let level = mapped.uart.interrupt();
        self.uart_written(IrqLine::COM2, written, level)
    }
}
