//! Segments and the task-state segment.
//!
//! Owns the GDT (null, 64-bit code and data of ring 0 and of ring 3, TSS), the exception
//! stacks' places in the TSS, and where the CPU puts its frame when it leaves ring 3. `virt`
//! reads the selectors and the TSS base for the host state of a VM.

use core::cell::UnsafeCell;

use spin::Once;
use x86_64::{
    VirtAddr,
    instructions::{
        segmentation::{CS, DS, ES, FS, GS, SS, Segment},
        tables::load_tss,
    },
    registers::segmentation::SegmentSelector,
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable},
        tss::TaskStateSegment,
    },
};

use super::stack;

/// Places in the TSS's interrupt stack table; the IDT's number is one more.
pub(super) mod ist {
    pub(in crate::cpu) const DOUBLE_FAULT: usize = 0;
    pub(in crate::cpu) const PAGE_FAULT: usize = 1;
    pub(in crate::cpu) const NMI: usize = 2;
    pub(in crate::cpu) const MACHINE_CHECK: usize = 3;
}

struct Tables {
    gdt: GlobalDescriptorTable,
    selectors: Selectors,
}

/// The selectors ring 0 runs with.
#[derive(Clone, Copy, Debug)]
pub struct Selectors {
    /// 64-bit code.
    pub code: SegmentSelector,
    /// Data and stack.
    pub data: SegmentSelector,
    /// Ring 3's 64-bit code.
    pub user_code: SegmentSelector,
    /// Ring 3's stack.
    pub user_data: SegmentSelector,
    /// Task state.
    pub tss: SegmentSelector,
}

/// The CPU's task-state segment. It is read by the CPU at any time.
struct Tss(UnsafeCell<TaskStateSegment>);

// SAFETY: written by `tss` before it is loaded, then word by word by the one CPU there is.
unsafe impl Sync for Tss {}

static TSS: Tss = Tss(UnsafeCell::new(TaskStateSegment::new()));
static STACKS: Once<()> = Once::new();
static TABLES: Once<Tables> = Once::new();

/// The selectors ring 0 runs with.
pub fn selectors() -> Selectors {
    tables().selectors
}

/// Where the task-state segment is.
pub fn tss_base() -> VirtAddr {
    VirtAddr::from_ptr(TSS.0.get())
}

/// Has the CPU put the frame of whatever interrupts ring 3 below `end`, which is 16-byte
/// aligned.
///
/// # Safety
/// There is room for a frame, for as long as ring 3 may run.
#[inline]
pub unsafe fn set_ring3_frame(end: u64) {
    let stacks = TSS.0.get();
    // SAFETY: a place in a static, which is only named here.
    let ring0 = unsafe { &raw mut (*stacks).privilege_stack_table[0] };
    // SAFETY: a word of that static, which the CPU alone reads.
    unsafe { ring0.write_unaligned(VirtAddr::new(end)) };
}

/// Loads the GDT and all segment registers.
pub(super) fn load() {
    let Tables { gdt, selectors } = tables();
    gdt.load();
    // SAFETY: `code` is a 64-bit code segment of the table just loaded.
    unsafe { CS::set_reg(selectors.code) };
    // SAFETY: `data` is a writable data segment of that table.
    unsafe { SS::set_reg(selectors.data) };
    // SAFETY: a null data segment is fine in 64-bit mode.
    unsafe { DS::set_reg(SegmentSelector::NULL) };
    // SAFETY: as above.
    unsafe { ES::set_reg(SegmentSelector::NULL) };
    // SAFETY: as above; nothing is FS-relative.
    unsafe { FS::set_reg(SegmentSelector::NULL) };
    // SAFETY: as above; nothing is GS-relative.
    unsafe { GS::set_reg(SegmentSelector::NULL) };
    // SAFETY: `tss` is an available TSS of that table, and static.
    unsafe { load_tss(selectors.tss) };
}

fn tables() -> &'static Tables {
    TABLES.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        let selectors = Selectors {
            code: gdt.append(Descriptor::kernel_code_segment()),
            data: gdt.append(Descriptor::kernel_data_segment()),
            user_data: gdt.append(Descriptor::user_data_segment()),
            user_code: gdt.append(Descriptor::user_code_segment()),
            tss: gdt.append(Descriptor::tss_segment(tss())),
        };
        Tables { gdt, selectors }
    })
}

fn tss() -> &'static TaskStateSegment {
    STACKS.call_once(|| {
        let stacks = core::array::from_fn(|place| match place {
            ist::DOUBLE_FAULT => stack::DOUBLE_FAULT.top(),
            ist::PAGE_FAULT => stack::PAGE_FAULT.top(),
            ist::NMI => stack::NMI.top(),
            ist::MACHINE_CHECK => stack::MACHINE_CHECK.top(),
            _ => VirtAddr::zero(),
        });
        // SAFETY: a place in a static, which is only named here.
        let table = unsafe { &raw mut (*TSS.0.get()).interrupt_stack_table };
        // SAFETY: nobody else has it yet; the TSS is not loaded.
        unsafe { table.write_unaligned(stacks) };
    });
    // SAFETY: only its place is used from here on.
    unsafe { &*TSS.0.get() }
}
