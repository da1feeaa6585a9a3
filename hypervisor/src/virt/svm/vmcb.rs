//! The guest state between the VMCB and the shared page.
//!
//! Owns one VMCB's memory, its clean bits, and which fields make a group, in both
//! directions. Does not own what is needed when: `manual::svm::groups` and the VMM's dirty
//! set say so. Called by `Vcpu::enter`.
//!
//! The hardware's CR0 and CR4 are the guest's, bit for bit: there is nothing to hide. EFER
//! has SVME set in the VMCB alone.

use crate::mem::{self, OwnedFrame};
use skerry_manual::ANY_MEMORY_EXIT;
use skerry_manual::msr::efer;
use skerry_manual::svm::caps::Features;
use skerry_manual::svm::{self, CleanBits, Field, VmcbRead, field, segment};
use skerry_words::{
    AccessRights, Gpr, GuestState, Hpa, Segment, SegmentRegister, Shadow, StateGroups,
    TableRegister,
};

const CR0_PE: u64 = 1 << 0;
const RFLAGS_VM: u64 = 1 << 17;
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

/// Where a VMCB is in the direct map: a copy to read by, so that the address stays in a
/// register.
#[derive(Clone, Copy)]
pub struct View(*mut u8);

/// One VMCB.
pub struct Vmcb {
    view: View,
    frame: OwnedFrame,
    clean: CleanBits,
}

impl VmcbRead for View {
    #[inline(always)]
    fn read(&self, field: Field) -> u64 {
        let at = self.place(field);
        match field.bytes() {
            // SAFETY: `place` is inside the VMCB's frame and aligned to the field's size, for
            // it and the three below; the CPU writes the frame only inside `enter`.
            1 => u64::from(unsafe { at.read_volatile() }),
            // SAFETY: as above.
            2 => u64::from(unsafe { at.cast::<u16>().read_volatile() }),
            // SAFETY: as above.
            4 => u64::from(unsafe { at.cast::<u32>().read_volatile() }),
            // SAFETY: as above.
            _ => unsafe { at.cast::<u64>().read_volatile() },
        }
    }
}

impl Vmcb {
    /// An empty one; `None` without a frame.
    pub fn new() -> Option<Self> {
        let frame = OwnedFrame::zeroed()?;
        Some(Self {
            view: View(mem::pointer(frame.start())),
            frame,
            clean: CleanBits::empty(),
        })
    }

    /// Its physical address, for the CPU.
    #[inline(always)]
    pub fn start(&self) -> Hpa {
        self.frame.start()
    }

    /// Its fields, to read. Only while this VMCB lives.
    #[inline(always)]
    pub fn view(&self) -> View {
        self.view
    }

    /// Writes a field, and no longer calls its part of the VMCB clean.
    ///
    /// # Safety
    /// The value decides what the next entry does.
    #[inline(always)]
    pub unsafe fn write(&mut self, field: Field, value: u64) {
        if !field.clean().is_empty() {
            self.clean = self.clean.difference(field.clean());
        }
        let at = self.view.place(field);
        match field.bytes() {
            // SAFETY: `place` is inside this VMCB's frame and aligned to the field's size, for
            // it and the three below; the CPU reads the frame only inside `enter`.
            1 => unsafe { at.write_volatile(value as u8) },
            // SAFETY: as above.
            2 => unsafe { at.cast::<u16>().write_volatile(value as u16) },
            // SAFETY: as above.
            4 => unsafe { at.cast::<u32>().write_volatile(value as u32) },
            // SAFETY: as above.
            _ => unsafe { at.cast::<u64>().write_volatile(value) },
        }
    }

    /// Writes several fields.
    ///
    /// # Safety
    /// As for [`Vmcb::write`], for each pair.
    pub unsafe fn write_all(&mut self, values: &[(Field, u64)]) {
        for (field, value) in values {
            // SAFETY: by the caller's promise for each pair.
            unsafe { self.write(*field, *value) };
        }
    }

    /// Tells the CPU what has not changed since the last exit; afterwards nothing has.
    #[inline(always)]
    pub fn seal(&mut self, clean_after: CleanBits) {
        let clean = core::mem::replace(&mut self.clean, clean_after);
        // SAFETY: every write since the last exit has taken its clean bit away.
        unsafe { self.write(field::CLEAN_BITS, u64::from(clean.bits())) };
    }

