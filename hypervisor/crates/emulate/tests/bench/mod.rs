//! One instruction on the real CPU, with registers, flags and bytes around it.
#![allow(dead_code)] // each test uses a part

use crate::common::Ram;
use skerry_emulate::MmioTarget;
use skerry_words::{Gpa, Width};
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock};

pub(crate) const PAGE: usize = 4096;
pub(crate) const DATA_PAGES: usize = 3;
pub(crate) const STATUS_AND_DIRECTION: u64 = 0xcd5;

/// What goes into and comes out of one execution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    pub(crate) gpr: [u64; 16],
    pub(crate) flags: u64,
    pub(crate) data: Vec<u8>,
}

/// The data pages as a device, each at its address.
pub(crate) struct Device {
    pub(crate) at: [u64; DATA_PAGES],
    pub(crate) bytes: Vec<u8>,
}

impl Device {
    fn index(&self, at: Gpa) -> usize {
        let page = self.at.iter().position(|page| *page == at.page_start().0);
        page.expect("an access outside of the data pages") * PAGE + at.page_offset() as usize
    }
}

impl MmioTarget for Device {
    fn read(&mut self, at: Gpa, width: Width) -> u64 {
        let bytes = &self.bytes[self.index(at)..][..width.bytes() as usize];
        let fold = |value, byte: &u8| value << 8 | u64::from(*byte);
        bytes.iter().rev().fold(0, fold)
    }

    fn write(&mut self, at: Gpa, width: Width, value: u64) {
        let index = self.index(at);
        let bytes = &value.to_le_bytes()[..width.bytes() as usize];
        self.bytes[index..][..bytes.len()].copy_from_slice(bytes);
    }
}

/// A page of code, one of registers, three of extended state and some of data, all below 2 GiB so
/// that absolute addressing reaches them without a register.
pub(crate) struct Bench {
    code: *mut u8,
    context: *mut u64,
    pub(crate) data: *mut u8,
}

// SAFETY: the mappings belong to the one Bench, which is used behind a mutex only.
unsafe impl Send for Bench {}

