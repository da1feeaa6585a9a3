//! What no component does that means well: for the tests of what holds the others in.
//!
//! Behind the feature `sabotage`. Functions here are safe to call only in the sense that
//! matters to the rest of the machine; the component itself may well end at once, and is meant
//! to. Used by `saboteur` and `prober`.

use crate::calls::raw;
use crate::pages::StatePage;
use core::mem::MaybeUninit;
use skerry_abi::Refused;

/// Makes any call, by number, with any arguments, addresses of memory included. Gives RAX as a
/// result, and RDX.
pub fn call(number: u64, arguments: [u64; 6]) -> (Result<u64, Refused>, u64) {
    // SAFETY: none. A call that writes to this component's memory writes there.
    let (first, second) = unsafe { raw(number, arguments.map(MaybeUninit::new)) };
    (Refused::read(first), second)
}

/// Makes any call as [`call`] does, with more bits set in RFLAGS.
pub fn call_with_flags(number: u64, arguments: [u64; 6], flags: u64) -> Result<u64, Refused> {
    #[cfg(target_os = "none")]
    {
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let rax;
        // SAFETY: none, as in `call`; the flags are as they were afterwards.
        unsafe {
            core::arch::asm!(
                "pushfq", "pushfq", "or [rsp], r11", "popfq", "int 0x80", "popfq",
                inlateout("rax") number => rax,
                in("rdi") rdi,
                in("rsi") rsi,
                inlateout("rdx") rdx => _,
                in("r10") r10,
                in("r8") r8,
                in("r9") r9,
                in("r11") flags,
            );
        }
        Refused::read(rax)
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (number, arguments, flags);
        Err(Refused::NoSuchCall)
    }
}

/// Reads eight bytes anywhere.
pub fn read(address: u64) -> u64 {
    // SAFETY: none; a load changes nothing, but it may end the component.
    unsafe { (address as *const u64).read_volatile() }
}

/// Writes eight bytes anywhere.
pub fn write(address: u64, value: u64) {
    // SAFETY: none.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// Goes to an address as to a function, and comes back if there is one.
pub fn enter(address: u64) {
    // SAFETY: none.
    unsafe { core::mem::transmute::<*const (), extern "C" fn()>(address as *const ())() }
}

/// Where an instruction is that a component may read and not write.
pub fn own_text() -> u64 {
    own_text as fn() -> u64 as usize as u64
}

/// Where data is that a component may read and neither write nor execute.
pub fn own_rodata() -> u64 {
    static CONSTANT: [u64; 2] = [0xc3c3_c3c3_c3c3_c3c3; 2];
    (&raw const CONSTANT) as u64
}

/// Fills the state page with the words that `word` gives, by their place from 0 to 511.
pub fn fill_state(state: &mut StatePage, word: impl Fn(u64) -> u64) {
    for place in 0..512 {
        set_state_word(state, place, word(place));
    }
}

/// Sets one word of the state page, by its place modulo 512.
pub fn set_state_word(state: &mut StatePage, place: u64, value: u64) {
    write(state.address().wrapping_add((place & 511) << 3), value);
}

/// Executes `int` with this vector.
#[cfg(target_os = "none")]
pub fn interrupt(vector: u8) {
    // Each entry of the table has four bytes.
    let table = &raw const sabotage_interrupts as u64;
    enter(table.wrapping_add(u64::from(vector) << 2));
}

#[cfg(target_os = "none")]
unsafe extern "C" {
    static sabotage_interrupts: u8;
}

#[cfg(target_os = "none")]
core::arch::global_asm!(
    ".pushsection .text.sabotage_interrupts, \"ax\", @progbits",
    "sabotage_interrupts:",
    ".set sabotage_vector, 0",
    ".rept 256",
    ".byte 0xcd, sabotage_vector",
    "ret",
    "nop",
    ".set sabotage_vector, sabotage_vector + 1",
    ".endr",
    ".popsection",
);

/// On the host nothing is executed.
#[cfg(not(target_os = "none"))]
pub fn interrupt(_vector: u8) {}

/// Executes an instruction, given as to `asm!`; on the host nothing.
#[macro_export]
macro_rules! instruction {
    ($($operand:tt)*) => {{
        // SAFETY: none: that it ends this component is what it is for.
        #[cfg(target_os = "none")]
        unsafe { core::arch::asm!($($operand)*) };
    }};
}
