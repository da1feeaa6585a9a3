//! The fields of a VMCS, by name `[SDM 3D, "Field Encoding in VMCS", ed. 085]`.
//!
//! Owns the encodings of those that Skerry uses; the others stay 0, or have nothing to tell.
//!
//! Does not own VMREAD and VMWRITE: ring 0 has them, and offers [`VmcsRead`].

use skerry_words::Segment;

/// The encoding of one VMCS field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Field(u32);

/// Somebody who can read the fields of the current VMCS, or of one in a test.
pub trait VmcsRead {
    /// The field's value, zero-extended; 0 for a field this CPU does not have.
    fn read(&self, field: Field) -> u64;
}

impl Field {
    /// The operand of VMREAD and VMWRITE.
    #[inline]
    #[must_use]
    pub const fn encoding(self) -> u32 {
        self.0
    }

    /// The field with this encoding, for who knows more of them than are here.
    #[must_use]
    pub const fn new(encoding: u32) -> Self {
        Self(encoding)
    }

    /// The field `index` places further in a row of the same width.
    const fn nth(self, index: u32) -> Self {
        Self(self.0.wrapping_add(index << 1))
    }
}

/// The four fields of one guest segment register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFields {
    /// The visible selector.
    pub selector: Field,
    /// The linear base address.
    pub base: Field,
    /// The limit in bytes.
    pub limit: Field,
    /// The access rights.
    pub rights: Field,
}

/// The fields of a guest segment register. The manual numbers them in the order of
/// [`Segment`], so this is arithmetic and no table.
#[inline]
#[must_use]
pub const fn guest_segment(segment: Segment) -> SegmentFields {
    let index = segment as u32;
    SegmentFields {
        selector: GUEST_ES_SELECTOR.nth(index),
        base: GUEST_ES_BASE.nth(index),
        limit: GUEST_ES_LIMIT.nth(index),
        rights: GUEST_ES_RIGHTS.nth(index),
    }
}

macro_rules! fields {
    ($($encoding:literal $name:ident $doc:literal)*) => {
        $(
            #[doc = $doc]
            pub const $name: Field = Field($encoding);
        )*

        /// Every field here.
        pub const ALL: &[Field] = &[$($name,)*];
    };
}

