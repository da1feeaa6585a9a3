//! Which port and which address is whose.
//!
//! Owns the routing of every access to one device, the splitting of wide accesses into
//! bytes as an ISA bus does, and the answer for what is not there: reads give ones, writes
//! vanish, both are counted. Addresses stand in `bus/memory.rs`. The methods here belong to
//! [`Platform`]; the VMM calls them.

mod memory;

use skerry_words::{Port, Tsc, Width};

use crate::chipset::ResetLine;
use crate::ioapic::Pin;
use crate::keyboard::Written as KeyboardWritten;
use crate::line::{IrqLine, Level};
use crate::pic::{Register as PicRegister, Which};
use crate::pit::Register as PitRegister;
use crate::platform::{Effect, Platform};
use crate::pm::Written as PmWritten;
use crate::uart::{Register as UartRegister, Written as UartWritten};

const PCI_ADDRESS: u16 = 0xcf8;
const DEBUG_EXIT: u16 = 0xf4;
/// The ACPI registers, and their timer.
const PM_BLOCK: u16 = 0x600;
const PM_BLOCK_LAST: u16 = 0x60f;
const PM_TIMER: u16 = 0x608;
/// fw_cfg.
const FW_CFG_SELECTOR: u16 = 0x510;
const FW_CFG_DATA: u16 = 0x511;
/// The test device's scratch ports, flush port and lines.
const SCRATCH: u16 = 0xe0;
const SCRATCH_LAST: u16 = 0xe3;
const FLUSH: u16 = 0xe4;
/// The same four bytes once more.
const SCRATCH_AGAIN: u16 = 0xe8;
const SCRATCH_AGAIN_LAST: u16 = 0xeb;
/// The debug console, in VMs without the test device, which has the same port.
const DEBUG_CONSOLE: u16 = 0xe9;
/// The same where firmware for virtual machines looks for it.
const FIRMWARE_CONSOLE: u16 = 0x402;
const TEST_LINES: u16 = 0x2000;
const TEST_LINES_LAST: u16 = 0x2017;
/// What a read of port E9h gives where it is a console, as Bochs and QEMU have it.
const DEBUG_CONSOLE_PRESENT: u8 = 0xe9;

impl Platform {
    /// Answers IN. The result is never wider than `width`.
    #[inline]
    pub fn port_read(&mut self, port: Port, width: Width, now: Tsc) -> u32 {
        if width != Width::Byte || self.is_due(now) {
            return self.port_read_rarely(port, width, now);
        }
        u32::from(self.read_byte(port.0, now))
    }

    /// What takes longer, apart, so that the frequent reads are short.
    #[inline(never)]
    fn port_read_rarely(&mut self, port: Port, width: Width, now: Tsc) -> u32 {
        self.expire(now);
        match width {
            Width::Byte => u32::from(self.read_byte(port.0, now)),
            Width::Word | Width::Dword | Width::Qword => self.read_wide(port.0, width, now),
        }
    }

    /// Answers OUT. Bits of `value` above `width` do not count.
    #[inline]
    pub fn port_write(&mut self, port: Port, width: Width, value: u32, now: Tsc) -> Effect {
        if width != Width::Byte || self.is_due(now) {
            return self.port_write_rarely(port, width, value, now);
        }
        self.write_byte(port.0, value as u8, now)
    }

    #[inline(never)]
    fn port_write_rarely(&mut self, port: Port, width: Width, value: u32, now: Tsc) -> Effect {
        self.expire(now);
        match width {
            Width::Byte => self.write_byte(port.0, value as u8, now),
            Width::Word | Width::Dword | Width::Qword => self.write_wide(port.0, width, value, now),
        }
    }

    #[inline]
    fn write_com1(&mut self, register: UartRegister, value: u8) -> Effect {
        let written = self.com1.write(register, value);
        self.uart_written(IrqLine::COM1, written, self.com1.interrupt())
    }

    /// Moves a UART's line after a write. For a byte sent the line goes through low, so
    /// that the next empty-transmitter interrupt is a new edge.
    #[inline]
    fn uart_written(&mut self, line: IrqLine, written: UartWritten, level: Level) -> Effect {
        match written {
            UartWritten::Quiet => {
                self.set_line(line, level);
                Effect::None
            }
            UartWritten::Sent(byte) => {
                self.set_line(line, Level::Low);
                self.set_line(line, level);
                Effect::Console(byte)
            }
        }
    }

    /// The console first: it is what guests touch most.
    #[inline]
    fn read_byte(&mut self, port: u16, now: Tsc) -> u8 {
        match port {
            0x3f8..=0x3ff => {
                let value = self.com1.read(UartRegister::at(port));
                self.wire_com1();
                value
            }
            _ => self.read_other(port, now),
        }
    }

