//! Every call with everything that a VMM has no right to; each has to be refused, and for the
//! right reason.
//!
//! A VMM has two handles: 0, its vCPU, to run and read; 1, the notification that tells the
//! console. `prober` does the same from `root`'s place, with handles of every kind.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_abi::layout::{
    FILES, GUEST_WINDOW, HEAP, IMAGE, MYSELF, STACK, STACK_TOP, START_PAGE, STATE_PAGE, USER_END,
    VCPU_STRIDE, VM_PAGE, VMM_HEAP_PAGES,
};
use skerry_abi::{Call, Handle, ObjectKind, Refused, own};
use skerry_component::{calls, clock, sabotage};
use skerry_words::{EXIT_KINDS, ExtendedState, PAGE_BYTES};

use crate::voice::Voice;

/// Numbers of no call, but near one, or like one in the lower half.
const NO_CALLS: [u64; 6] = [64, 128, 1 << 32, (1 << 32) | 1, 1 << 63, u64::MAX];
/// Handles that name nothing of a VMM's.
const NO_HANDLES: [u64; 7] = [
    Handle::MOST as u64 - 1,
    Handle::MOST as u64,
    u32::MAX as u64,
    1 << 32,
    (1 << 32) | 1,
    1 << 63,
    u64::MAX,
];

/// Tries everything and says what came of it.
pub fn try_all(voice: &mut Voice) {
    unknown_numbers(voice);
    for number in 0..64 {
        if let Some(call) = Call::from_word(number)
            && let Some(wanted) = first_handle(call)
        {
            wrong_handles(voice, call, wanted);
        }
    }
    rights_it_lacks(voice);
    the_caller_itself(voice);
    pointers(voice);
    order_of_calls(voice);
    notifications(voice);
    flags(voice);
}

fn call(number: Call, arguments: [u64; 6]) -> Result<u64, Refused> {
    sabotage::call(number as u64, arguments).0
}

/// The first case whose result is not the wanted refusal, in words.
fn first_wrong(
    cases: impl IntoIterator<Item = u64>,
    wanted: Refused,
    attempt: impl Fn(u64) -> Result<u64, Refused>,
) -> Option<String> {
    cases.into_iter().find_map(|case| {
        let result = attempt(case);
        (result != Err(wanted)).then(|| format!("{case:#x} gave {result:x?}"))
    })
}

fn unknown_numbers(voice: &mut Voice) {
    let unknown = (0..64).filter(|number| Call::from_word(*number).is_none());
    let wrong = first_wrong(unknown.chain(NO_CALLS), Refused::NoSuchCall, |number| {
        sabotage::call(number, [0; 6]).0
    });
    voice.check("numbers of no call are refused", wrong.as_deref());
}

/// What the first argument has to be a handle to; `None` where there is none, or where any
/// kind will do.
fn first_handle(call: Call) -> Option<ObjectKind> {
    Some(match call {
        Call::Version | Call::Wait | Call::Yield | Call::End => return None,
        Call::HandleClose | Call::ObjectEnd => return None,
        Call::VcpuRun
        | Call::VcpuReset
        | Call::VcpuPermit
        | Call::VcpuSave
        | Call::VcpuRestore
        | Call::VcpuRead
        | Call::VcpuFields => ObjectKind::Vcpu,
        Call::Notify => ObjectKind::Notification,
        Call::LogWrite | Call::LogRead => ObjectKind::Log,
        Call::PortRead | Call::PortWrite | Call::PortWriteBytes => ObjectKind::Ports,
        Call::LineWait => ObjectKind::Line,
        Call::MemoryCreate
        | Call::MemoryOfBundle
        | Call::ComponentCreate
        | Call::GuestCreate
        | Call::VcpuCreate
        | Call::PortsCreate
        | Call::LineCreate
        | Call::MachineRead
        | Call::MachineOffBy
        | Call::MachineOff => ObjectKind::Machine,
        Call::ComponentMap
        | Call::ComponentGrant
        | Call::ComponentStart
        | Call::ComponentEnd
        | Call::ComponentRead
        | Call::NotificationCreate => ObjectKind::Component,
    })
}

fn wrong_handles(voice: &mut Voice, number: Call, wanted: ObjectKind) {
    let attempt = |handle| call(number, [handle, 1, 1, 1, 1, 1]);
    let absent = (2..16).chain(NO_HANDLES);
    let bad = first_wrong(absent, Refused::BadHandle, attempt);
    let own = [
        (own::VCPU, ObjectKind::Vcpu),
        (own::CONSOLE, ObjectKind::Notification),
    ];
    let others = own.iter().filter(|(_, kind)| *kind != wanted);
    let kinds = first_wrong(
        others.map(|(handle, _)| handle.word()),
        Refused::WrongKind,
        attempt,
    );
    let claim = format!("{number:?} is refused with a handle to nothing, or to no {wanted:?}");
    voice.check(&claim, bad.or(kinds).as_deref());
}