    /// Writes the groups the VMM changed, and clears `dirty`.
    ///
    /// # Safety
    /// The VMCB is that of the vCPU with this page.
    #[inline(always)]
    pub unsafe fn write_back(&mut self, state: &mut GuestState) {
        let dirty = core::mem::take(&mut state.dirty);
        if dirty.contains(StateGroups::INSTRUCTION) {
            // SAFETY: guest fields; the CPU checks them on entry.
            unsafe { self.write(field::RIP, state.rip) };
        }
        // After nearly all exits nothing else has changed.
        if dirty == StateGroups::INSTRUCTION {
            return;
        }
        let others = dirty.difference(StateGroups::INSTRUCTION);
        if others == StateGroups::FLAGS {
            // SAFETY: guest fields; the CPU checks them on entry.
            unsafe { self.write_flags(state) };
        } else if !others.is_empty() {
            // SAFETY: as above.
            unsafe { self.write_rare(state, dirty) };
        }
    }

    /// The flags and what blocks interrupts: every HLT behind STI changes them.
    ///
    /// # Safety
    /// As for [`Vmcb::write_back`].
    unsafe fn write_flags(&mut self, state: &GuestState) {
        let shadow = state.shadow.intersects(Shadow::STI.union(Shadow::MOV_SS));
        // SAFETY: guest fields; the CPU checks them on entry.
        unsafe { self.write(field::RFLAGS, state.rflags) };
        // SAFETY: as above.
        unsafe { self.write(field::INTERRUPT_STATE, u64::from(shadow)) };
    }

    /// The groups that change seldom.
    ///
    /// # Safety
    /// As for [`Vmcb::write_back`].
    #[cold]
    unsafe fn write_rare(&mut self, state: &GuestState, dirty: StateGroups) {
        if dirty.contains(StateGroups::FLAGS) {
            // SAFETY: as for this function.
            unsafe { self.write_flags(state) };
        }
        let groups = [
            (StateGroups::STACK, field::RSP, state.gpr[Gpr::Rsp as usize]),
            (StateGroups::CR2, field::CR2, state.cr2),
            (StateGroups::CONTROL, field::CR0, state.cr0),
            (StateGroups::CONTROL, field::CR3, state.cr3),
            (StateGroups::CONTROL, field::CR4, state.cr4),
            (StateGroups::CONTROL, field::EFER, state.efer | efer::SVME),
            (StateGroups::DEBUG, field::DR7, state.dr7),
            (StateGroups::SEGMENTS, field::GDTR.base, state.gdtr.base),
            (StateGroups::SEGMENTS, field::GDTR.limit, state.gdtr.limit),
            (StateGroups::SEGMENTS, field::IDTR.base, state.idtr.base),
            (StateGroups::SEGMENTS, field::IDTR.limit, state.idtr.limit),
            (StateGroups::SEGMENTS, field::CPL, privilege(state)),
            (StateGroups::MSRS, field::SYSENTER_CS, state.sysenter[0]),
            (StateGroups::MSRS, field::SYSENTER_ESP, state.sysenter[1]),
            (StateGroups::MSRS, field::SYSENTER_EIP, state.sysenter[2]),
            (StateGroups::MSRS, field::GUEST_PAT, state.pat),
            (StateGroups::MSRS, field::STAR, state.system_msrs[0]),
            (StateGroups::MSRS, field::LSTAR, state.system_msrs[1]),
            (StateGroups::MSRS, field::CSTAR, state.system_msrs[2]),
            (StateGroups::MSRS, field::SFMASK, state.system_msrs[3]),
            (
                StateGroups::MSRS,
                field::KERNEL_GS_BASE,
                state.system_msrs[4],
            ),
        ];
        for (_, field, value) in groups.iter().filter(|(group, ..)| dirty.contains(*group)) {
            // SAFETY: guest fields; the CPU checks them on entry.
            unsafe { self.write(*field, *value) };
        }
        if dirty.contains(StateGroups::SEGMENTS) {
            // SAFETY: as above.
            unsafe { self.write_segments(state) };
        }
    }

    /// All segment registers.
    ///
    /// # Safety
    /// As for [`Vmcb::write_back`].
    unsafe fn write_segments(&mut self, state: &GuestState) {
        for (register, name) in state.segments.iter().zip(SEGMENTS) {
            let fields = field::segment(name);
            let values = [
                (fields.selector, u64::from(register.selector)),
                (
                    fields.attributes,
                    u64::from(segment::attributes(register.rights)),
                ),
                (fields.limit, u64::from(register.limit)),
                (fields.base, register.base),
            ];
            // SAFETY: guest fields; the CPU checks them on entry.
            unsafe { self.write_all(&values) };
        }
    }
}