    #[inline(never)]
    fn read_other(&mut self, port: u16, now: Tsc) -> u8 {
        match port {
            0x20 | 0x21 => self.read_pic(Which::Master, pic_register(port), now),
            0xa0 | 0xa1 => self.read_pic(Which::Slave, pic_register(port), now),
            0x4d0 => self.pic.read_edge_level(Which::Master),
            0x4d1 => self.pic.read_edge_level(Which::Slave),
            0x40..=0x43 => self.pit.read(pit_register(port), now),
            0x61 => self.pit.read61(now),
            0x60 => {
                let value = self.keyboard.read_data();
                self.wire_keyboard();
                value
            }
            0x64 => self.keyboard.read_status(),
            0x71 => self.read_rtc(now),
            0x80 | 0x84..=0x86 | 0x88 | 0x8c..=0x8e => self.chipset.post(port),
            0x92 => self.chipset.read92(),
            0xcf9 => self.chipset.read_cf9(),
            DEBUG_CONSOLE if self.test_device.is_none() => DEBUG_CONSOLE_PRESENT,
            FIRMWARE_CONSOLE => DEBUG_CONSOLE_PRESENT,
            DEBUG_EXIT => 0,
            FW_CFG_DATA => self.fw_cfg.read(),
            PM_BLOCK..=PM_BLOCK_LAST => self.read_pm(port & 0xf, now),
            SCRATCH..=SCRATCH_LAST | SCRATCH_AGAIN..=SCRATCH_AGAIN_LAST => self.read_scratch(port),
            // Configuration data: the bus is there, and no device on it answers. The FPU's
            // two ports are write-only.
            0xcfc..=0xcff | 0xf0 | 0xf1 => 0xff,
            0x3d4 => self.chipset.vga_index(),
            // Zeros, as early consoles take ones for a cursor far off the screen.
            0x3d5 => 0,
            _ => self.absent_read(Width::Byte) as u8,
        }
    }

    #[inline]
    fn write_byte(&mut self, port: u16, value: u8, now: Tsc) -> Effect {
        match port {
            0x3f8..=0x3ff => self.write_com1(UartRegister::at(port), value),
            _ => self.write_other(port, value, now),
        }
    }

    #[inline(never)]
    fn write_other(&mut self, port: u16, value: u8, now: Tsc) -> Effect {
        match port {
            0x20 | 0x21 => self.write_pic(Which::Master, pic_register(port), value, now),
            0xa0 | 0xa1 => self.write_pic(Which::Slave, pic_register(port), value, now),
            0x4d0 => self.pic.write_edge_level(Which::Master, value),
            0x4d1 => self.pic.write_edge_level(Which::Slave, value),
            0x40..=0x43 => self.write_pit(pit_register(port), value, now),
            0x61 => self.pit.write61(value, now),
            0x60 | 0x64 => return self.write_keyboard(port, value),
            0x70 => self.rtc.select(value),
            0x71 => self.write_rtc(value, now),
            0x80 | 0x84..=0x86 | 0x88 | 0x8c..=0x8e => self.chipset.set_post(port, value),
            0x92 => return reset_effect(self.chipset.write92(value)),
            0xcf9 => return reset_effect(self.chipset.write_cf9(value)),
            DEBUG_CONSOLE if self.test_device.is_none() => return Effect::Console(value),
            FIRMWARE_CONSOLE => return Effect::Console(value),
            PM_BLOCK..=PM_BLOCK_LAST => return self.write_pm(port & 0xf, value),
            SCRATCH..=FLUSH | SCRATCH_AGAIN..=SCRATCH_AGAIN_LAST | TEST_LINES..=TEST_LINES_LAST => {
                self.write_test_device(port, value.into(), now);
            }
            DEBUG_EXIT => return Effect::DebugExit(u32::from(value)),
            // Configuration data no device takes; FPU busy and reset, of a time when the
            // FPU was another chip; data of a VGA that is not there.
            0xcfc..=0xcff | 0xf0 | 0xf1 | 0x3d5 => {}
            0x3d4 => self.chipset.set_vga_index(value),
            _ => self.count_absent(),
        }
        Effect::None
    }

    fn read_pic(&mut self, which: Which, register: PicRegister, now: Tsc) -> u8 {
        self.run_timer(now);
        let value = self.pic.read(which, register);
        self.refresh_deadline();
        value
    }

    fn write_pic(&mut self, which: Which, register: PicRegister, value: u8, now: Tsc) {
        self.run_timer(now);
        self.pic.write(which, register, value);
        self.refresh_deadline();
    }

    fn write_pit(&mut self, register: PitRegister, value: u8, now: Tsc) {
        let edge = self.pit.write(register, value, now);
        self.wire_timer(edge);
        self.refresh_deadline();
    }

    fn read_rtc(&mut self, now: Tsc) -> u8 {
        let value = self.rtc.read(now);
        self.wire_rtc();
        self.refresh_deadline();
        value
    }

    fn write_rtc(&mut self, value: u8, now: Tsc) {
        self.rtc.write(value, now);
        self.wire_rtc();
        self.refresh_deadline();
    }

    fn write_keyboard(&mut self, port: u16, value: u8) -> Effect {
        let written = if port == 0x60 {
            self.keyboard.write_data(value)
        } else {
            self.keyboard.write_command(value)
        };
        self.wire_keyboard();
        match written {
            KeyboardWritten::Quiet => Effect::None,
            KeyboardWritten::Reset => Effect::Reset,
        }
    }

