//! Nonsense in the pages that it shares with others: they may get garbage, and nothing worse.

use alloc::format;
use core::sync::atomic::Ordering;
use skerry_abi::own;
use skerry_component::calls;
use skerry_component::pages::{self, StatePage};
use skerry_component::{GuestWindow, clock, sabotage};
use skerry_pages::ConsolePage;
use skerry_verdict::{GuestMemory, ReadExit};
use skerry_words::{AccessRights, Gpa, GuestState, Segment, SegmentRegister, StateGroups};

use crate::extended;
use crate::random::Random;
use crate::voice::Voice;

/// How often the positions of the rings are filled with nonsense.
const RING_ROUNDS: u64 = 300;
/// How many states of nothing but nonsense the guest is given.
const WHOLE_STATES: u64 = 200;
/// The ticks a state of nonsense may run.
const RUN_TSC: u64 = 20_000;
/// What a host's line looks like that a guest must not be able to say.
const FORGED: &[u8] = b"\r\n@skerry end {\"status\":0}\r\n\x1b[2J\x1b]0;forged\x07";

/// Nonsense in the positions of both rings, nonsense and forged lines in the output, and the
/// console told of it all the time.
pub fn ring(voice: &mut Voice) {
    let page = pages::console_page();
    let mut random = Random::new(1);
    for _ in 0..RING_ROUNDS {
        let positions = [
            &page.output_written,
            &page.output_read,
            &page.input_written,
            &page.input_read,
        ];
        for position in positions {
            position.store(random.next() as u32, Ordering::Relaxed);
        }
        let _ = calls::notify(own::CONSOLE);
        let mut ring = page.output_writer();
        for byte in FORGED {
            ring.put(*byte);
        }
        while ring.put(random.next() as u8) {}
        let _ = calls::notify(own::CONSOLE);
    }
    tell_the_truth(page);
    *voice = Voice::new(pages::start_page().tsc_hz);
    voice.line("");
    voice.pass("the console has been told nonsense, and this line comes after it");
}

/// Takes up where the console is, which it tells whenever it looks: only what is written from
/// there on will be heard.
fn tell_the_truth(page: &ConsolePage) {
    loop {
        let lie = page.output_read.load(Ordering::Relaxed) ^ 1 << 31;
        page.output_read.store(lie, Ordering::Relaxed);
        while page.output_read.load(Ordering::Relaxed) == lie {
            let _ = calls::notify(own::CONSOLE);
            let _ = calls::wait(clock::now().after(RUN_TSC));
        }
        let read = page.output_read.load(Ordering::Relaxed);
        if page.output_written.swap(read, Ordering::Relaxed) == read {
            return;
        }
    }
}

/// Nonsense for a vCPU: whole pages of it, and single words in a state that would run.
pub fn state(voice: &mut Voice) {
    let Some(mut state) = StatePage::take(0) else {
        return voice.fail("the state page is taken");
    };
    let mut random = Random::new(2);
    for round in 0..WHOLE_STATES {
        let seed = random.next();
        sabotage::fill_state(&mut state, |place| Random::new(seed ^ place << 32).next());
        if round & 1 == 0 {
            let _ = calls::vcpu_reset(own::VCPU, &mut state);
        }
        run_briefly(&mut state);
    }
    voice.pass(&format!(
        "{WHOLE_STATES} states of nonsense have been run or refused"
    ));
    let words = single_words(&mut state, &mut random);
    voice.pass(&format!(
        "{words} states with one word of nonsense have been run or refused"
    ));
    extended::try_all(voice, &mut state, |state| {
        harmless(state);
        let _ = calls::vcpu_reset(own::VCPU, state);
        run_briefly(state);
    });
    run_to_halt(voice, &mut state);
}

/// Runs whatever the page says, for a short time. What comes of it is the guest's affair.
fn run_briefly(state: &mut StatePage) {
    state.deadline = clock::now().after(RUN_TSC);
    let _ = calls::vcpu_run(own::VCPU, state);
}

/// A real-mode guest at 0x1000 that halts, over and over.
fn harmless(state: &mut StatePage) {
    let mut window = GuestWindow::new([Gpa(0)..Gpa(0xa_0000)].into_iter());
    // HLT, and back to it.
    let _ = window.write(Gpa(0x1000), &[0xf4, 0xeb, 0xfd]);
    **state = GuestState::at_reset();
    state.segments[Segment::Cs as usize] = SegmentRegister::new(0, 0, 0xffff, AccessRights::CODE16);
    state.rip = 0x1000;
}

/// Every word of the state in turn is several kinds of nonsense.
fn single_words(state: &mut StatePage, random: &mut Random) -> u64 {
    const WORDS: u64 = 600 / 8;
    let mut tried = 0;
    for place in 0..WORDS {
        for value in [
            0,
            u64::MAX,
            1 << 63,
            0x8000_0000_0000,
            0x8000_0b0e,
            random.next(),
        ] {
            harmless(state);
            let _ = calls::vcpu_reset(own::VCPU, state);
            sabotage::set_state_word(state, place, value);
            state.dirty = StateGroups::all();
            run_briefly(state);
            tried += 1;
        }
    }
    tried
}

/// After all that, a state without nonsense still runs to its HLT.
fn run_to_halt(voice: &mut Voice, state: &mut StatePage) {
    harmless(state);
    let reset = calls::vcpu_reset(own::VCPU, state);
    state.deadline = clock::now().after(RUN_TSC * 1000);
    let run = calls::vcpu_run(own::VCPU, state);
    let halted = state.exit.is(skerry_words::ExitKind::Hlt) && state.rip == 0x1000;
    let case = (!halted).then(|| format!("{reset:?}, {run:?}, {:?}, {:#x}", state.exit, state.rip));
    voice.check("a state without nonsense still runs", case.as_deref());
}
