//! The loop of one physical CPU: from the bundle to the end of the last VM.
//!
//! Owns the VMs, who of them is loaded on the CPU, and the order of things: keys, sleepers
//! that are due, the scheduler's choice, one turn, its bookkeeping. Time comes from the
//! time-stamp counter alone, so on a deterministic engine a run repeats to the instruction.
//!
//! Called once, by `main`.

use crate::boot::Started;
use crate::virt::Backend;
use crate::vm::{Turn, Vm};
use crate::{console, cpu, mem, power};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use skerry_console::Key;
use skerry_manifest::report::{End, HostReport, Report};
use skerry_manifest::{Bundle, Manifest};
use skerry_sched::{Scheduler, VcpuId};
use skerry_words::{StopReason, Tsc};

/// The time slice: this fraction of a second of the time-stamp counter.
const SLICES_PER_SECOND: u64 = 100;
/// A turn ends after this fraction of a second though nobody else wants the CPU, because not
/// every CPU lets the UART's interrupt through to a host whose guest has interrupts off.
const TURNS_PER_SECOND: u64 = 20;

/// Builds the bundle's VMs and runs them to their end; the machine goes off afterwards.
pub fn start(bytes: &'static [u8], started: Started) -> ! {
    let bundle = Bundle::parse(bytes).unwrap_or_else(|error| refuse("bundle", &error.to_string()));
    power::install(bundle.manifest.power_off.clone());
    let backend = Backend::detect().unwrap_or_else(|refusal| refuse("cpu", &refusal.to_string()));
    log::info!("{} on {}", backend.name(), cpu::brand());
    let mut machine = Machine::build(&bundle, backend, started);
    machine.run();
    machine.finish()
}

/// Ends the boot with one line that says why.
fn refuse(what: &str, why: &str) -> ! {
    log::error!("{what}: {why}");
    end(1)
}

/// Prints the last line and switches the machine off.
fn end(status: u32) -> ! {
    console::host_line(&Report::End(End { status }).to_string());
    power::off()
}

/// Everything that runs on this machine.
struct Machine {
    backend: Backend,
    scheduler: Scheduler,
    vms: Vec<Slot>,
    started: Started,
    loaded: Option<usize>,
    first_guest: Option<Tsc>,
    idle_tsc: u64,
}

/// A VM with its place in the scheduler.
struct Slot {
    vm: Vm,
    id: VcpuId,
}

impl Machine {
    fn build(bundle: &Bundle<'static>, backend: Backend, started: Started) -> Self {
        let manifest = &bundle.manifest;
        start_console(manifest);
        let slice_tsc = cpu::tsc::hz() / SLICES_PER_SECOND;
        let mut scheduler = Scheduler::new(slice_tsc);
        let mut vms = Vec::with_capacity(manifest.vms.len());
        for (index, spec) in (0_u16..).zip(&manifest.vms) {
            let vm = Vm::build(spec.clone(), index, bundle, &backend)
                .unwrap_or_else(|error| refuse(&spec.name, &error.to_string()));
            let id = scheduler.add(vm.weight());
            vms.push(Slot { vm, id });
        }
        Self {
            backend,
            scheduler,
            vms,
            started,
            loaded: None,
            first_guest: None,
            idle_tsc: 0,
        }
    }

    fn run(&mut self) {
        while self.vms.iter().any(|slot| slot.vm.is_awaited()) {
            self.take_keys();
            self.wake_due();
            match self.scheduler.pick() {
                Some(id) => self.give_turn(self.place(id)),
                None => self.idle(),
            }
        }
    }

    fn place(&self, id: VcpuId) -> usize {
        self.vms.iter().position(|slot| slot.id == id).unwrap_or(0)
    }

    /// One VM's turn, until its slice ends or a sleeper is due.
    fn give_turn(&mut self, index: usize) {
        self.load(index);
        let began = cpu::tsc::now();
        self.first_guest.get_or_insert(began);
        let id = self.vms[index].id;
        let slice_tsc = self
            .scheduler
            .slice(id)
            .min(cpu::tsc::hz() / TURNS_PER_SECOND);
        let slice_end = began.after(slice_tsc).min(self.next_wake());
        let turn = self.vms[index].vm.turn(index, slice_end);
        self.scheduler.charge(id, cpu::tsc::now().since(began));
        match turn {
            Turn::Preempted => {}
            Turn::Yielded => self.scheduler.yield_now(id),
            Turn::Asleep => self.scheduler.sleep(id),
            Turn::Reset => self.restart_or_end(index, StopReason::ResetAsked),
            Turn::Ended(reason) => self.restart_or_end(index, reason),
        }
    }

    /// Makes a VM the one whose state is on the CPU.
    fn load(&mut self, index: usize) {
        if self.loaded == Some(index) {
            return;
        }
        self.unload();
        self.vms[index].vm.load_vcpu();
        self.loaded = Some(index);
    }