    fn read_pm(&mut self, offset: u16, now: Tsc) -> u8 {
        match self.pm.read(offset, now) {
            Some(value) => value,
            None => self.absent_read(Width::Byte) as u8,
        }
    }

    fn write_pm(&mut self, offset: u16, value: u8) -> Effect {
        match self.pm.write(offset, value) {
            PmWritten::Quiet => {}
            PmWritten::SoftOff => return Effect::PowerOff,
            PmWritten::Nothing => self.count_absent(),
        }
        Effect::None
    }

    fn read_scratch(&mut self, port: u16) -> u8 {
        match &self.test_device {
            Some(device) => device.scratch(port),
            None => self.absent_read(Width::Byte) as u8,
        }
    }

    /// A write to one of the test device's ports, or to nobody's in a VM without it.
    fn write_test_device(&mut self, port: u16, value: u32, now: Tsc) {
        let Some(device) = &mut self.test_device else {
            return self.count_absent();
        };
        match port {
            SCRATCH..=SCRATCH_LAST | SCRATCH_AGAIN..=SCRATCH_AGAIN_LAST => {
                device.set_scratch(port, value as u8);
            }
            FLUSH => {}
            _ => {
                let pin = Pin(port.wrapping_sub(TEST_LINES) as u8);
                self.move_test_line(pin, Level::from(value != 0), now);
            }
        }
    }

    /// Moves the wire at a pin of the I/O APIC. Where a device has the same wire, the last
    /// move counts.
    fn move_test_line(&mut self, pin: Pin, level: Level, now: Tsc) {
        self.run_timer(now);
        match IrqLine::at(pin) {
            Some(line) => self.set_line(line, level),
            None => self.ioapic.set_line(pin, level),
        }
        self.refresh_deadline();
    }

    /// A wide read: the few wide registers, else byte by byte.
    fn read_wide(&mut self, port: u16, width: Width, now: Tsc) -> u32 {
        match (port, width) {
            (PCI_ADDRESS, Width::Dword) => return self.chipset.pci_address(),
            (PM_TIMER, Width::Dword) => return self.pm.timer(now),
            (DEBUG_EXIT, _) => return 0,
            _ => {}
        }
        let before = self.absent;
        let value = each_byte(width).fold(0, |value, byte| {
            let read = match port.checked_add(byte) {
                Some(port) => self.read_byte(port, now),
                None => self.absent_read(Width::Byte) as u8,
            };
            value | (u32::from(read) << shift(byte))
        });
        self.count_once_since(before);
        value
    }

    /// A wide write: the few wide registers, else byte by byte. No access covers two ports
    /// with effects of their own.
    fn write_wide(&mut self, port: u16, width: Width, value: u32, now: Tsc) -> Effect {
        match (port, width) {
            (PCI_ADDRESS, Width::Dword) => {
                self.chipset.set_pci_address(value);
                return Effect::None;
            }
            (FW_CFG_SELECTOR, Width::Word) => {
                self.fw_cfg.select(value as u16);
                return Effect::None;
            }
            // One register each, of any width.
            (FLUSH | TEST_LINES..=TEST_LINES_LAST, _) => {
                self.write_test_device(port, value & width.mask() as u32, now);
                return Effect::None;
            }
            (DEBUG_EXIT, _) => return Effect::DebugExit(value & width.mask() as u32),
            _ => {}
        }
        let before = self.absent;
        let effect = each_byte(width).fold(Effect::None, |effect, byte| {
            let Some(port) = port.checked_add(byte) else {
                self.count_absent();
                return effect;
            };
            last_of(
                effect,
                self.write_byte(port, (value >> shift(byte)) as u8, now),
            )
        });
        self.count_once_since(before);
        effect
    }

    fn absent_read(&mut self, width: Width) -> u64 {
        self.count_absent();
        width.mask()
    }

    fn count_absent(&mut self) {
        self.absent = self.absent.saturating_add(1);
    }

    /// One access counts once, however many of its bytes met nobody.
    fn count_once_since(&mut self, before: u64) {
        self.absent = self.absent.min(before.saturating_add(1));
    }
}

/// The bytes of an access to ports or to the UART in memory, lowest first.
fn each_byte(width: Width) -> core::ops::Range<u16> {
    0..width.bytes() as u16
}

fn shift(byte: u16) -> u32 {
    u32::from(byte).wrapping_mul(8)
}

fn last_of(first: Effect, second: Effect) -> Effect {
    match second {
        Effect::None => first,
        Effect::Console(_) | Effect::Reset | Effect::PowerOff | Effect::DebugExit(_) => second,
    }
}

fn reset_effect(line: ResetLine) -> Effect {
    match line {
        ResetLine::Idle => Effect::None,
        ResetLine::Pulled => Effect::Reset,
    }
}

fn pic_register(port: u16) -> PicRegister {
    if port & 1 == 0 {
        PicRegister::Command
    } else {
        PicRegister::Data
    }
}

fn pit_register(port: u16) -> PitRegister {
    match port & 3 {
        0 => PitRegister::Counter0,
        1 => PitRegister::Counter1,
        2 => PitRegister::Counter2,
        _ => PitRegister::Control,
    }
}
