//! A component's address space: what lies where, in the lower half.
//!
//! Ring 0 enforces the bounds ([`USER_END`]) and owns the two windows of a vCPU; the rest is an
//! agreement between who makes a component and its runtime.

use crate::Handle;

/// In the place of a component handle: the caller.
pub const MYSELF: Handle = Handle(u32::MAX - 1);

/// User addresses end here. Page 0 is never mapped.
pub const USER_END: u64 = 0x0000_8000_0000_0000;

/// Where components are linked.
pub const IMAGE: u64 = 0x0040_0000;
/// Where the heap starts; it may not grow into [`STACK_TOP`]'s guard.
pub const HEAP: u64 = 0x1000_0000;
/// The heap of a VMM, in pages: its limit, given on first use.
pub const VMM_HEAP_PAGES: u64 = 256;
/// The heap of `root` and of the console, in pages.
pub const SERVICE_HEAP_PAGES: u64 = 1024;
/// The end of the stack.
pub const STACK_TOP: u64 = 0x2000_0000;
/// The pages of a stack; the page below is never mapped.
pub const STACK_PAGES: u64 = 16;
/// Where the stack begins, behind its guard.
pub const STACK: u64 = STACK_TOP.wrapping_sub(STACK_PAGES.wrapping_mul(4096));
/// RSP at the start: as behind a call, since 16-byte alignment is counted from there.
pub const FIRST_RSP: u64 = STACK_TOP.wrapping_sub(8);
/// The `StartPage`, read only; its address is also in RDI at the start.
pub const START_PAGE: u64 = 0x3000_0000;
/// The state page (`GuestState`) of a VMM's first vCPU, where [`crate::Call::VcpuCreate`] maps
/// it; the others' follow, [`VCPU_STRIDE`] apart.
pub const STATE_PAGE: u64 = 0x3010_0000;
/// Behind each state page: that vCPU's `ApicPage`.
pub const APIC_PAGE: u64 = STATE_PAGE.wrapping_add(0x1000);
/// The distance between two vCPUs' pages.
pub const VCPU_STRIDE: u64 = 0x2000;
/// Flag 0 of [`crate::Call::VcpuCreate`].
pub const VCPU_APIC: u64 = 1 << 0;
/// How many vCPUs a component runs at most.
pub const MOST_VCPUS: u64 = 16;
/// A VMM's `VmPage`, which `root` reads.
pub const VM_PAGE: u64 = 0x3020_0000;
/// A VMM's `ConsolePage`, which it shares with the console.
pub const CONSOLE_PAGE: u64 = 0x3030_0000;
/// `root`'s and the console's common `ControlPage`.
pub const CONTROL_PAGE: u64 = 0x3040_0000;
/// The console: the VMs' console pages, [`CONSOLE_STRIDE`] apart, in the manifest's order.
pub const CONSOLE_PAGES: u64 = 0x3100_0000;
/// The distance between two of them.
pub const CONSOLE_STRIDE: u64 = 0x2000;
/// `root`: a place to map what it fills for others.
pub const SCRATCH: u64 = 0x5000_0000;
/// Where files of the bundle are mapped: the whole bundle in `root`; a VMM's kernel, and behind
/// it its initial RAM disk and its modules.
pub const FILES: u64 = 0x1_0000_0000;
/// Guest-physical address 0 in a VMM. The pages appear on first use.
pub const GUEST_WINDOW: u64 = 0x4000_0000_0000;
/// Guest-physical addresses end here.
pub const GUEST_END: u64 = 0x1000_0000_0000;

/// The notification bit of who reads the log.
pub const LOG_BIT: u64 = 1 << 63;
/// The notification bit of `root` when one of its components has ended.
pub const ENDED_BIT: u64 = 1 << 62;

/// How many VMs a machine has at most.
pub const MOST_VMS: usize = 128;

/// The notification bits of the console.
pub mod console_bits {
    /// The UART's line has interrupted.
    pub const UART: u64 = 1 << 48;
    /// `root` has changed the control page.
    pub const CONTROL: u64 = 1 << 49;

    /// VM `index` has written output.
    #[must_use]
    pub const fn of_vm(index: u32) -> u64 {
        1 << (index % 48)
    }
}

/// The notification bits of `root`, besides [`ENDED_BIT`].
pub mod root_bits {
    /// The console has changed the control page.
    pub const CONTROL: u64 = 1 << 0;
}

/// The notification bits of a VMM.
pub mod vmm_bits {
    /// The console has typed bytes, or taken some from a full ring.
    pub const CONSOLE: u64 = 1 << 0;
}
