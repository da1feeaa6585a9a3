//! Ways to an end: each should be stopped, with its own reason in the VM's report.

use alloc::vec::Vec;
use core::hint::black_box;
use skerry_abi::layout::{
    GUEST_END, GUEST_WINDOW, HEAP, STACK, STACK_TOP, START_PAGE, STATE_PAGE, VCPU_STRIDE,
};
use skerry_component::{instruction, sabotage};

/// Calls itself without end.
#[inline(never)]
pub fn overflow_stack(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    match frame {
        [u64::MAX, ..] => depth,
        [first, .., last] => overflow_stack(first + 1) ^ last,
    }
}

/// Takes memory until there is none.
pub fn exhaust_heap() {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(alloc::vec![0xa5_u8; 4000]));
    }
}

/// Computes, and asks nobody for anything.
pub fn compute_without_end() {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// The same after an attempt to switch interrupts off, which POPF forgets outside of ring 0
/// `[SDM 2B, "POPF/POPFD/POPFQ—Pop Stack Into EFLAGS Register", ed. 085]`.
pub fn compute_without_interrupts() {
    instruction!("pushfq", "and qword ptr [rsp], -513", "popfq");
    compute_without_end();
}

/// Reads where it may not.
pub fn read(place: Option<&str>) {
    black_box(sabotage::read(address(place)));
}

/// Writes where it may not.
pub fn write(place: Option<&str>) {
    sabotage::write(address(place), 0x5a5a_5a5a_5a5a_5a5a);
}

/// Executes what is data. The data are RET instructions: whoever can go there comes back.
pub fn execute(place: Option<&str>) {
    let on_stack = black_box([0xc3_u8; 16]);
    let in_heap = black_box(alloc::vec![0xc3_u8; 16]);
    sabotage::enter(match place {
        Some("heap") => in_heap.as_ptr() as u64,
        Some("stack") => on_stack.as_ptr() as u64,
        other => address(other),
    });
}

/// Executes INT with a vector, which is not that of the calls.
pub fn interrupt(vector: Option<u64>) {
    sabotage::interrupt(vector.unwrap_or(0x20) as u8);
}

/// A place by its name, or by its number.
fn address(place: Option<&str>) -> u64 {
    match place.unwrap_or("null") {
        "null" => 8,
        "text" => sabotage::own_text(),
        "rodata" => sabotage::own_rodata(),
        "start-page" => START_PAGE,
        "behind-state" => STATE_PAGE + VCPU_STRIDE,
        "below-heap" => HEAP - 8,
        "above-stack" => STACK_TOP,
        "guard" => STACK - 8,
        "hole" => GUEST_WINDOW + 0xa_0000,
        "behind-window" => GUEST_WINDOW + GUEST_END,
        "noncanonical" => 1 << 63,
        "direct-map" => 0xffff_8000_0000_0000,
        "ring0" => 0xffff_ffff_8020_0000,
        "last" => u64::MAX - 7,
        number => parsed(number),
    }
}

fn parsed(number: &str) -> u64 {
    let digits = number.strip_prefix("0x").unwrap_or(number);
    u64::from_str_radix(digits, 16).unwrap_or(8)
}