    fn unload(&mut self) {
        if let Some(before) = self.loaded.take() {
            self.vms[before].vm.unload_vcpu();
        }
    }

    fn restart_or_end(&mut self, index: usize, reason: StopReason) {
        self.unload();
        console::flush(index);
        let slot = &mut self.vms[index];
        if slot.vm.wants_restart(reason) {
            log::info!("{}: {reason}; starting it again", slot.vm.name());
            if let Err(error) = slot.vm.restart(&self.backend) {
                log::error!("{}: cannot start again: {error}", slot.vm.name());
                self.end_vm(index, StopReason::OutOfMemory);
            }
            return;
        }
        self.end_vm(index, reason);
    }

    fn end_vm(&mut self, index: usize, reason: StopReason) {
        self.unload();
        let slot = &mut self.vms[index];
        log::info!("{}: {reason}", slot.vm.name());
        slot.vm.end(reason, &self.backend);
        self.scheduler.remove(slot.id);
    }

    /// The earliest deadline of a sleeper.
    fn next_wake(&mut self) -> Tsc {
        self.vms
            .iter_mut()
            .map(|slot| slot.vm.wakes_at())
            .min()
            .unwrap_or(Tsc::NEVER)
    }

    fn wake_due(&mut self) {
        let now = cpu::tsc::now();
        for slot in &mut self.vms {
            if slot.vm.wakes_at() <= now {
                slot.vm.wake();
                self.scheduler.wake(slot.id);
            }
        }
    }

    /// Nobody can run: the CPU sleeps until a deadline or a key.
    fn idle(&mut self) {
        let wake = self.next_wake();
        let began = cpu::tsc::now();
        if !console::has_input() {
            cpu::idle::wait_until(wake);
        }
        self.idle_tsc += cpu::tsc::now().since(began);
    }

    fn take_keys(&mut self) {
        while let Some(key) = console::next_key() {
            match key {
                Key::Input { vm, byte } => self.type_byte(vm, byte),
                Key::List => self.list(),
                Key::Help => console::help(),
                Key::Quit => self.quit(),
                Key::Attach(index) => {
                    if let Some(slot) = self.vms.get(index) {
                        console::list_line(index, slot.vm.name(), "attached");
                    }
                }
                Key::Nothing => {}
            }
        }
    }

    fn type_byte(&mut self, index: usize, byte: u8) {
        if let Some(slot) = self.vms.get_mut(index).filter(|slot| slot.vm.is_alive()) {
            slot.vm.type_byte(byte);
            slot.vm.wake();
            self.scheduler.wake(slot.id);
        }
    }

    fn list(&self) {
        for (index, slot) in self.vms.iter().enumerate() {
            let report = slot.vm.report();
            let state = if slot.vm.is_alive() {
                String::from("runs")
            } else {
                report.stop
            };
            console::list_line(index, slot.vm.name(), &state);
        }
    }

    fn quit(&mut self) {
        for index in 0..self.vms.len() {
            if self.vms[index].vm.is_alive() {
                self.end_vm(index, StopReason::Operator);
            }
        }
    }

    /// Dismisses who is left, reports on everybody and switches the machine off.
    fn finish(mut self) -> ! {
        let idle_tsc = self.idle_tsc;
        let mut status = 0;
        cpu::interrupt::report_strays();
        for index in 0..self.vms.len() {
            if self.vms[index].vm.is_alive() {
                self.end_vm(index, StopReason::Dismissed);
            }
            let slot = &self.vms[index];
            let report = slot.vm.report();
            status |= u32::from(report.status != 0);
            console::host_line(&Report::Vm(report).to_string());
        }
        let host = self.host_report(idle_tsc);
        console::host_line(&Report::Host(host).to_string());
        end(status)
    }

    fn host_report(&self, idle_tsc: u64) -> HostReport {
        let entry = self.started.entry;
        let usage = mem::usage();
        HostReport {
            backend: String::from(self.backend.name()),
            cpu: cpu::brand(),
            tsc_hz: cpu::tsc::hz(),
            first_guest_tsc: self.first_guest.map_or(0, |first| first.since(entry)),
            image_bytes: usage.image_bytes,
            resident_bytes: usage.image_bytes + usage.tables_bytes + usage.heap_bytes,
            total_tsc: cpu::tsc::now().since(entry),
            idle_tsc,
        }
    }
}

fn start_console(manifest: &Manifest) {
    let names = manifest.vms.iter().map(|vm| vm.name.as_str());
    let attached = manifest
        .attach
        .as_ref()
        .and_then(|name| manifest.vms.iter().position(|vm| vm.name == *name));
    console::start(names, attached);
}
