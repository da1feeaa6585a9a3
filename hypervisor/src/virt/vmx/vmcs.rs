//! The guest state between the VMCS and the shared page.
//!
//! Owns which fields make a group, in both directions, and the masks that keep the host's
//! bits of CR0 and CR4 out of the guest's sight. Does not own what is needed when:
//! `manual::vmx::groups` and the VMM's dirty set say so. Called by `Vcpu::enter`.

use super::insn::{vmread, vmwrite};
use skerry_manual::ANY_MEMORY_EXIT;
use skerry_manual::vmx::{self, EntryControls, Field, VmcsRead, field};
use skerry_words::{
    AccessRights, Activity, ExitKind, Gpr, GuestState, Segment, SegmentRegister, Shadow,
    StateGroups, TableRegister,
};

const CR0_NE: u64 = 1 << 5;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR4_VMXE: u64 = 1 << 13;
const CR4_PAE: u64 = 1 << 5;
/// The host's, so that the page always has it: CPUID shows it.
const CR4_OSXSAVE: u64 = 1 << 18;
const EFER_LMA: u64 = 1 << 10;
const SEGMENTS: [Segment; 8] = [
    Segment::Es,
    Segment::Cs,
    Segment::Ss,
    Segment::Ds,
    Segment::Fs,
    Segment::Gs,
    Segment::Ldtr,
    Segment::Tr,
];

/// The current VMCS, for the decoder: it reads fields every CPU with EPT has.
pub struct Current;

impl VmcsRead for Current {
    #[inline(always)]
    fn read(&self, field: Field) -> u64 {
        vmread(field)
    }
}

/// Which bits of CR0 and CR4 a guest changes without an exit, and the rest as it sees them.
#[derive(Clone, Copy, Debug)]
pub struct ControlRegisters {
    cr0_mask: u64,
    cr4_mask: u64,
    cr0_shadow: u64,
    cr4_shadow: u64,
}

impl ControlRegisters {
    /// Masks that leave the guest the permitted bits but those the host must keep.
    pub fn new(permitted_cr0: u64, permitted_cr4: u64) -> Self {
        Self {
            cr0_mask: !permitted_cr0 | CR0_NE | CR0_NW | CR0_CD,
            cr4_mask: !permitted_cr4 | CR4_VMXE | CR4_OSXSAVE,
            cr0_shadow: 0,
            cr4_shadow: 0,
        }
    }

    /// Writes the masks, once per VMCS.
    ///
    /// # Safety
    /// The current VMCS is the one these masks are for.
    pub unsafe fn write_masks(&self) {
        // SAFETY: ones are the host's bits; a guest's write to one exits.
        unsafe { vmwrite(field::CR0_MASK, self.cr0_mask) };
        // SAFETY: as above.
        unsafe { vmwrite(field::CR4_MASK, self.cr4_mask) };
    }

    #[inline]
    fn fill(&self, state: &mut GuestState) {
        state.cr0 = (vmread(field::GUEST_CR0) & !self.cr0_mask) | (self.cr0_shadow & self.cr0_mask);
        state.cr3 = vmread(field::GUEST_CR3);
        state.cr4 = (vmread(field::GUEST_CR4) & !self.cr4_mask) | (self.cr4_shadow & self.cr4_mask);
        state.efer = vmread(field::GUEST_EFER);
    }

    /// The hardware's CR0 never disables caching and always reports FPU errors natively;
    /// its CR4 keeps VMXE, as VMX operation demands.
    ///
    /// # Safety
    /// As for [`write_back`].
    unsafe fn write(&mut self, state: &GuestState) {
        self.cr0_shadow = state.cr0;
        self.cr4_shadow = state.cr4;
        let cr0 = (state.cr0 & !(CR0_NW | CR0_CD)) | CR0_NE;
        let entry = EntryControls::from_bits_retain(vmread(field::ENTRY_CONTROLS) as u32);
        let long = state.efer & EFER_LMA != 0;
        let entry = if long {
            entry | EntryControls::IA32E_MODE_GUEST
        } else {
            entry - EntryControls::IA32E_MODE_GUEST
        };
        let values = [
            (field::GUEST_CR0, cr0),
            (field::CR0_READ_SHADOW, state.cr0),
            (field::GUEST_CR3, state.cr3),
            (field::GUEST_CR4, state.cr4 | CR4_VMXE),
            (field::CR4_READ_SHADOW, state.cr4),
            (field::GUEST_EFER, state.efer),
            (field::ENTRY_CONTROLS, u64::from(entry.bits())),
        ];
        // SAFETY: guest fields; the CPU checks them on entry.
        unsafe { write_all(&values) };
    }
}

/// Writes each value to its field.
///
/// # Safety
/// As for `vmwrite`, for each pair.
unsafe fn write_all(values: &[(Field, u64)]) {
    for (field, value) in values {
        // SAFETY: by the caller's promise for each pair.
        unsafe { vmwrite(*field, *value) };
    }
}

