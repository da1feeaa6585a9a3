//! The loop of `root`: VMs are made, end, start again, until nobody waits for any.
//!
//! Owns the order of things. Policy is `course`'s, making and unmaking `vm`'s.

use crate::console::Console;
use crate::course::Next;
use crate::ground::Ground;
use crate::refusal::{self, Refusal};
use crate::vm::{LifeEnd, Vm};
use crate::{bell, brand, log, report, scratch, warm};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_abi::layout::{ENDED_BIT, MYSELF};
use skerry_abi::{MachineRecord, own};
use skerry_component::calls;
use skerry_manifest::report::Report;
use skerry_pages::ControlPage;
use skerry_verdict::StopReason;
use skerry_words::Tsc;

/// All VMs.
#[derive(Debug)]
pub struct Machine<'a> {
    console: &'a Console,
    vms: Vec<Vm>,
    /// The frames that were free before the first VM was made.
    free_before: u64,
}

impl<'a> Machine<'a> {
    /// Makes all VMs of the manifest, none started.
    ///
    /// # Errors
    /// What keeps one from being made.
    pub fn build(ground: &mut Ground, console: &'a Console) -> Result<Self, Refusal> {
        let count = ground.bundle.manifest.vms.len() as u32;
        let mut vms = Vec::with_capacity(count as usize);
        for index in 0..count {
            vms.push(Vm::prepare(index, ground, console)?);
        }
        take_all_memory(&vms)?;
        let free_before = machine().free_frames;
        for vm in &mut vms {
            vm.make_life(console)
                .map_err(|refused| Refusal::of_call(vm.name(), refused))?;
        }
        Ok(Self {
            console,
            vms,
            free_before,
        })
    }

    /// Runs the VMs until nobody waits for any of them.
    ///
    /// # Errors
    /// What ends the run early.
    pub fn run(&mut self) -> Result<(), Refusal> {
        for vm in &self.vms {
            vm.start()
                .map_err(|refused| Refusal::of_call(vm.name(), refused))?;
        }
        while self.vms.iter().any(|vm| vm.course.is_awaited()) {
            let bits = bell::wait(Tsc::NEVER);
            if bits & ENDED_BIT != 0 {
                self.console.check()?;
                self.look_for_ends();
            }
            self.answer_requests();
        }
        Ok(())
    }

    fn look_for_ends(&mut self) {
        for index in 0..self.vms.len() {
            if self.vms.get(index).is_some_and(Vm::has_ended_life) {
                self.end_life(index, None);
            }
        }
    }

    /// A life is over, or is now ended for the reason `meant`. Another follows or not.
    fn end_life(&mut self, index: usize, meant: Option<StopReason>) {
        let Some(vm) = self.vms.get_mut(index) else {
            return;
        };
        let Some(end) = vm.close_life(meant) else {
            return;
        };
        self.console.life_over(index as u32);
        let story = story(vm.name(), &end);
        match vm.course.life_over(end.reason, meant) {
            Next::Stay => log::say(format_args!("{story}")),
            Next::Restart => {
                log::say(format_args!("{story}; starting it again"));
                start_again(vm, self.console);
            }
        }
    }

    fn answer_requests(&mut self) {
        let requests = self.console.take_requests();
        if requests & ControlPage::LIST != 0 {
            self.list();
        }
        if requests & ControlPage::QUIT != 0 {
            self.end_all(StopReason::Operator);
        }
    }

    fn list(&self) {
        for (index, vm) in (0..).zip(&self.vms) {
            let mark = if self.console.is_attached(index) {
                '*'
            } else {
                ' '
            };
            let ended = vm.course.ended();
            let state = ended.map_or_else(|| String::from("runs"), |reason| format!("{reason}"));
            log::say(format_args!("{mark} {index} {}: {state}", vm.name()));
        }
    }

    fn end_all(&mut self, reason: StopReason) {
        for index in 0..self.vms.len() {
            self.end_life(index, Some(reason));
        }
    }

    /// Dismisses who is left and reports on everybody. Gives the status of the run.
    pub fn finish(mut self) -> u32 {
        self.end_all(StopReason::Dismissed);
        let mut status = 0;
        for vm in &self.vms {
            let report = vm.report();
            status |= u32::from(report.status != 0);
            log::report(&Report::Vm(report));
        }
        log::report(&Report::Host(report::of_host(
            &machine(),
            brand::of_this_cpu(),
            self.services_bytes(),
            self.free_before,
        )));
        status
    }

    /// What we and the console hold.
    fn services_bytes(&self) -> u64 {
        let ours = calls::component_read(MYSELF).unwrap_or_default();
        ours.own_bytes.saturating_add(self.console.bytes())
    }
}

fn machine() -> MachineRecord {
    calls::machine_read(own::MACHINE).unwrap_or_default()
}

/// The next life of a VM that has been counted as started again.
fn start_again(vm: &mut Vm, console: &Console) {
    let started = vm.make_life(console).and_then(|()| vm.start());
    if let Err(refused) = started {
        let why = refusal::text(refused);
        log::error(format_args!("{}: cannot start again: {why}", vm.name()));
        vm.course.end(StopReason::OutOfMemory);
        let reason = StopReason::OutOfMemory;
        log::say(format_args!("{}: {reason}", vm.name()));
    }
}

/// The end of a life in words.
fn story(name: &str, end: &LifeEnd) -> String {
    let LifeEnd { reason, last_words } = end;
    if last_words.is_empty() {
        format!("{name}: {reason}")
    } else {
        format!("{name}: {reason} ({last_words})")
    }
}

/// Takes what we shall need while VMs run, so that frames that are then missing were lost.
fn take_all_memory(vms: &[Vm]) -> Result<(), Refusal> {
    warm::take_own_memory(vms.len());
    for vm in vms {
        let (at, pages) = vm.window();
        scratch::take_tables(at, pages).map_err(|refused| Refusal::of_call(vm.name(), refused))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_what_the_vmm_had_to_say() {
        let mut end = LifeEnd {
            reason: StopReason::Image,
            last_words: String::new(),
        };
        assert_eq!(story("a", &end), "a: its image cannot be started");
        end.last_words.push_str("no ELF file");
        assert_eq!(
            story("a", &end),
            "a: its image cannot be started (no ELF file)"
        );
    }
}