/// What it may not do with its own two handles.
fn rights_it_lacks(voice: &mut Voice) {
    let both = [own::VCPU.word(), own::CONSOLE.word()];
    let wrong = first_wrong(both, Refused::NotPermitted, |handle| {
        call(Call::ObjectEnd, [handle, 0, 0, 0, 0, 0])
    });
    voice.check("it cannot end what it was lent", wrong.as_deref());
    let wrong = first_wrong((2..16).chain(NO_HANDLES), Refused::BadHandle, |handle| {
        call(Call::ObjectEnd, [handle, 0, 0, 0, 0, 0])
            .and_then(|_| call(Call::HandleClose, [handle, 0, 0, 0, 0, 0]))
    });
    voice.check(
        "it cannot end or close what it has no handle to",
        wrong.as_deref(),
    );
    let wrong = first_wrong(both, Refused::NotPermitted, |handle| {
        call(Call::ComponentGrant, [MYSELF.word(), handle, 0x1f, 0, 0, 0])
    });
    voice.check("it cannot grant itself more rights", wrong.as_deref());
}

/// MYSELF stands for a component, and only where that makes sense.
fn the_caller_itself(voice: &mut Voice) {
    let me = MYSELF.word();
    let memory = (0..16).chain(NO_HANDLES).chain([me]);
    let mapped = memory.clone().find_map(|handle| {
        let result = call(Call::ComponentMap, [me, handle, HEAP, 0, 0, 0]);
        let wanted = if handle < 2 {
            Refused::WrongKind
        } else {
            Refused::BadHandle
        };
        (result != Err(wanted)).then(|| format!("{handle:#x} gave {result:x?}"))
    });
    voice.check(
        "it can map nothing that is no memory of its own",
        mapped.as_deref(),
    );
    let calls = [
        (Call::ComponentStart, [me, IMAGE, STACK_TOP, 0, 0, 0]),
        (Call::ComponentEnd, [me, 0, 0, 0, 0, 0]),
    ];
    for (number, arguments) in calls {
        let result = call(number, arguments);
        let wrong = result.is_ok().then(|| format!("{result:x?}"));
        voice.check(
            &format!("{number:?} of itself is refused"),
            wrong.as_deref(),
        );
    }
    let others = (0..64)
        .filter_map(Call::from_word)
        .filter(|number| first_handle(*number).is_some_and(|kind| kind != ObjectKind::Component));
    let wrong = first_wrong(
        others.map(|number| number as u64),
        Refused::BadHandle,
        |number| sabotage::call(number, [me, 1, 1, 1, 1, 1]).0,
    );
    voice.check("it is itself no handle to anything else", wrong.as_deref());
}

/// Addresses where ring 0 may write nothing on this component's behalf.
fn hostile_pointers() -> Vec<u64> {
    let heap_end = HEAP + VMM_HEAP_PAGES * PAGE_BYTES;
    Vec::from([
        0,
        8,
        PAGE_BYTES - 1,
        sabotage::own_text(),
        sabotage::own_rodata(),
        IMAGE - 8,
        START_PAGE,
        START_PAGE - 8,
        STATE_PAGE + VCPU_STRIDE,
        VM_PAGE + PAGE_BYTES - 8,
        HEAP - 8,
        heap_end - 8,
        heap_end,
        STACK - PAGE_BYTES,
        STACK - 8,
        STACK_TOP - 8,
        STACK_TOP,
        FILES,
        GUEST_WINDOW + 0xa_0000,
        USER_END - PAGE_BYTES,
        USER_END - 8,
        USER_END,
        1 << 63,
        0xffff_7fff_ffff_fff8,
        0xffff_8000_0000_0000,
        0xffff_ffff_8020_0000,
        u64::MAX - 7,
        u64::MAX,
    ])
}

