//! Numbers out of range, in registers.

use alloc::format;
use skerry_abi::{Call, Refused, layout};
use skerry_component::sabotage;

use crate::objects::Objects;
use crate::specs::Spec;
use crate::tally::Tally;

const HUGE: u64 = u64::MAX;
/// The right number, with a bit that no 32-bit register has.
const WIDE: u64 = 1 << 32;

/// The argument of a call, and what it must not be.
const BAD: [(Call, usize, &[u64]); 21] = [
    (Call::LogWrite, 2, &[2049, WIDE | 8, HUGE]),
    (
        Call::PortRead,
        1,
        &[0x7f, 0x84, 0x1_0080, WIDE | 0x80, HUGE],
    ),
    (Call::PortRead, 2, &[0, 3, 5, 8, WIDE | 1, HUGE]),
    (
        Call::PortWrite,
        1,
        &[0x7f, 0x84, 0x1_0080, WIDE | 0x80, HUGE],
    ),
    (Call::PortWrite, 2, &[0, 3, 5, 8, WIDE | 1, HUGE]),
    (Call::PortWriteBytes, 1, &[0x7f, 0x84, 0x1_0080, HUGE]),
    (Call::PortWriteBytes, 3, &[65, WIDE | 8, HUGE]),
    (Call::MemoryCreate, 1, &[0, (1 << 18) + 1, WIDE | 1, HUGE]),
    (Call::MemoryOfBundle, 1, &[1, 0x800, 1 << 40, !0xfff, HUGE]),
    (Call::MemoryOfBundle, 2, &[0, 1 << 40, HUGE]),
    (Call::ComponentCreate, 1, &[0, 1001, WIDE | 100, HUGE]),
    (Call::ComponentGrant, 2, &[1 << 5, 1 << 31, WIDE, HUGE]),
    (
        Call::ComponentStart,
        1,
        &[layout::USER_END, 1 << 63, 0xffff_8000_0000_0000, HUGE],
    ),
    (Call::GuestCreate, 2, &[0, 9, WIDE | 1, HUGE]),
    (
        Call::GuestCreate,
        3,
        &[0, 1, 4095, 8192, 1 << 39, WIDE, HUGE],
    ),
    (Call::PortsCreate, 1, &[0xfffe, 0x1_0000, WIDE | 0x80, HUGE]),
    (Call::PortsCreate, 2, &[0, 0x1_0000, WIDE | 4, HUGE]),
    (Call::LineCreate, 1, &[16, 255, WIDE | 5, HUGE]),
    (Call::MachineOffBy, 2, &[33, WIDE | 1, HUGE]),
    (Call::VcpuFields, 2, &[257, WIDE | 1, HUGE]),
    (
        Call::ComponentStart,
        2,
        &[HUGE, 1 << 63, layout::USER_END + 8],
    ),
];

/// Ports and widths that are in range alone, but reach past the range's end together.
const ACROSS: [(u64, u64); 3] = [(0x81, 4), (0x83, 2), (0x83, 4)];

/// Tries each of them.
pub fn probe(spec: &Spec, objects: &Objects, tally: &mut Tally) {
    let here = BAD.iter().filter(|(call, ..)| *call == spec.call);
    for (_, place, values) in here {
        for value in *values {
            let registers = spec.registers_with(objects, *place, *value);
            let how = format!("argument {place}: {value:#x}");
            try_with(spec, registers, &how, tally);
        }
    }
    if matches!(spec.call, Call::PortRead | Call::PortWrite) {
        for (port, width) in ACROSS {
            let [handle, _, _, rest @ ..] = spec.registers(objects);
            let [value, ..] = rest;
            let how = format!("{width} bytes at port {port:#x}");
            try_with(spec, [handle, port, width, value, 0, 0], &how, tally);
        }
    }
}

fn try_with(spec: &Spec, registers: [u64; 6], how: &str, tally: &mut Tally) {
    let (result, _) = sabotage::call(spec.call as u64, registers);
    tally.expect(
        &format!("{:?}", spec.call),
        how,
        result,
        &[Refused::BadArgument],
    );
}
