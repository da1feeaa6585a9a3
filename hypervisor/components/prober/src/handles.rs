//! Wrong handles: nobody's, another component's, of another kind, too weak, of what has ended.

use alloc::format;
use skerry_abi::{Call, GuestRange, Handle, ObjectKind, Refused, Rights, layout, own};
use skerry_component::{calls, sabotage};

use crate::desk;
use crate::objects::{KINDS, Objects};
use crate::specs::{self, Argument, Spec};
use crate::tally::Tally;

/// Tries every wrong handle in every place for one.
pub fn probe(spec: &Spec, objects: &Objects, tally: &mut Tally) {
    for (place, argument) in spec.arguments.iter().enumerate() {
        if let Argument::Object(kind, rights) = *argument {
            let place = Place {
                spec,
                objects,
                place,
            };
            place.nobodys(tally);
            place.myself(kind, tally);
            place.other_kinds(kind, tally);
            place.too_weak(kind, rights, tally);
            place.ended(kind, tally);
        }
    }
}

/// One argument of one call.
struct Place<'a> {
    spec: &'a Spec,
    objects: &'a Objects,
    place: usize,
}

impl Place<'_> {
    fn try_with(&self, word: u64, how: &str, wanted: Refused, tally: &mut Tally) {
        self.try_with_any(word, how, &[wanted], tally);
    }

    fn try_with_any(&self, word: u64, how: &str, wanted: &[Refused], tally: &mut Tally) {
        let registers = self.spec.registers_with(self.objects, self.place, word);
        let (result, _) = sabotage::call(self.spec.call as u64, registers);
        let how = format!("argument {}: {how}", self.place);
        tally.expect(&format!("{:?}", self.spec.call), &how, result, wanted);
    }

    fn nobodys(&self, tally: &mut Tally) {
        const MOST: u64 = Handle::MOST as u64;
        let foreign = self.objects.foreign.word();
        // The machine's handle is 0: these have it in their lower half.
        let aliases = [1 << 32, 1 << 63, MOST << 1];
        for word in [foreign, MOST - 1, MOST, u64::MAX, u64::from(u32::MAX)] {
            self.try_with(word, "nobody's handle", Refused::BadHandle, tally);
        }
        for word in aliases {
            self.try_with(word, "a handle with more bits", Refused::BadHandle, tally);
        }
    }

    /// The caller is a component that has been started, and nothing else.
    fn myself(&self, kind: Option<ObjectKind>, tally: &mut Tally) {
        let wanted = match kind {
            _ if self.may_be_myself() => return,
            Some(ObjectKind::Component) => &[
                Refused::BadHandle,
                Refused::BadArgument,
                Refused::WrongState,
            ][..],
            _ => &[Refused::BadHandle],
        };
        self.try_with_any(layout::MYSELF.word(), "MYSELF", wanted, tally);
    }

    fn may_be_myself(&self) -> bool {
        let takes_it = matches!(
            self.spec.call,
            Call::ComponentMap
                | Call::ComponentGrant
                | Call::ComponentRead
                | Call::NotificationCreate
        );
        takes_it && self.place == 0
    }

    fn other_kinds(&self, kind: Option<ObjectKind>, tally: &mut Tally) {
        let Some(kind) = kind else {
            return;
        };
        // A guest can be ended as memory can, but for the vCPU that it has.
        let fits = |other| self.spec.call == Call::ObjectEnd && other == ObjectKind::Guest;
        for other in KINDS
            .into_iter()
            .filter(|other| *other != kind && !fits(*other))
        {
            let word = self.objects.of(other).word();
            self.try_with(word, &format!("{other:?}"), Refused::WrongKind, tally);
        }
    }

    fn too_weak(&self, kind: Option<ObjectKind>, rights: Rights, tally: &mut Tally) {
        let object = specs::object(kind, self.objects);
        for missing in rights.iter() {
            let rights = Rights::all().difference(missing);
            match calls::component_grant(layout::MYSELF, object, rights) {
                Ok(copy) => {
                    let how = format!("without {missing:?}");
                    self.try_with(copy.word(), &how, Refused::NotPermitted, tally);
                    let closed = calls::handle_close(copy);
                    tally.expect_done("HandleClose", "of a copy", closed);
                }
                Err(refused) => tally.fail(&format!("no weaker copy: {refused}")),
            }
        }
    }

    fn ended(&self, kind: Option<ObjectKind>, tally: &mut Tally) {
        let ended = self.objects.ended(kind.unwrap_or(ObjectKind::Memory));
        let Some(ended) = ended.filter(|_| self.spec.call != Call::HandleClose) else {
            return;
        };
        // Whose vCPU it was is known before whether it still is.
        let also = (self.spec.call == Call::VcpuRun).then_some(Refused::NotPermitted);
        let wanted = [Refused::Revoked, also.unwrap_or(Refused::Revoked)];
        self.try_with_any(ended.word(), "of what has ended", &wanted, tally);
    }
}