fn pointers(voice: &mut Voice) {
    let wrong = first_wrong(hostile_pointers(), Refused::BadAddress, |pointer| {
        call(Call::VcpuRead, [own::VCPU.word(), pointer, 0, 0, 0, 0])
    });
    voice.check("VcpuRead fills no memory but its own", wrong.as_deref());
    let wrong = first_wrong(hostile_pointers(), Refused::BadAddress, |pointer| {
        call(Call::VcpuSave, [own::VCPU.word(), pointer, 0, 0, 0, 0])
    });
    voice.check("VcpuSave fills no memory but its own", wrong.as_deref());
    let wrong = first_wrong(hostile_pointers(), Refused::NotPermitted, |pointer| {
        call(Call::VcpuFields, [own::VCPU.word(), pointer, 1, 0, 0, 0])
    });
    voice.check(
        "VcpuFields, which shows ring 0's fields, is not for a VMM",
        wrong.as_deref(),
    );
    let wrong = first_wrong(hostile_pointers(), Refused::BadAddress, |pointer| {
        call(Call::ComponentRead, [MYSELF.word(), pointer, 0, 0, 0, 0])
    });
    voice.check(
        "ComponentRead fills no memory but its own",
        wrong.as_deref(),
    );
}

/// What can be done only before, or only after, something else.
fn order_of_calls(voice: &mut Voice) {
    let vcpu = own::VCPU.word();
    let run = call(Call::VcpuRun, [vcpu, 0, 0, 0, 0, 0]);
    let early = (run != Err(Refused::WrongState)).then(|| format!("{run:x?}"));
    voice.check("a vCPU without a state does not run", early.as_deref());
    let mut area = Box::<ExtendedState>::default();
    let saved = calls::vcpu_save(own::VCPU, &mut area);
    let restored = calls::vcpu_restore(own::VCPU, &area);
    let both = [saved.map(|_| ()), restored];
    let early = (both != [Err(Refused::WrongState); 2]).then(|| format!("{both:?}"));
    voice.check("nor has it registers to save", early.as_deref());
    let reset = call(Call::VcpuReset, [vcpu, 0, 0, 0, 0, 0]);
    let permit = call(Call::VcpuPermit, [vcpu, u64::MAX, u64::MAX, 0, 0, 0]);
    let late = (permit != Err(Refused::WrongState)).then(|| format!("{reset:x?}, {permit:x?}"));
    voice.check(
        "a vCPU with a state gets no more permissions",
        late.as_deref(),
    );
}

/// Notifications of its own: the one thing a VMM can make. They fill its own table, no more.
fn notifications(voice: &mut Voice) {
    let mut made = Vec::new();
    let refused = loop {
        match calls::notification_create(MYSELF, 1 << 5) {
            Ok(handle) => made.push(handle),
            Err(refused) => break refused,
        }
        if made.len() > Handle::MOST as usize {
            break Refused::WrongState;
        }
    };
    let filled = refused == Refused::Exhausted && made.len() < Handle::MOST as usize;
    let case = (!filled).then(|| format!("{} made, then {refused}", made.len()));
    voice.check("its table of handles has an end", case.as_deref());
    let Some(last) = made.pop() else { return };
    let told = calls::notify(last).and_then(|()| calls::wait(clock::now()));
    // The console may have told something as well.
    let told = told.map(|bits| bits & (1 << 5));
    let case = (told != Ok(1 << 5)).then(|| format!("{told:x?}"));
    voice.check("a notification of its own reaches it", case.as_deref());
    let closed = calls::handle_close(last).and_then(|()| calls::notify(last));
    let case = (closed != Err(Refused::BadHandle)).then(|| format!("{closed:?}"));
    voice.check("a closed handle names nothing", case.as_deref());
    let left = made
        .iter()
        .find_map(|handle| calls::handle_close(*handle).err());
    let case = left.map(|refused| format!("{refused}"));
    voice.check("all of them can be closed again", case.as_deref());
}

/// Flags of ring 3 that must mean nothing to ring 0: direction, alignment check, nested task.
fn flags(voice: &mut Voice) {
    const FLAGS: u64 = (1 << 10) | (1 << 14) | (1 << 18);
    const SURROUNDINGS: u64 = 0x1122_3344_5566_7788;
    /// The words of a `VcpuRecord`, and of what is in front of it.
    const WORDS: usize = EXIT_KINDS + 5;
    let mut around = [SURROUNDINGS; 2 * WORDS];
    let record = around.as_mut_ptr() as u64 + WORDS as u64 * 8;
    let arguments = [own::VCPU.word(), record, 0, 0, 0, 0];
    let result = sabotage::call_with_flags(Call::VcpuRead as u64, arguments, FLAGS);
    let (before, filled) = around.split_at(WORDS);
    let untouched = before.iter().all(|word| *word == SURROUNDINGS);
    let filled = filled.iter().all(|word| *word != SURROUNDINGS);
    let case = (result != Ok(0) || !untouched || !filled)
        .then(|| format!("{result:x?}, in front untouched: {untouched}, filled: {filled}"));
    voice.check(
        "the caller's flags change nothing in ring 0",
        case.as_deref(),
    );
}
