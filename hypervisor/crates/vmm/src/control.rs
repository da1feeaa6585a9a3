//! The rules of CR0, CR4, CR8, EFER and XCR0.
//!
//! A value the architecture forbids gets `#GP`, and so does a feature this virtual CPU does
//! not show in CPUID. Ring 0 lets a guest change the harmless bits without an exit; what
//! arrives here is judged whole `[SDM 3A, "Control Registers", ed. 085]`.

use skerry_verdict::{Fault, GuestMemory, Registers};
use skerry_words::{AccessRights, CrAccess, CrOperation, Gpa, GuestState, Segment, StateGroups};

use crate::cpuid::CpuidTable;
use crate::xstate;

const CR0_PE: u64 = 1 << 0;
const CR0_TS: u64 = 1 << 3;
const CR0_ET: u64 = 1 << 4;
const CR0_WP: u64 = 1 << 16;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_PG: u64 = 1 << 31;
const CR0_DEFINED: u64 = 0xe005_003f;

const CR4_PAE: u64 = 1 << 5;
const CR4_PCIDE: u64 = 1 << 17;
pub(crate) const CR4_OSXSAVE: u64 = 1 << 18;
pub(crate) const CR4_PKE: u64 = 1 << 22;
const CR4_PKS: u64 = 1 << 24;

pub(crate) const EFER_SCE: u64 = 1 << 0;
pub(crate) const EFER_LME: u64 = 1 << 8;
pub(crate) const EFER_LMA: u64 = 1 << 10;
pub(crate) const EFER_NXE: u64 = 1 << 11;

/// The CR0 bits a guest may change; the rest read as they are and are ignored when written.
#[must_use]
pub const fn permitted_cr0() -> u64 {
    CR0_DEFINED
}

/// The CR4 bits a guest with this CPUID may set.
#[must_use]
pub fn permitted_cr4(table: &CpuidTable) -> u64 {
    let (one, seven) = (table.leaf(1), table.leaf(7));
    // Each rule: a CPUID register, its bit, and the CR4 bits that come with it.
    let rules = [
        (one.edx, 1, 0b11),         // VME: VME, PVI
        (one.edx, 4, 1 << 2),       // TSC: TSD
        (one.edx, 2, 1 << 3),       // DE
        (one.edx, 3, 1 << 4),       // PSE
        (one.edx, 6, 1 << 5),       // PAE
        (one.edx, 13, 1 << 7),      // PGE
        (one.edx, 0, 1 << 8),       // PCE: any CPU; RDPMC itself is refused
        (one.edx, 24, 0b11 << 9),   // FXSR: OSFXSR, OSXMMEXCPT
        (seven.ecx, 2, 1 << 11),    // UMIP
        (seven.ebx, 0, 1 << 16),    // FSGSBASE
        (one.ecx, 17, CR4_PCIDE),   // PCID
        (one.ecx, 26, CR4_OSXSAVE), // XSAVE
        (seven.ebx, 7, 1 << 20),    // SMEP
        (seven.ebx, 20, 1 << 21),   // SMAP
        (seven.ecx, 3, CR4_PKE),    // PKU
        (seven.ecx, 31, CR4_PKS),   // PKS
    ];
    rules
        .iter()
        .filter(|(word, bit, _)| word & (1 << bit) != 0)
        .fold(0, |sum, rule| sum | rule.2)
}

/// What a control-register answer needs to know of its VM.
pub(crate) struct ControlRules<'a> {
    pub(crate) cr4: u64,
    pub(crate) cr8: &'a mut u64,
}

impl ControlRules<'_> {
    /// Answers a CR exit: the register changes, or a fault.
    pub(crate) fn answer(
        &mut self,
        access: CrAccess,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<(), Fault> {
        match access.operation {
            CrOperation::Write(register) => {
                let value = state.gpr.get(usize::from(register)).copied().unwrap_or(0);
                self.write(access.register, value, state, memory)?;
            }
            CrOperation::Read(register) => {
                let value = self.read(access.register, state)?;
                state.set_number(register, value);
            }
            // The VMM has looked at the instruction before: this was none it knows.
            CrOperation::Undecoded => return Err(Fault::UndefinedInstruction),
            CrOperation::Clts => write_cr0(state.cr0 & !CR0_TS, state, memory)?,
            CrOperation::Lmsw(word) => {
                // LMSW can set PE but not clear it, and reaches bits 3:0 only.
                let low = u64::from(word & 0xf) | (state.cr0 & CR0_PE);
                write_cr0((state.cr0 & !0xf) | low, state, memory)?;
            }
        }
        state.advance();
        Ok(())
    }

    fn read(&self, register: u8, state: &GuestState) -> Result<u64, Fault> {
        match register {
            0 => Ok(state.cr0),
            3 => Ok(state.cr3),
            4 => Ok(state.cr4),
            8 => Ok(*self.cr8),
            _ => Err(Fault::UndefinedInstruction),
        }
    }

    fn write(
        &mut self,
        register: u8,
        value: u64,
        state: &mut GuestState,
        memory: &mut impl GuestMemory,
    ) -> Result<(), Fault> {
        match register {
            0 => write_cr0(value, state, memory),
            3 => write_cr3(value, state, memory),
            4 => write_cr4(value, self.cr4, state, memory),
            8 if value <= 0xf => {
                *self.cr8 = value;
                Ok(())
            }
            8 => Err(Fault::GeneralProtection(0)),
            _ => Err(Fault::UndefinedInstruction),
        }
    }
}