fn map_low(pages: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping aliases nothing.
    let at = unsafe { libc::mmap(ptr::null_mut(), pages * PAGE, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    at.cast()
}

pub(crate) fn bench() -> MutexGuard<'static, Bench> {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let make = || {
        Mutex::new(Bench {
            code: map_low(1),
            context: map_low(1 + AREAS).cast(),
            data: map_low(DATA_PAGES),
        })
    };
    BENCH
        .get_or_init(make)
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Context slots: 0-15 registers in, 16 flags in, 17-32 registers out, 33 flags out,
/// 34 the host's stack pointer.
const FLAGS_IN: usize = 16;
const OUT: usize = 17;
const FLAGS_OUT: usize = 33;
const HOST_STACK: usize = 34;

/// The areas of extended state, behind the context: before, after, and the host's.
const AREAS: usize = 3;
const BEFORE: usize = 1;
const AFTER: usize = 2;
const HOSTS: usize = 3;
/// x87, SSE, AVX and AVX-512.
pub(crate) const COMPONENTS: u64 = 0xe7;

impl Bench {
    fn slot(&self, index: usize) -> [u8; 4] {
        ((self.context as usize + index * 8) as u32).to_le_bytes()
    }

    /// MOV between a register and a context slot: 8Bh loads, 89h stores.
    fn move_slot(&self, opcode: u8, register: u8, slot: usize) -> Vec<u8> {
        let rex = 0x48 | (register >> 3) << 2;
        let mut code = vec![rex, opcode, (register & 7) << 3 | 4, 0x25];
        code.extend(self.slot(slot));
        code
    }

    /// Everything before the instruction.
    fn prologue(&self) -> Vec<u8> {
        let mut code = vec![0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57];
        code.extend(self.move_slot(0x89, 4, HOST_STACK));
        code.extend([0xff, 0x34, 0x25]); // push [flags in]; popfq
        code.extend(self.slot(FLAGS_IN));
        code.push(0x9d);
        for register in 0..16 {
            code.extend(self.move_slot(0x8b, register, usize::from(register)));
        }
        code
    }

    /// Everything after it.
    fn epilogue(&self) -> Vec<u8> {
        let mut code = Vec::new();
        for register in 0..16 {
            code.extend(self.move_slot(0x89, register, OUT + usize::from(register)));
        }
        code.extend(self.move_slot(0x8b, 4, HOST_STACK));
        code.extend([0x9c, 0x8f, 0x04, 0x25]); // pushfq; pop [flags out]; cld
        code.extend(self.slot(FLAGS_OUT));
        code.push(0xfc);
        code.extend([
            0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3,
        ]);
        code
    }

    pub(crate) fn instruction_at(&self) -> u64 {
        self.code as u64 + self.prologue().len() as u64
    }

    /// A guest's memory with `code` at the same linear address, and the data pages at theirs, to be
    /// found at `data`.
    pub(crate) fn guest_memory(&self, code: &[u8], data: [u64; DATA_PAGES]) -> Ram {
        const CODE_GPA: u64 = 0x1_8000;
        let mut ram = Ram::new();
        let at = self.instruction_at();
        ram.map(at & !0xfff, CODE_GPA, 0x23);
        ram.put(CODE_GPA + (at & 0xfff), code);
        for (page, gpa) in data.into_iter().enumerate() {
            ram.map(self.data as u64 + (page * PAGE) as u64, gpa, 0x63);
        }
        ram
    }

    fn protect(&self, protection: i32) {
        // SAFETY: the page is this bench's own.
        let failed = unsafe { libc::mprotect(self.code.cast(), PAGE, protection) };
        assert_eq!(failed, 0);
    }

    /// Executes `instruction`, whose memory operands lie in the data pages.
    pub(crate) fn execute(&self, instruction: &[u8], before: &Machine) -> Machine {
        let code = [self.prologue(), instruction.to_vec(), self.epilogue()].concat();
        self.protect(libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the code page is writable now and larger than the code.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), self.code, code.len()) };
        self.protect(libc::PROT_READ | libc::PROT_EXEC);
        // SAFETY: the data pages are as long as `before.data`.
        unsafe { ptr::copy_nonoverlapping(before.data.as_ptr(), self.data, before.data.len()) };
        // SAFETY: the context page is ours, writable and long enough.
        let context = unsafe { std::slice::from_raw_parts_mut(self.context, 64) };
        context[..16].copy_from_slice(&before.gpr);
        context[FLAGS_IN] = before.flags;
        // SAFETY: the code keeps the calling convention: it saves and restores the
        // registers and the stack pointer, and touches the context and data pages only.
        let run: extern "C" fn() = unsafe { std::mem::transmute(self.code) };
        run();
        let mut data = vec![0; before.data.len()];
        // SAFETY: the data pages are as long as `data`.
        unsafe { ptr::copy_nonoverlapping(self.data, data.as_mut_ptr(), data.len()) };
        // SAFETY: the context page is ours; the code has filled it.
        let context = unsafe { std::slice::from_raw_parts(self.context, 64) };
        Machine {
            gpr: context[OUT..OUT + 16].try_into().unwrap(),
            flags: context[FLAGS_OUT] & STATUS_AND_DIRECTION,
            data,
        }
    }

    /// XSAVE64 (4) or XRSTOR64 (5) of an area.
    fn switch(&self, digit: u8, area: usize) -> Vec<u8> {
        let at = (self.context as usize + area * PAGE) as u32;
        let mut code = vec![0x48, 0x0f, 0xae, digit << 3 | 4, 0x25];
        code.extend(at.to_le_bytes());
        code
    }

    #[allow(clippy::mut_from_ref)] // each reference ends before the next
    fn area(&self, number: usize) -> &mut [u8; PAGE] {
        let pages = self.context.cast::<[u8; PAGE]>();
        // SAFETY: the areas follow the context in its mapping.
        let page = unsafe { pages.add(number) };
        // SAFETY: the page is this bench's own and nobody else refers to it.
        unsafe { &mut *page }
    }

    /// The same, with extended state around it. RAX and RDX are not the instruction's.
    pub(crate) fn execute_extended(
        &self,
        instruction: &[u8],
        before: &Machine,
        state: &[u8; PAGE],
    ) -> (Machine, [u8; PAGE]) {
        self.area(BEFORE).copy_from_slice(state);
        self.area(AFTER).fill(0);
        self.area(HOSTS).fill(0);
        let code = [
            self.switch(4, HOSTS),
            self.switch(5, BEFORE),
            instruction.to_vec(),
            self.switch(4, AFTER),
            self.switch(5, HOSTS),
        ];
        let mut before = before.clone();
        (before.gpr[0], before.gpr[2]) = (COMPONENTS, 0);
        let after = self.execute(&code.concat(), &before);
        (after, *self.area(AFTER))
    }
}
