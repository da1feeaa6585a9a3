//! What a run stands on: the bundle, mapped and read, and the programs in it.
//!
//! Owns the checks before anything is made. Used by `main`.

use crate::object::Object;
use crate::program::{Program, map_whole};
use crate::refusal::Refusal;
use crate::scratch::Scratch;
use crate::{brand, log, power, report};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_abi::{MachineRecord, Refused, Rights, layout, own};
use skerry_component::{calls, pages};
use skerry_manifest::Bundle;
use skerry_words::PAGE_BYTES;

/// The component that serves all VMs.
pub const CONSOLE: &str = "console";

/// The bundle and what is made of it once.
#[derive(Debug)]
pub struct Ground {
    /// The bundle.
    pub bundle: Bundle<'static>,
    /// The machine at the start.
    pub machine: MachineRecord,
    /// Free addresses of ours.
    pub scratch: Scratch,
    monitors: Vec<(String, Rc<Program>)>,
    /// The bundle's memory; it is mapped as long as we run.
    _memory: Option<Object>,
}

impl Ground {
    /// Reads the bundle.
    ///
    /// # Errors
    /// What keeps it from being run.
    pub fn read() -> Result<Self, Refusal> {
        let of_call = |refused| Refusal::of_call("bundle", refused);
        let machine = calls::machine_read(own::MACHINE).map_err(of_call)?;
        let (memory, bytes) = map_bundle(machine.bundle_bytes).map_err(of_call)?;
        let bundle = Bundle::parse(bytes).map_err(|error| Refusal::new("bundle", error))?;
        power::off_by(&bundle.manifest.power_off)
            .map_err(|refused| Refusal::of_call("power_off", refused))?;
        let brand = brand::of_this_cpu();
        log::say(format_args!("{} on {brand}", report::backend(&machine)));
        Ok(Self {
            bundle,
            machine,
            scratch: Scratch::new(),
            monitors: Vec::new(),
            _memory: memory,
        })
    }

    /// The program of the component with this name, loaded.
    ///
    /// # Errors
    /// What keeps it from being loaded.
    pub fn program(&mut self, name: &str, heap_pages: u64) -> Result<Program, Refusal> {
        let member = self.bundle.component(name);
        let file = member.ok_or_else(|| Refusal::new(name, "no such component in the bundle"))?;
        let mut program =
            Program::read(file.bytes, heap_pages).map_err(|error| Refusal::new(name, error))?;
        program
            .load(&mut self.scratch)
            .map_err(|refused| Refusal::of_call(name, refused))?;
        Ok(program)
    }

    /// The program of VMMs with this name: one for all of them.
    ///
    /// # Errors
    /// What keeps it from being loaded.
    pub fn monitor(&mut self, name: &str) -> Result<Rc<Program>, Refusal> {
        if let Some((_, program)) = self.monitors.iter().find(|(known, _)| known == name) {
            return Ok(Rc::clone(program));
        }
        let program = Rc::new(self.program(name, layout::VMM_HEAP_PAGES)?);
        self.monitors
            .push((String::from(name), Rc::clone(&program)));
        Ok(program)
    }
}

/// Maps the whole bundle at `layout::FILES`.
fn map_bundle(bytes: u64) -> Result<(Option<Object>, &'static [u8]), Refused> {
    let memory = memory_of_file(0, bytes)?;
    if let Some(memory) = &memory {
        let pages = bytes.div_ceil(PAGE_BYTES);
        map_whole(memory.handle(), layout::FILES, pages, Rights::READ)?;
    }
    Ok((memory, pages::files(0, bytes)))
}

/// Memory of the pages with so many bytes of the bundle; none of an empty file.
///
/// # Errors
/// What ring 0 refuses.
pub fn memory_of_file(at: u64, bytes: u64) -> Result<Option<Object>, Refused> {
    if bytes == 0 {
        return Ok(None);
    }
    calls::memory_of_bundle(own::MACHINE, at, bytes).map(|handle| Some(Object::new(handle)))
}
