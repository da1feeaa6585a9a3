//! The console component, as `root` sees it: its making, and what the two tell each other.
//!
//! Owns the control page and all memory between the console and the VMs. These are made
//! before the first VM and stay to the end, so that VMs can come and go.

use crate::ground::{CONSOLE, Ground};
use crate::object::Object;
use crate::program::{Instance, map_whole};
use crate::refusal::Refusal;
use crate::{bell, course};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use skerry_abi::layout::{
    CONSOLE_PAGES, CONSOLE_STRIDE, CONTROL_PAGE, MYSELF, SERVICE_HEAP_PAGES, console_bits,
    root_bits,
};
use skerry_abi::{Handle, Refused, Rights, own};
use skerry_component::{calls, clock, pages};
use skerry_manifest::Manifest;
use skerry_pages::ControlPage;
use skerry_verdict::StopReason;
use skerry_words::{PAGE_BYTES, Port, Tsc};

const COM1: Port = Port(0x3f8);
const COM1_PORTS: u32 = 8;
const COM1_LINE: u32 = 4;
/// It serves all VMs, so it goes before each of them.
const WEIGHT: u32 = 1000;
/// The pages of one VM's rings.
const RING_PAGES: u64 = CONSOLE_STRIDE / PAGE_BYTES;
/// How long all output may take to come out, in seconds.
const DRAIN_SECONDS: u64 = 10;
/// How often the console is given time to take a handle over.
const HAND_OVER_TRIES: u32 = 1000;

const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// The console.
#[derive(Debug)]
pub struct Console {
    instance: Instance,
    control: &'static ControlPage,
    /// Tells it that the control page has changed.
    changed: Object,
    rings: Vec<Object>,
    /// What it has handles to, and the control page.
    _objects: Vec<Object>,
    tsc_hz: u64,
}

impl Console {
    /// Makes it, starts it, and waits until it serves.
    ///
    /// # Errors
    /// What keeps it from serving.
    pub fn start(ground: &mut Ground) -> Result<Self, Refusal> {
        let program = ground.program(CONSOLE, SERVICE_HEAP_PAGES)?;
        let window = ground.scratch.take(program.window_pages());
        let of_call = |refused| Refusal::of_call(CONSOLE, refused);
        let instance = program.instance(WEIGHT, window).map_err(of_call)?;
        // What all of its instances share goes with the program; there is only this one.
        let mut objects = program.into_objects();
        let control = control_page(&instance, &mut objects).map_err(of_call)?;
        fill_in(control, &ground.bundle.manifest);
        let rings = rings(&instance, ground).map_err(of_call)?;
        grant(&instance, &mut objects).map_err(of_call)?;
        let changed = notification(instance.component.handle(), console_bits::CONTROL);
        let console = Self {
            changed: changed.map_err(of_call)?,
            instance,
            control,
            rings,
            _objects: objects,
            tsc_hz: ground.machine.tsc_hz,
        };
        console.instance.start(0).map_err(of_call)?;
        console.wait_until_ready()?;
        Ok(console)
    }

    fn wait_until_ready(&self) -> Result<(), Refusal> {
        while self.take_requests() & ControlPage::READY == 0 {
            self.check()?;
            bell::wait(Tsc::NEVER);
        }
        Ok(())
    }

    /// What it holds for itself.
    pub fn bytes(&self) -> u64 {
        self.instance.record().own_bytes
    }

