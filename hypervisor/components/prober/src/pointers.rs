//! Wrong addresses: not mapped, ring 0's, read only where the call writes, with an end outside.

use alloc::format;
use alloc::vec::Vec;
use skerry_abi::{Refused, layout};
use skerry_component::sabotage;

use crate::desk;
use crate::objects::Objects;
use crate::specs::{Argument, Spec};
use crate::tally::Tally;

/// Ring 0's: the start of the upper half, its image, and the last page.
const RING_0: [u64; 3] = [0xffff_8000_0000_0000, 0xffff_ffff_8020_0000, !0xfff];
/// In neither half.
const NOT_CANONICAL: [u64; 2] = [layout::USER_END, 0x8000_0000_0000_0000];

/// Tries every wrong address in every place for one.
pub fn probe(spec: &Spec, objects: &Objects, tally: &mut Tally) {
    for (place, argument) in spec.arguments.iter().enumerate() {
        let bad = match *argument {
            Argument::Input(_, bytes) => nobodys(bytes),
            Argument::Output(bytes) => nobodys(bytes).into_iter().chain(read_only()).collect(),
            Argument::Value(_) | Argument::Object(..) => continue,
        };
        for address in bad {
            let registers = spec.registers_with(objects, place, address);
            let (result, _) = sabotage::call(spec.call as u64, registers);
            let how = format!("argument {place}: address {address:#x}");
            tally.expect(
                &format!("{:?}", spec.call),
                &how,
                result,
                &[Refused::BadAddress],
            );
        }
    }
}

/// Addresses where not all of so many bytes are the prober's.
fn nobodys(bytes: u64) -> Vec<u64> {
    let half = bytes >> 1;
    let guard = layout::STACK_TOP.saturating_sub((layout::STACK_PAGES.saturating_add(1)) << 12);
    let ends_outside = [desk::END, layout::USER_END, 0].map(|end| end.wrapping_sub(half));
    let unmapped = [
        0,
        8,
        desk::END,
        desk::FREE,
        guard,
        layout::GUEST_WINDOW,
        layout::STATE_PAGE,
    ];
    let starts = unmapped.into_iter().chain(RING_0).chain(NOT_CANONICAL);
    starts.chain(ends_outside).collect()
}

/// Addresses of the prober's that it may only read.
fn read_only() -> [u64; 4] {
    [
        desk::READ_ONLY,
        layout::FILES,
        sabotage::own_text(),
        sabotage::own_rodata(),
    ]
}