fn write_cr0(
    value: u64,
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
) -> Result<(), Fault> {
    let value = (value & CR0_DEFINED) | CR0_ET | (value & 0xffff_ffff_0000_0000);
    let paging_without_protection = value & CR0_PG != 0 && value & CR0_PE == 0;
    let not_write_through_without_disable = value & CR0_NW != 0 && value & CR0_CD == 0;
    if value >> 32 != 0 || paging_without_protection || not_write_through_without_disable {
        return Err(Fault::GeneralProtection(0));
    }
    let changed = value ^ state.cr0;
    if changed & CR0_PG != 0 {
        state.efer = switch_paging(value & CR0_PG != 0, state)?;
    }
    if changed & (CR0_PG | CR0_WP) != 0 && value & CR0_PG != 0 {
        load_pdptes(state.cr3, state.cr4, state, memory)?;
    }
    state.cr0 = value;
    state.dirty |= StateGroups::CONTROL;
    Ok(())
}

/// EFER after paging is switched: long mode becomes active or inactive with it.
fn switch_paging(on: bool, state: &GuestState) -> Result<u64, Fault> {
    let in_long_code = state
        .segment(Segment::Cs)
        .rights
        .contains(AccessRights::LONG);
    if on {
        if state.efer & EFER_LME == 0 {
            return Ok(state.efer);
        }
        if state.cr4 & CR4_PAE == 0 || in_long_code {
            return Err(Fault::GeneralProtection(0));
        }
        return Ok(state.efer | EFER_LMA);
    }
    let in_long_mode = state.efer & EFER_LMA != 0;
    if (in_long_mode && in_long_code) || state.cr4 & CR4_PCIDE != 0 {
        return Err(Fault::GeneralProtection(0));
    }
    Ok(state.efer & !EFER_LMA)
}

fn write_cr3(
    value: u64,
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
) -> Result<(), Fault> {
    const NO_FLUSH: u64 = 1 << 63;
    let value = if state.cr4 & CR4_PCIDE != 0 {
        value & !NO_FLUSH
    } else {
        value
    };
    if state.efer & EFER_LMA != 0 && value >> 52 != 0 {
        return Err(Fault::GeneralProtection(0));
    }
    if state.cr0 & CR0_PG != 0 {
        load_pdptes(value, state.cr4, state, memory)?;
    }
    state.cr3 = value;
    state.dirty |= StateGroups::CONTROL;
    Ok(())
}

fn write_cr4(
    value: u64,
    permitted: u64,
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
) -> Result<(), Fault> {
    let long = state.efer & EFER_LMA != 0;
    let enables_pcid = value & CR4_PCIDE != 0 && state.cr4 & CR4_PCIDE == 0;
    let pcid_refused = enables_pcid && (!long || state.cr3 & 0xfff != 0);
    let pae_refused = long && value & CR4_PAE == 0;
    if value & !permitted != 0 || pcid_refused || pae_refused {
        return Err(Fault::GeneralProtection(0));
    }
    if state.cr0 & CR0_PG != 0 {
        load_pdptes(state.cr3, value, state, memory)?;
    }
    state.cr4 = value;
    state.dirty |= StateGroups::CONTROL;
    Ok(())
}

/// PAE paging outside long mode keeps four entries in the CPU; whoever emulates a write
/// that loads them reads them from memory `[SDM 3A, "PDPTE Registers", ed. 085]`.
fn load_pdptes(
    cr3: u64,
    cr4: u64,
    state: &mut GuestState,
    memory: &mut impl GuestMemory,
) -> Result<(), Fault> {
    const RESERVED: u64 = 0xfff0_0000_0000_01e6;
    if cr4 & CR4_PAE == 0 || state.efer & EFER_LMA != 0 {
        return Ok(());
    }
    let mut bytes = [0; 32];
    let at = Gpa(cr3 & 0xffff_ffe0);
    memory
        .read(at, &mut bytes)
        .map_err(|_| Fault::GeneralProtection(0))?;
    let mut entries = [0; 4];
    for (entry, chunk) in entries.iter_mut().zip(bytes.chunks_exact(8)) {
        *entry = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        if *entry & 1 != 0 && *entry & RESERVED != 0 {
            return Err(Fault::GeneralProtection(0));
        }
    }
    state.pdpte = entries;
    state.dirty |= StateGroups::PDPTES;
    Ok(())
}