/// Reads the groups an exit needs into the page and says so in `valid`.
#[inline]
pub fn fill(state: &mut GuestState, groups: StateGroups, control: &ControlRegisters) {
    fill_instruction(state, groups);
    if groups != StateGroups::INSTRUCTION {
        fill_others(state, groups, control);
    }
}

/// The same for a plain exit. Of the MSRs that exit only EFER's rules look at other registers.
#[inline(always)]
pub fn fill_plain(state: &mut GuestState, kind: ExitKind, control: &ControlRegisters) {
    const EFER: u32 = 0xc000_0080;
    fill_instruction(state, StateGroups::INSTRUCTION);
    if kind == ExitKind::Hypercall {
        fill_others(
            state,
            StateGroups::INSTRUCTION | StateGroups::PRIVILEGE,
            control,
        );
    } else if kind != ExitKind::Cpuid && state.get(Gpr::Rcx) as u32 == EFER {
        fill_others(
            state,
            StateGroups::INSTRUCTION | StateGroups::CONTROL,
            control,
        );
    }
}

/// The same for a memory access, whose groups are known when this is compiled.
pub fn fill_for_memory(state: &mut GuestState, control: &ControlRegisters) {
    const GROUPS: StateGroups = vmx::groups(&ANY_MEMORY_EXIT);
    fill_instruction(state, GROUPS);
    fill_more(state, GROUPS, control);
}

#[inline(always)]
fn fill_instruction(state: &mut GuestState, groups: StateGroups) {
    state.rip = vmread(field::GUEST_RIP);
    state.rflags = vmread(field::GUEST_RFLAGS);
    state.instruction_bytes = vmread(field::EXIT_INSTRUCTION_LENGTH) as u32;
    state.shadow = Shadow::from_bits_retain(vmread(field::GUEST_INTERRUPTIBILITY) as u32);
    state.valid = groups;
}

fn fill_others(state: &mut GuestState, groups: StateGroups, control: &ControlRegisters) {
    fill_more(state, groups, control);
}

#[inline(always)]
fn fill_more(state: &mut GuestState, groups: StateGroups, control: &ControlRegisters) {
    if groups.contains(StateGroups::PRIVILEGE) {
        state.cpl = (vmread(field::GUEST_SS_RIGHTS) as u32 >> 5) & 3;
    }
    if groups.contains(StateGroups::STACK) {
        state.gpr[Gpr::Rsp as usize] = vmread(field::GUEST_RSP);
    }
    if groups.contains(StateGroups::CONTROL) {
        control.fill(state);
    }
    if groups.contains(StateGroups::OPERAND) {
        fill_operand(state);
    }
    if groups.intersects(StateGroups::SEGMENTS.union(StateGroups::DEBUG)) {
        fill_rare(state);
    }
}

/// In 64-bit mode all segments but FS and GS start at 0 and have no limit
/// `[SDM 1, "Segmentation in 64-Bit Mode", ed. 085]`.
#[inline(always)]
fn fill_operand(state: &mut GuestState) {
    let code = AccessRights::from_bits_retain(vmread(field::GUEST_CS_RIGHTS) as u32);
    if state.efer & EFER_LMA != 0 && code.contains(AccessRights::LONG) {
        state.segments[Segment::Cs as usize].rights = code;
        state.segments[Segment::Fs as usize].base = vmread(field::GUEST_FS_BASE);
        state.segments[Segment::Gs as usize].base = vmread(field::GUEST_GS_BASE);
        state.valid = state.valid.difference(StateGroups::PDPTES);
        return;
    }
    fill_operand_by_segments(state);
}

#[cold]
fn fill_operand_by_segments(state: &mut GuestState) {
    fill_segments(state);
    if state.cr4 & CR4_PAE == 0 || state.efer & EFER_LMA != 0 {
        state.valid = state.valid.difference(StateGroups::PDPTES);
    } else {
        fill_pdptes(state);
    }
}

fn fill_segments(state: &mut GuestState) {
    for (slot, segment) in state.segments.iter_mut().zip(SEGMENTS) {
        *slot = read_segment(segment);
    }
}

fn fill_pdptes(state: &mut GuestState) {
    let pdptes = [
        field::GUEST_PDPTE0,
        field::GUEST_PDPTE1,
        field::GUEST_PDPTE2,
        field::GUEST_PDPTE3,
    ];
    state.pdpte = pdptes.map(vmread);
}

#[cold]
fn fill_rare(state: &mut GuestState) {
    fill_segments(state);
    state.gdtr = read_table(field::GUEST_GDTR_BASE, field::GUEST_GDTR_LIMIT);
    state.idtr = read_table(field::GUEST_IDTR_BASE, field::GUEST_IDTR_LIMIT);
    fill_pdptes(state);
    state.dr7 = vmread(field::GUEST_DR7);
    state.pending_debug = vmread(field::GUEST_PENDING_DEBUG);
    state.valid |= StateGroups::SEGMENTS | StateGroups::PDPTES | StateGroups::DEBUG;
}