impl View {
    #[inline(always)]
    fn place(self, field: Field) -> *mut u8 {
        self.0.wrapping_add(usize::from(field.offset()))
    }

    /// Reads the groups an exit needs into the page and says so in `valid`.
    #[inline(always)]
    pub fn fill(self, state: &mut GuestState, groups: StateGroups, blocks: Shadow) {
        state.gpr[Gpr::Rax as usize] = self.read(field::RAX);
        state.rip = self.read(field::RIP);
        state.rflags = self.read(field::RFLAGS);
        let shadowed = self.read(field::INTERRUPT_STATE) & field::INTERRUPT_SHADOW;
        state.shadow = Shadow::from_bits_retain(shadowed as u32 | blocks.bits());
        state.valid = groups;
        if groups != StateGroups::INSTRUCTION {
            self.fill_more(state, groups);
        }
    }

    /// The same for a memory access, whose groups are known when this is compiled.
    #[inline(always)]
    pub fn fill_for_memory(self, state: &mut GuestState, blocks: Shadow) {
        const GROUPS: StateGroups = svm::groups(&ANY_MEMORY_EXIT, Features::empty());
        self.fill(state, GROUPS, blocks);
    }

    #[inline(always)]
    fn fill_more(self, state: &mut GuestState, groups: StateGroups) {
        state.cpl = self.read(field::CPL) as u32;
        if groups.contains(StateGroups::STACK) {
            state.gpr[Gpr::Rsp as usize] = self.read(field::RSP);
        }
        if groups.contains(StateGroups::CONTROL) {
            state.cr0 = self.read(field::CR0);
            state.cr3 = self.read(field::CR3);
            state.cr4 = self.read(field::CR4);
            state.efer = self.read(field::EFER) & !efer::SVME;
        }
        if groups.intersects(StateGroups::CODE.union(StateGroups::OPERAND)) {
            self.fill_code(state, groups);
        }
        if groups.intersects(StateGroups::SEGMENTS.union(StateGroups::DEBUG)) {
            self.fill_rare(state);
        }
    }

    /// In 64-bit mode all segments but FS and GS start at 0 and have no limit
    /// `[APM 2, "Segmentation in 64-Bit Mode", rev. 3.42]`.
    #[inline(always)]
    fn fill_code(self, state: &mut GuestState, groups: StateGroups) {
        let attributes = self.read(field::segment(Segment::Cs).attributes) as u16;
        let code = segment::present_rights(attributes);
        if state.efer & efer::LMA != 0 && code.contains(AccessRights::LONG) {
            state.segments[Segment::Cs as usize].rights = code;
            if groups.contains(StateGroups::OPERAND) {
                for name in [Segment::Fs, Segment::Gs] {
                    state.segments[name as usize].base = self.read(field::segment(name).base);
                }
            }
        } else {
            self.fill_segments(state);
        }
    }

    #[inline(never)]
    fn fill_segments(self, state: &mut GuestState) {
        for (slot, name) in state.segments.iter_mut().zip(SEGMENTS) {
            *slot = self.segment(name);
        }
    }

    #[cold]
    fn fill_rare(self, state: &mut GuestState) {
        self.fill_segments(state);
        state.gdtr = self.table(field::GDTR);
        state.idtr = self.table(field::IDTR);
        state.dr7 = self.read(field::DR7);
        state.pending_debug = 0;
        state.valid |= StateGroups::SEGMENTS | StateGroups::DEBUG;
    }

    #[inline(always)]
    fn segment(self, name: Segment) -> SegmentRegister {
        let fields = field::segment(name);
        SegmentRegister::new(
            self.read(fields.selector) as u16,
            self.read(fields.base),
            self.read(fields.limit) as u32,
            segment::rights(self.read(fields.attributes) as u16, name),
        )
    }

    fn table(self, fields: field::SegmentFields) -> TableRegister {
        TableRegister {
            base: self.read(fields.base),
            limit: self.read(fields.limit) & 0xffff,
        }
    }
}

/// What the current privilege level must be with these segments.
fn privilege(state: &GuestState) -> u64 {
    if state.cr0 & CR0_PE == 0 {
        0
    } else if state.rflags & RFLAGS_VM != 0 {
        3
    } else {
        u64::from(state.segment(Segment::Ss).rights.dpl())
    }
}

/// All clean bits, where the CPU looks at them.
pub fn clean_after(features: Features) -> CleanBits {
    if features.contains(Features::CLEAN_BITS) {
        CleanBits::all()
    } else {
        CleanBits::empty()
    }
}