/// Judges a write to EFER: the new value, or `#GP`.
pub(crate) fn checked_efer(value: u64, state: &GuestState) -> Result<u64, Fault> {
    let writable = EFER_SCE | EFER_LME | EFER_NXE;
    let switches_mode = (value ^ state.efer) & EFER_LME != 0 && state.cr0 & CR0_PG != 0;
    if value & !(writable | EFER_LMA) != 0 || switches_mode {
        return Err(Fault::GeneralProtection(0));
    }
    Ok((value & writable) | (state.efer & EFER_LMA))
}

/// Answers XSETBV. The CPU has checked CR4.OSXSAVE; the privilege level it checks itself.
pub(crate) fn set_xcr0(state: &mut GuestState, layout: &xstate::Layout) -> Result<(), Fault> {
    use skerry_words::Gpr;
    let value = (state.get(Gpr::Rax) & 0xffff_ffff) | (state.get(Gpr::Rdx) << 32);
    if state.cpl != 0 || state.get(Gpr::Rcx) as u32 != 0 || !layout.accepts(value) {
        return Err(Fault::GeneralProtection(0));
    }
    state.xcr0 = value;
    state.dirty |= StateGroups::XCR0;
    state.advance();
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use skerry_verdict::Unbacked;

    struct NoMemory;
    impl GuestMemory for NoMemory {
        fn read(&mut self, at: Gpa, _: &mut [u8]) -> Result<(), Unbacked> {
            Err(Unbacked(at))
        }
        fn write(&mut self, at: Gpa, _: &[u8]) -> Result<(), Unbacked> {
            Err(Unbacked(at))
        }
    }

    fn write(register: u8, value: u64, state: &mut GuestState) -> Result<(), Fault> {
        state.gpr[0] = value;
        state.instruction_bytes = 3;
        let mut cr8 = 0;
        let access = CrAccess {
            register,
            operation: CrOperation::Write(0),
        };
        ControlRules {
            cr4: 0x0030_07bf,
            cr8: &mut cr8,
        }
        .answer(access, state, &mut NoMemory)
    }

    const GP: Result<(), Fault> = Err(Fault::GeneralProtection(0));

    #[test]
    fn forbidden_cr0_values_fault_and_change_nothing() {
        for value in [CR0_PG, CR0_NW, 1 << 32 | CR0_PE] {
            let mut state = GuestState::at_reset();
            assert_eq!(write(0, value, &mut state), GP, "{value:#x}");
            assert_eq!((state.cr0, state.rip), (0x6000_0010, 0xfff0));
        }
    }

    #[test]
    fn paging_with_long_mode_enabled_needs_pae_and_activates_it() {
        let mut state = GuestState::at_reset();
        state.efer = EFER_LME;
        assert_eq!(write(0, CR0_PG | CR0_PE, &mut state), GP);
        state.cr4 = CR4_PAE;
        assert_eq!(write(0, CR0_PG | CR0_PE, &mut state), Ok(()));
        assert_eq!(state.efer, EFER_LME | EFER_LMA);
        assert_eq!(state.rip, 0xfff3);
        assert_eq!(write(0, CR0_PE, &mut state), Ok(()));
        assert_eq!(state.efer, EFER_LME);
    }

    #[test]
    fn a_cr4_bit_not_shown_in_cpuid_faults() {
        let mut state = GuestState::at_reset();
        assert_eq!(write(4, 1 << 13, &mut state), GP, "VMXE");
        assert_eq!(write(4, 1 << 22, &mut state), GP, "PKE");
        assert_eq!(write(4, 1 << 20, &mut state), Ok(()), "SMEP");
    }

    #[test]
    fn pae_entries_in_absent_memory_fault() {
        let mut state = GuestState::at_reset();
        state.cr4 = CR4_PAE;
        assert_eq!(write(0, CR0_PG | CR0_PE, &mut state), GP);
    }

    #[test]
    fn efer_takes_known_bits_and_keeps_lma() {
        let mut state = GuestState::at_reset();
        state.efer = EFER_LMA | EFER_LME;
        state.cr0 = CR0_PG | CR0_PE;
        assert_eq!(
            checked_efer(EFER_LME | EFER_NXE, &state),
            Ok(EFER_LMA | EFER_LME | EFER_NXE)
        );
        assert_eq!(
            checked_efer(0, &state),
            Err(Fault::GeneralProtection(0)),
            "LME while paging"
        );
        assert_eq!(
            checked_efer(EFER_LME | 1 << 12, &state),
            Err(Fault::GeneralProtection(0))
        );
    }

    #[test]
    fn lmsw_sets_protection_but_cannot_clear_it() {
        let mut state = GuestState::at_reset();
        let mut cr8 = 0;
        let mut rules = ControlRules {
            cr4: 0,
            cr8: &mut cr8,
        };
        for word in [1, 0] {
            let access = CrAccess {
                register: 0,
                operation: CrOperation::Lmsw(word),
            };
            rules.answer(access, &mut state, &mut NoMemory).unwrap();
            assert_eq!(state.cr0 & CR0_PE, CR0_PE);
        }
    }
}