fn read_segment(segment: Segment) -> SegmentRegister {
    let fields = field::guest_segment(segment);
    SegmentRegister::new(
        vmread(fields.selector) as u16,
        vmread(fields.base),
        vmread(fields.limit) as u32,
        AccessRights::from_bits_retain(vmread(fields.rights) as u32),
    )
}

fn read_table(base: Field, limit: Field) -> TableRegister {
    TableRegister {
        base: vmread(base),
        limit: vmread(limit),
    }
}

/// Writes the groups the VMM changed, and clears `dirty`.
///
/// # Safety
/// The current VMCS is that of the vCPU with this page.
#[inline]
pub unsafe fn write_back(state: &mut GuestState, control: &mut ControlRegisters) {
    let dirty = core::mem::take(&mut state.dirty);
    if dirty.contains(StateGroups::INSTRUCTION) {
        // SAFETY: guest fields; the CPU checks them on entry.
        unsafe { vmwrite(field::GUEST_RIP, state.rip) };
    }
    if dirty.difference(StateGroups::INSTRUCTION).is_empty() {
        return;
    }
    write_more(state, dirty, control);
}

fn write_more(state: &mut GuestState, dirty: StateGroups, control: &mut ControlRegisters) {
    if dirty.contains(StateGroups::FLAGS) {
        // SAFETY: guest fields; the CPU checks them on entry.
        unsafe { vmwrite(field::GUEST_RFLAGS, state.rflags) };
        // SAFETY: as above.
        unsafe {
            vmwrite(
                field::GUEST_INTERRUPTIBILITY,
                u64::from(state.shadow.bits()),
            )
        };
    }
    if dirty.contains(StateGroups::STACK) {
        // SAFETY: the guest's own stack pointer; any value is the guest's affair.
        unsafe { vmwrite(field::GUEST_RSP, state.gpr[Gpr::Rsp as usize]) };
    }
    if dirty.contains(StateGroups::CONTROL) {
        // SAFETY: the masks keep the host's bits.
        unsafe { control.write(state) };
    }
    // SAFETY: guest fields; the CPU checks them on entry.
    unsafe { write_rare(state, dirty) };
}

/// The groups that change seldom.
///
/// # Safety
/// As for [`write_back`].
#[cold]
unsafe fn write_rare(state: &GuestState, dirty: StateGroups) {
    if dirty.contains(StateGroups::SEGMENTS) {
        // SAFETY: guest fields; the CPU checks them on entry.
        unsafe { write_segments(state) };
    }
    let groups = [
        (StateGroups::PDPTES, field::GUEST_PDPTE0, state.pdpte[0]),
        (StateGroups::PDPTES, field::GUEST_PDPTE1, state.pdpte[1]),
        (StateGroups::PDPTES, field::GUEST_PDPTE2, state.pdpte[2]),
        (StateGroups::PDPTES, field::GUEST_PDPTE3, state.pdpte[3]),
        (StateGroups::DEBUG, field::GUEST_DR7, state.dr7),
        (
            StateGroups::DEBUG,
            field::GUEST_PENDING_DEBUG,
            state.pending_debug,
        ),
        (
            StateGroups::ACTIVITY,
            field::GUEST_ACTIVITY,
            u64::from(Activity::ACTIVE.0),
        ),
        (
            StateGroups::MSRS,
            field::GUEST_SYSENTER_CS,
            state.sysenter[0],
        ),
        (
            StateGroups::MSRS,
            field::GUEST_SYSENTER_ESP,
            state.sysenter[1],
        ),
        (
            StateGroups::MSRS,
            field::GUEST_SYSENTER_EIP,
            state.sysenter[2],
        ),
        (StateGroups::MSRS, field::GUEST_PAT, state.pat),
    ];
    for (_, field, value) in groups.iter().filter(|(group, ..)| dirty.contains(*group)) {
        // SAFETY: guest fields; the CPU checks them on entry.
        unsafe { vmwrite(*field, *value) };
    }
}

/// All segment and table registers.
///
/// # Safety
/// As for [`write_back`].
unsafe fn write_segments(state: &GuestState) {
    for (register, segment) in state.segments.iter().zip(SEGMENTS) {
        let fields = field::guest_segment(segment);
        let values = [
            (fields.selector, u64::from(register.selector)),
            (fields.base, register.base),
            (fields.limit, u64::from(register.limit)),
            (fields.rights, u64::from(register.rights.bits())),
        ];
        // SAFETY: guest fields; the CPU checks them on entry.
        unsafe { write_all(&values) };
    }
    let tables = [
        (field::GUEST_GDTR_BASE, state.gdtr.base),
        (field::GUEST_GDTR_LIMIT, state.gdtr.limit),
        (field::GUEST_IDTR_BASE, state.idtr.base),
        (field::GUEST_IDTR_LIMIT, state.idtr.limit),
    ];
    // SAFETY: as above.
    unsafe { write_all(&tables) };
}