fields! {
    // 16-bit control
    0x0000 VPID "Virtual-processor identifier."
    // 16-bit guest state
    0x0800 GUEST_ES_SELECTOR "Guest ES selector."
    // 16-bit host state
    0x0810 GUEST_INTERRUPT_STATUS "Guest interrupt status: RVI in 7:0, SVI in 15:8."
    0x0c00 HOST_ES_SELECTOR "Host ES selector."
    0x0c02 HOST_CS_SELECTOR "Host CS selector."
    0x0c04 HOST_SS_SELECTOR "Host SS selector."
    0x0c06 HOST_DS_SELECTOR "Host DS selector."
    0x0c08 HOST_FS_SELECTOR "Host FS selector."
    0x0c0a HOST_GS_SELECTOR "Host GS selector."
    0x0c0c HOST_TR_SELECTOR "Host TR selector."
    // 64-bit control
    0x2000 IO_BITMAP_A "Address of I/O bitmap A (ports 0 to 0x7fff)."
    0x2002 IO_BITMAP_B "Address of I/O bitmap B (ports 0x8000 to 0xffff)."
    0x2004 MSR_BITMAPS "Address of the MSR bitmaps."
    0x2010 TSC_OFFSET "TSC offset."
    0x2012 VIRTUAL_APIC_ADDRESS "Address of the virtual-APIC page."
    0x2014 APIC_ACCESS_ADDRESS "Address of the APIC-access page."
    0x201a EPT_POINTER "EPT pointer."
    0x201c EOI_EXITS_0 "Vectors 0 to 63 whose end exits."
    0x201e EOI_EXITS_1 "Vectors 64 to 127 whose end exits."
    0x2020 EOI_EXITS_2 "Vectors 128 to 191 whose end exits."
    0x2022 EOI_EXITS_3 "Vectors 192 to 255 whose end exits."
    // 64-bit exit information
    0x2400 GUEST_PHYSICAL_ADDRESS "Guest-physical address of an EPT violation or misconfiguration."
    // 64-bit guest state
    0x2800 VMCS_LINK_POINTER "VMCS link pointer; all ones for none."
    0x2802 GUEST_DEBUGCTL "Guest IA32_DEBUGCTL."
    0x2804 GUEST_PAT "Guest IA32_PAT."
    0x2806 GUEST_EFER "Guest IA32_EFER."
    0x280a GUEST_PDPTE0 "Guest PDPTE 0."
    0x280c GUEST_PDPTE1 "Guest PDPTE 1."
    0x280e GUEST_PDPTE2 "Guest PDPTE 2."
    0x2810 GUEST_PDPTE3 "Guest PDPTE 3."
    // 64-bit host state
    0x2c00 HOST_PAT "Host IA32_PAT."
    0x2c02 HOST_EFER "Host IA32_EFER."
    // 32-bit control
    0x4000 PIN_CONTROLS "Pin-based VM-execution controls."
    0x4002 PRIMARY_CONTROLS "Primary processor-based VM-execution controls."
    0x4004 EXCEPTION_BITMAP "Exception bitmap."
    0x4006 PAGE_FAULT_ERROR_CODE_MASK "Page-fault error-code mask."
    0x4008 PAGE_FAULT_ERROR_CODE_MATCH "Page-fault error-code match."
    0x400a CR3_TARGET_COUNT "CR3-target count."
    0x400c EXIT_CONTROLS "Primary VM-exit controls."
    0x400e EXIT_MSR_STORE_COUNT "VM-exit MSR-store count."
    0x4010 EXIT_MSR_LOAD_COUNT "VM-exit MSR-load count."
    0x4012 ENTRY_CONTROLS "VM-entry controls."
    0x4014 ENTRY_MSR_LOAD_COUNT "VM-entry MSR-load count."
    0x4016 ENTRY_INTERRUPTION_INFORMATION "VM-entry interruption-information: the event to inject."
    0x4018 ENTRY_EXCEPTION_ERROR_CODE "VM-entry exception error code."
    0x401a ENTRY_INSTRUCTION_LENGTH "VM-entry instruction length in bytes."
    0x401c TPR_THRESHOLD "TPR threshold."
    0x401e SECONDARY_CONTROLS "Secondary processor-based VM-execution controls."
    0x4020 PLE_GAP "Ticks between two PAUSEs of one loop, at most."
    0x4022 PLE_WINDOW "Ticks that a loop of PAUSE may take."
    // 32-bit exit information
    0x4400 INSTRUCTION_ERROR "VM-instruction error."
    0x4402 EXIT_REASON "Exit reason."
    0x4404 EXIT_INTERRUPTION_INFORMATION "VM-exit interruption information."
    0x4406 EXIT_INTERRUPTION_ERROR_CODE "VM-exit interruption error code."
    0x4408 IDT_VECTORING_INFORMATION "IDT-vectoring information: the event whose delivery exited."
    0x440a IDT_VECTORING_ERROR_CODE "IDT-vectoring error code."
    0x440c EXIT_INSTRUCTION_LENGTH "VM-exit instruction length in bytes."
    0x440e EXIT_INSTRUCTION_INFORMATION "VM-exit instruction information."
    // 32-bit guest state
    0x4800 GUEST_ES_LIMIT "Guest ES limit."
    0x4810 GUEST_GDTR_LIMIT "Guest GDTR limit."
    0x4812 GUEST_IDTR_LIMIT "Guest IDTR limit."
    0x4814 GUEST_ES_RIGHTS "Guest ES access rights."
    0x4816 GUEST_CS_RIGHTS "Guest CS access rights."
    0x4818 GUEST_SS_RIGHTS "Guest SS access rights."
    0x4824 GUEST_INTERRUPTIBILITY "Guest interruptibility state."
    0x4826 GUEST_ACTIVITY "Guest activity state."
    0x482a GUEST_SYSENTER_CS "Guest IA32_SYSENTER_CS."
    0x482e PREEMPTION_TIMER_VALUE "VMX-preemption timer value."
    // 32-bit host state
    0x4c00 HOST_SYSENTER_CS "Host IA32_SYSENTER_CS."
    // Natural-width control
    0x6000 CR0_MASK "CR0 guest/host mask: ones are the host's."
    0x6002 CR4_MASK "CR4 guest/host mask: ones are the host's."
    0x6004 CR0_READ_SHADOW "CR0 read shadow."
    0x6006 CR4_READ_SHADOW "CR4 read shadow."
    // Natural-width exit information
    0x6400 EXIT_QUALIFICATION "Exit qualification."
    0x640a GUEST_LINEAR_ADDRESS "Guest-linear address."
    // Natural-width guest state
    0x6800 GUEST_CR0 "Guest CR0."
    0x6802 GUEST_CR3 "Guest CR3."
    0x6804 GUEST_CR4 "Guest CR4."
    0x6806 GUEST_ES_BASE "Guest ES base."
    0x680e GUEST_FS_BASE "Guest FS base."
    0x6810 GUEST_GS_BASE "Guest GS base."
    0x6816 GUEST_GDTR_BASE "Guest GDTR base."
    0x6818 GUEST_IDTR_BASE "Guest IDTR base."
    0x681a GUEST_DR7 "Guest DR7."
    0x681c GUEST_RSP "Guest RSP."
    0x681e GUEST_RIP "Guest RIP."
    0x6820 GUEST_RFLAGS "Guest RFLAGS."
    0x6822 GUEST_PENDING_DEBUG "Guest pending debug exceptions."
    0x6824 GUEST_SYSENTER_ESP "Guest IA32_SYSENTER_ESP."
    0x6826 GUEST_SYSENTER_EIP "Guest IA32_SYSENTER_EIP."
    // Natural-width host state
    0x6c00 HOST_CR0 "Host CR0."
    0x6c02 HOST_CR3 "Host CR3."
    0x6c04 HOST_CR4 "Host CR4."
    0x6c06 HOST_FS_BASE "Host FS base."
    0x6c08 HOST_GS_BASE "Host GS base."
    0x6c0a HOST_TR_BASE "Host TR base."
    0x6c0c HOST_GDTR_BASE "Host GDTR base."
    0x6c0e HOST_IDTR_BASE "Host IDTR base."
    0x6c10 HOST_SYSENTER_ESP "Host IA32_SYSENTER_ESP."
    0x6c12 HOST_SYSENTER_EIP "Host IA32_SYSENTER_EIP."
    0x6c16 HOST_RIP "Host RIP."
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86::vmx::vmcs::{control, guest, host, ro};

    #[test]
    fn so_are_those_of_pause_loops() {
        assert_eq!(PLE_GAP.encoding(), control::PLE_GAP);
        assert_eq!(PLE_WINDOW.encoding(), control::PLE_WINDOW);
    }

    #[test]
    fn encodings_are_those_others_read_in_the_manual() {
        let pairs = [
            (VPID, control::VPID),
            (IO_BITMAP_B, control::IO_BITMAP_B_ADDR_FULL),
            (MSR_BITMAPS, control::MSR_BITMAPS_ADDR_FULL),
            (TSC_OFFSET, control::TSC_OFFSET_FULL),
            (EPT_POINTER, control::EPTP_FULL),
            (PIN_CONTROLS, control::PINBASED_EXEC_CONTROLS),
            (PRIMARY_CONTROLS, control::PRIMARY_PROCBASED_EXEC_CONTROLS),
            (EXCEPTION_BITMAP, control::EXCEPTION_BITMAP),
            (EXIT_CONTROLS, control::VMEXIT_CONTROLS),
            (ENTRY_CONTROLS, control::VMENTRY_CONTROLS),
            (
                ENTRY_INTERRUPTION_INFORMATION,
                control::VMENTRY_INTERRUPTION_INFO_FIELD,
            ),
            (
                ENTRY_EXCEPTION_ERROR_CODE,
                control::VMENTRY_EXCEPTION_ERR_CODE,
            ),
            (ENTRY_INSTRUCTION_LENGTH, control::VMENTRY_INSTRUCTION_LEN),
            (
                SECONDARY_CONTROLS,
                control::SECONDARY_PROCBASED_EXEC_CONTROLS,
            ),
            (CR0_MASK, control::CR0_GUEST_HOST_MASK),
            (CR4_READ_SHADOW, control::CR4_READ_SHADOW),
            (GUEST_PHYSICAL_ADDRESS, ro::GUEST_PHYSICAL_ADDR_FULL),
            (VIRTUAL_APIC_ADDRESS, control::VIRT_APIC_ADDR_FULL),
            (APIC_ACCESS_ADDRESS, control::APIC_ACCESS_ADDR_FULL),
            (EOI_EXITS_0, control::EOI_EXIT0_FULL),
            (TPR_THRESHOLD, control::TPR_THRESHOLD),
            (GUEST_INTERRUPT_STATUS, guest::INTERRUPT_STATUS),
            (INSTRUCTION_ERROR, ro::VM_INSTRUCTION_ERROR),
            (EXIT_REASON, ro::EXIT_REASON),
            (EXIT_INTERRUPTION_INFORMATION, ro::VMEXIT_INTERRUPTION_INFO),
            (IDT_VECTORING_INFORMATION, ro::IDT_VECTORING_INFO),
            (EXIT_INSTRUCTION_LENGTH, ro::VMEXIT_INSTRUCTION_LEN),
            (EXIT_INSTRUCTION_INFORMATION, ro::VMEXIT_INSTRUCTION_INFO),
            (EXIT_QUALIFICATION, ro::EXIT_QUALIFICATION),
            (GUEST_LINEAR_ADDRESS, ro::GUEST_LINEAR_ADDR),
            (VMCS_LINK_POINTER, guest::LINK_PTR_FULL),
            (GUEST_EFER, guest::IA32_EFER_FULL),
            (GUEST_PDPTE3, guest::PDPTE3_FULL),
            (GUEST_IDTR_LIMIT, guest::IDTR_LIMIT),
            (GUEST_INTERRUPTIBILITY, guest::INTERRUPTIBILITY_STATE),
            (GUEST_ACTIVITY, guest::ACTIVITY_STATE),
            (PREEMPTION_TIMER_VALUE, guest::VMX_PREEMPTION_TIMER_VALUE),
            (GUEST_RIP, guest::RIP),
            (GUEST_RFLAGS, guest::RFLAGS),
            (GUEST_PENDING_DEBUG, guest::PENDING_DBG_EXCEPTIONS),
            (HOST_TR_SELECTOR, host::TR_SELECTOR),
            (HOST_EFER, host::IA32_EFER_FULL),
            (HOST_IDTR_BASE, host::IDTR_BASE),
            (HOST_RIP, host::RIP),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours.encoding(), theirs, "{ours:?}");
        }
    }

    #[test]
    fn a_segments_fields_are_found_by_its_number() {
        let stack = guest_segment(Segment::Ss);
        assert_eq!(stack.selector.encoding(), guest::SS_SELECTOR);
        assert_eq!(stack.base.encoding(), guest::SS_BASE);
        let task = guest_segment(Segment::Tr);
        assert_eq!(task.limit.encoding(), guest::TR_LIMIT);
        assert_eq!(task.rights.encoding(), guest::TR_ACCESS_RIGHTS);
    }
}
