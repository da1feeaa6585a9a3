//! Nonsense in the extended state of its vCPU: what no CPU loads is refused, what CPUs do load
//! runs, and comes back.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use skerry_abi::{Refused, own};
use skerry_component::calls;
use skerry_component::pages::StatePage;
use skerry_words::ExtendedState;

use crate::random::Random;
use crate::voice::Voice;

/// How many states of nonsense are tried.
const ROUNDS: u64 = 50;
const MXCSR: usize = 24;
const HEADER: core::ops::Range<usize> = 512..576;
/// The XMM registers.
const XMM: usize = 160;
const SSE: u64 = 1 << 1;

/// Tries it all, on a vCPU that `run` gives a harmless state and has run.
pub fn try_all(voice: &mut Voice, state: &mut StatePage, run: impl Fn(&mut StatePage)) {
    run(state);
    let mut given = Box::<ExtendedState>::default();
    let xcr0 = calls::vcpu_save(own::VCPU, &mut given);
    let again = calls::vcpu_restore(own::VCPU, &given);
    let case = (xcr0.is_err() || again.is_err()).then(|| format!("{xcr0:?}, {again:?}"));
    voice.check("an extended state is put back as it came", case.as_deref());
    let wrong = not_loadable(&given, xcr0.unwrap_or(0));
    voice.check("one that no CPU loads is refused", wrong.as_deref());
    let mut random = Random::new(3);
    let wrong = (0..ROUNDS).find_map(|_| {
        let area = nonsense(&given, &mut random);
        run_with(&area, state, &run)
    });
    voice.check("nonsense in its registers does no harm", wrong.as_deref());
}

/// The first wrong bit that is not refused. Without XCR0 there is no header.
fn not_loadable(given: &ExtendedState, xcr0: u64) -> Option<String> {
    // Of the components, 8 is the supervisor's, 19 and 63 no CPU has.
    let components = [8, 19, 63].map(|bit| HEADER.start * 8 + bit);
    let header = (HEADER.start + 8) * 8..HEADER.end * 8;
    let header = (components.into_iter().chain(header)).filter(|_| xcr0 != 0);
    let mxcsr = (MXCSR + 2) * 8..(MXCSR + 4) * 8;
    header.chain(mxcsr).find_map(|bit| {
        let mut area = given.clone();
        area.0[bit / 8] ^= 1 << (bit % 8);
        let result = calls::vcpu_restore(own::VCPU, &area);
        (result != Err(Refused::BadArgument)).then(|| format!("bit {bit} gave {result:?}"))
    })
}

/// Random bytes in all registers and none where they are refused.
fn nonsense(given: &ExtendedState, random: &mut Random) -> Box<ExtendedState> {
    let mut area = Box::new(given.clone());
    for byte in &mut area.0 {
        *byte = random.next() as u8;
    }
    area.set_bytes(MXCSR, &given.bytes::<8>(MXCSR));
    area.set_bytes(HEADER.start, &[0; 64]);
    area.set_in_use(given.in_use() | SSE);
    area
}

fn run_with(
    area: &ExtendedState,
    state: &mut StatePage,
    run: impl Fn(&mut StatePage),
) -> Option<String> {
    run(state);
    let restored = calls::vcpu_restore(own::VCPU, area);
    let ran = calls::vcpu_run(own::VCPU, state);
    let mut after = Box::<ExtendedState>::default();
    let saved = calls::vcpu_save(own::VCPU, &mut after);
    let same = after.bytes::<256>(XMM) == area.bytes::<256>(XMM);
    let fine = restored.is_ok() && ran.is_ok() && saved.is_ok() && same;
    (!fine).then(|| format!("{restored:?}, {ran:?}, {saved:?}, the same: {same}"))
}