    /// Whether it still serves.
    ///
    /// # Errors
    /// How it has ended.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.instance.component.has_ended() {
            return Err(Refusal::new(CONSOLE, self.end()));
        }
        Ok(())
    }

    fn end(&self) -> String {
        let reason = course::reason(&self.instance.component.record(), None);
        if let StopReason::Monitor(end) = reason {
            format!("{end}")
        } else {
            format!("{reason}")
        }
    }

    /// What it wants of us, as bits of [`ControlPage`]; each is given once.
    pub fn take_requests(&self) -> u32 {
        self.control.requests.swap(0, Ordering::AcqRel)
    }

    /// Whether this VM has the keyboard.
    pub fn is_attached(&self, index: u32) -> bool {
        self.control.attached.load(Ordering::Relaxed) == index
    }

    /// The rings of a VM, to be mapped in its VMM, with their pages.
    pub fn rings_of(&self, index: u32) -> Option<(Handle, u64)> {
        let rings = self.rings.get(index as usize)?;
        Some((rings.handle(), RING_PAGES))
    }

    /// What tells the console that VM `index` has written.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn signal_of(&self, index: u32) -> Result<Object, Refused> {
        let bits = console_bits::of_vm(index);
        notification(self.instance.component.handle(), bits)
    }

    /// Hands over what wakes the VMM of a VM's new life.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn hand_over(&self, index: u32, wake: &Object) -> Result<(), Refused> {
        let component = self.instance.component.handle();
        let Some(vm) = self.control.vms.get(index as usize) else {
            return Err(Refused::BadArgument);
        };
        // The one before must have been taken: only its owner can close it.
        let taken = || vm.wake.load(Ordering::Acquire) == ControlPage::NONE;
        for _ in 0..HAND_OVER_TRIES {
            if taken() || self.instance.component.has_ended() {
                break;
            }
            self.tell();
            bell::pause();
        }
        let number = calls::component_grant(component, wake.handle(), Rights::SIGNAL)?;
        vm.wake.store(number.0, Ordering::Release);
        self.tell();
        Ok(())
    }

    /// A life of this VM is over: its unfinished line ends.
    pub fn life_over(&self, index: u32) {
        if let Some(vm) = self.control.vms.get(index as usize) {
            vm.ends.fetch_add(1, Ordering::Release);
        }
        self.tell();
    }

    fn tell(&self) {
        // Refused only when the console has ended, which is seen elsewhere.
        let _ = calls::notify(self.changed.handle());
    }

    /// Waits until everything written so far is on the line.
    pub fn drain(&self) {
        let asked = self.control.drain_asked.fetch_add(1, Ordering::AcqRel);
        let asked = asked.wrapping_add(1);
        self.tell();
        let longest = self.tsc_hz.saturating_mul(DRAIN_SECONDS);
        let deadline = clock::now().after(longest);
        let done = || self.control.drain_done.load(Ordering::Acquire) == asked;
        while !done() && !self.instance.component.has_ended() && clock::now() < deadline {
            bell::wait(deadline);
        }
    }
}

/// Makes the control page, in both address spaces.
fn control_page(
    instance: &Instance,
    objects: &mut Vec<Object>,
) -> Result<&'static ControlPage, Refused> {
    let memory = Object::new(calls::memory_create(own::MACHINE, 1)?);
    map_whole(memory.handle(), CONTROL_PAGE, 1, READ_WRITE)?;
    instance.map(memory.handle(), CONTROL_PAGE, 1, READ_WRITE)?;
    objects.push(memory);
    Ok(pages::control_page())
}

/// Tells the console of the VMs.
fn fill_in(control: &ControlPage, manifest: &Manifest) {
    let attached = manifest
        .attach
        .as_ref()
        .and_then(|name| manifest.vms.iter().position(|vm| vm.name == *name))
        .map_or(ControlPage::NONE, |index| index as u32);
    control.attached.store(attached, Ordering::Relaxed);
    for (vm, of) in control.vms.iter().zip(&manifest.vms) {
        vm.set_name(&of.name);
    }
    for vm in &control.vms {
        vm.wake.store(ControlPage::NONE, Ordering::Relaxed);
    }
    let count = manifest.vms.len() as u32;
    control.count.store(count, Ordering::Release);
}

/// Makes the rings of all VMs, and takes their pages.
fn rings(instance: &Instance, ground: &mut Ground) -> Result<Vec<Object>, Refused> {
    let mut rings = Vec::new();
    let places = (0..ground.bundle.manifest.vms.len() as u64)
        .map(|index| CONSOLE_PAGES.saturating_add(index.saturating_mul(CONSOLE_STRIDE)));
    for place in places {
        let memory = Object::new(calls::memory_create(own::MACHINE, RING_PAGES)?);
        let ours = ground.scratch.take(RING_PAGES);
        map_whole(memory.handle(), ours, RING_PAGES, READ_WRITE)?;
        for page in 0..RING_PAGES {
            let at = ours.saturating_add(page.saturating_mul(PAGE_BYTES));
            pages::scratch_write(at, &[0]);
        }
        instance.map(memory.handle(), place, RING_PAGES, READ_WRITE)?;
        rings.push(memory);
    }
    Ok(rings)
}

/// Gives it what it may use, in the agreed order.
fn grant(instance: &Instance, objects: &mut Vec<Object>) -> Result<(), Refused> {
    let ports = Object::new(calls::ports_create(own::MACHINE, COM1, COM1_PORTS)?);
    let line = Object::new(calls::line_create(own::MACHINE, COM1_LINE)?);
    let ours = notification(MYSELF, root_bits::CONTROL)?;
    instance.grant(own::LOG, Rights::READ, own::CONSOLE_LOG)?;
    instance.grant(ports.handle(), READ_WRITE, own::CONSOLE_PORTS)?;
    instance.grant(line.handle(), Rights::SIGNAL, own::CONSOLE_LINE)?;
    instance.grant(ours.handle(), Rights::SIGNAL, own::CONSOLE_ROOT)?;
    objects.extend([ports, line, ours]);
    Ok(())
}

fn notification(component: Handle, bits: u64) -> Result<Object, Refused> {
    calls::notification_create(component, bits).map(Object::new)
}
