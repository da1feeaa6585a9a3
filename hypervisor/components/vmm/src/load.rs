//! A plan's pieces into guest memory.
//!
//! Fresh guest memory is zero, so a piece's trailing zeros cost nothing. A big image takes
//! longer than ring 0 lets a component be silent, so who copies says now and then that it is
//! alive.

use skerry_load::LoadPlan;
use skerry_verdict::{GuestMemory, Unbacked};
use skerry_words::Gpa;

/// What is copied between two signs of life.
const STEP_BYTES: usize = 1 << 20;

/// Copies the pieces of `plan` to their places, and calls `alive` every MiB.
///
/// # Errors
/// The first address that is no memory of the guest's.
pub fn apply(
    plan: &LoadPlan<'_>,
    memory: &mut impl GuestMemory,
    mut alive: impl FnMut(),
) -> Result<(), Unbacked> {
    for piece in &plan.pieces {
        let mut at = piece.at;
        for step in piece.bytes.chunks(STEP_BYTES) {
            memory.write(at, step)?;
            alive();
            at = next(at, step)?;
        }
    }
    Ok(())
}

fn next(at: Gpa, step: &[u8]) -> Result<Gpa, Unbacked> {
    at.checked_add(step.len() as u64).ok_or(Unbacked(at))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec, vec::Vec};
    use skerry_load::Piece;
    use skerry_words::GuestState;

    struct Bytes(Vec<u8>);

    impl GuestMemory for Bytes {
        fn read(&mut self, at: Gpa, _: &mut [u8]) -> Result<(), Unbacked> {
            Err(Unbacked(at))
        }
        fn write(&mut self, at: Gpa, from: &[u8]) -> Result<(), Unbacked> {
            let start = at.0 as usize;
            let room = self.0.get_mut(start..start + from.len());
            room.ok_or(Unbacked(at))?.copy_from_slice(from);
            Ok(())
        }
    }

    fn plan(at: u64, bytes: Vec<u8>) -> LoadPlan<'static> {
        LoadPlan {
            pieces: vec![Piece {
                at: Gpa(at),
                bytes: bytes.into(),
                zero_bytes: 99,
            }],
            entry: Box::new(GuestState::at_reset()),
            firmware: skerry_load::Firmware::None,
        }
    }

    #[test]
    fn a_piece_of_many_steps_arrives_whole_with_a_sign_of_life_for_each() {
        let bytes: Vec<u8> = (0..STEP_BYTES * 2 + 5).map(|n| (n % 251) as u8).collect();
        let mut memory = Bytes(vec![0; bytes.len() + 7]);
        let mut signs = 0;
        let applied = apply(&plan(7, bytes.clone()), &mut memory, || signs += 1);
        assert_eq!(applied, Ok(()));
        assert_eq!(memory.0[7..], bytes);
        assert_eq!(signs, 3);
    }

    #[test]
    fn a_piece_outside_of_memory_is_refused() {
        let mut memory = Bytes(vec![0; 10]);
        let refused = apply(&plan(8, vec![1; 3]), &mut memory, || ());
        assert_eq!(refused, Err(Unbacked(Gpa(8))));
    }
}