/// Copies of handles: no copy has more rights than what it is of, and all end together.
pub fn probe_copies(objects: &Objects, tally: &mut Tally) {
    no_rights_by_copying(objects, tally);
    closing_takes_one(tally);
    ending_takes_all(tally);
    tally.conclude("copies of handles gain no rights and end with their object");
    full_table(tally);
    tally.conclude("a table of handles has an end");
}

fn grant(object: Handle, rights: Rights) -> Result<Handle, Refused> {
    calls::component_grant(layout::MYSELF, object, rights)
}

fn no_rights_by_copying(objects: &Objects, tally: &mut Tally) {
    let memory = objects.of(ObjectKind::Memory);
    let weak = grant(memory, Rights::READ | Rights::GRANT);
    let strong = weak.and_then(|weak| grant(weak, Rights::all()));
    let how = "of more rights than a copy has";
    tally.expect(
        "ComponentGrant",
        how,
        strong.map(Handle::word),
        &[Refused::NotPermitted],
    );
    let again = weak.and_then(|weak| grant(weak, Rights::READ | Rights::GRANT));
    let Some(again) = tally.expect_done("ComponentGrant", "a copy's copy", again) else {
        return;
    };
    let mapped = desk::map(again, desk::FREE, 0, Rights::READ | Rights::WRITE, 1);
    let how = "to be written, by a copy of a copy to read";
    tally.expect(
        "ComponentMap",
        how,
        mapped.map(|()| 0),
        &[Refused::NotPermitted],
    );
    let ended = calls::object_end(again);
    let how = "by a copy of a copy to read";
    tally.expect(
        "ObjectEnd",
        how,
        ended.map(|()| 0),
        &[Refused::NotPermitted],
    );
    let lone = grant(again, Rights::READ).and_then(|lone| grant(lone, Rights::READ));
    let how = "of a copy without GRANT";
    tally.expect(
        "ComponentGrant",
        how,
        lone.map(Handle::word),
        &[Refused::NotPermitted],
    );
}

fn closing_takes_one(tally: &mut Tally) {
    let made = calls::memory_create(own::MACHINE, 1);
    let pair = made.and_then(|memory| Ok((memory, grant(memory, Rights::all())?)));
    let Some((memory, copy)) = tally.expect_done("MemoryCreate", "to close", pair) else {
        return;
    };
    tally.expect_done("HandleClose", "of the first", calls::handle_close(memory));
    let again = calls::handle_close(memory).map(|()| 0);
    tally.expect("HandleClose", "twice", again, &[Refused::BadHandle]);
    let used = grant(memory, Rights::READ).map(Handle::word);
    tally.expect(
        "ComponentGrant",
        "of a closed one",
        used,
        &[Refused::BadHandle],
    );
    tally.expect_done("ObjectEnd", "by the copy", calls::object_end(copy));
    tally.expect_done(
        "HandleClose",
        "of what has ended",
        calls::handle_close(copy),
    );
}

fn ending_takes_all(tally: &mut Tally) {
    let made = calls::memory_create(own::MACHINE, 1);
    let pair = made.and_then(|memory| Ok((memory, grant(memory, Rights::all())?)));
    let Some((memory, copy)) = tally.expect_done("MemoryCreate", "to end", pair) else {
        return;
    };
    tally.expect_done("ObjectEnd", "by the copy", calls::object_end(copy));
    // A new object may take the old one's place in ring 0, but not its handles.
    let next = calls::memory_create(own::MACHINE, 1);
    tally.expect_done("MemoryCreate", "in its place", next);
    for handle in [memory, copy] {
        let used = grant(handle, Rights::READ).map(Handle::word);
        tally.expect("ComponentGrant", "after the end", used, &[Refused::Revoked]);
    }
}

/// Fills the table, and empties it again.
fn full_table(tally: &mut Tally) {
    let first = grant(own::MACHINE, Rights::READ);
    let Some(first) = tally.expect_done("ComponentGrant", "to fill the table", first) else {
        return;
    };
    let mut given = alloc::vec![first];
    let full = loop {
        match grant(own::MACHINE, Rights::READ) {
            Ok(next) if given.len() <= Handle::MOST as usize => given.push(next),
            end => break end.map(Handle::word),
        }
    };
    let how = "into a full table";
    tally.expect("ComponentGrant", how, full, &[Refused::Exhausted]);
    makes_nothing(how, tally);
    let closed = given.into_iter().try_for_each(calls::handle_close);
    tally.expect_done("HandleClose", "of all of them", closed);
}

/// What is made and cannot be given to the caller is not made.
fn makes_nothing(how: &str, tally: &mut Tally) {
    let free = || calls::machine_read(own::MACHINE).map(|machine| machine.free_frames);
    let [start, end] = desk::GUEST_WORDS;
    let before = free();
    for _ in 0..8 {
        let memory = calls::memory_create(own::MACHINE, 1);
        let component = calls::component_create(own::MACHINE, 100);
        let guest = calls::guest_create(own::MACHINE, &[GuestRange { start, end }], 4096);
        for made in [memory, component, guest] {
            tally.expect(
                "a call that makes",
                how,
                made.map(Handle::word),
                &[Refused::Exhausted],
            );
        }
    }
    tally.expect_equal(
        "free frames after objects that were not made",
        free(),
        before,
    );
}
