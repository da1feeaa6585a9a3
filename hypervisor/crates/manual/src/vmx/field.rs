//! The fields of a VMCS, by name `[SDM 3D, "Field Encoding in VMCS", ed. 085]`.
//!
//! Owns the encodings and what an encoding itself tells (width, who may write it). The
//! FRED, SEAM and executive-monitor fields are left out: nothing here uses them.
//!
//! Does not own VMREAD and VMWRITE: ring 0 has them, and offers [`VmcsRead`].

use skerry_words::Segment;

/// The encoding of one VMCS field. Only the constants of this module make one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Field(u32);

/// How wide a field is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldWidth {
    /// 16 bits.
    Bits16,
    /// 64 bits on every CPU.
    Bits64,
    /// 32 bits.
    Bits32,
    /// As wide as the host's registers: 64 bits here.
    Natural,
}

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

    /// The field's width: bits 14:13 of the encoding.
    #[must_use]
    pub const fn width(self) -> FieldWidth {
        match (self.0 >> 13) & 3 {
            0 => FieldWidth::Bits16,
            1 => FieldWidth::Bits64,
            2 => FieldWidth::Bits32,
            _ => FieldWidth::Natural,
        }
    }

    /// Whether it is of the VM-exit information, which older CPUs refuse to VMWRITE:
    /// type 1 in bits 11:10 of the encoding.
    #[must_use]
    pub const fn is_exit_information(self) -> bool {
        (self.0 >> 10) & 3 == 1
    }

    /// Its name, for dumps.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter()
            .find(|(field, _)| *field == self)
            .map_or("?", |(_, name)| name)
    }

    /// The field `index` places further in a row of the same width.
    const fn nth(self, index: u32) -> Self {
        Self(self.0.wrapping_add(index << 1))
    }
}

impl core::fmt::Display for Field {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} ({:#06x})", self.name(), self.0)
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

        /// Every field here with its name, in the order of the encodings' groups.
        pub const ALL: &[(Field, &str)] = &[$(($name, stringify!($name)),)*];
    };
}

fields! {
    // 16-bit control
    0x0000 VPID "Virtual-processor identifier."
    0x0002 POSTED_INTERRUPT_NOTIFICATION_VECTOR "Posted-interrupt notification vector."
    0x0004 EPTP_INDEX "EPTP index."
    0x0006 HLAT_PREFIX_SIZE "HLAT prefix size."
    0x0008 LAST_PID_POINTER_INDEX "Last PID-pointer index."
    // 16-bit guest state
    0x0800 GUEST_ES_SELECTOR "Guest ES selector."
    0x0802 GUEST_CS_SELECTOR "Guest CS selector."
    0x0804 GUEST_SS_SELECTOR "Guest SS selector."
    0x0806 GUEST_DS_SELECTOR "Guest DS selector."
    0x0808 GUEST_FS_SELECTOR "Guest FS selector."
    0x080a GUEST_GS_SELECTOR "Guest GS selector."
    0x080c GUEST_LDTR_SELECTOR "Guest LDTR selector."
    0x080e GUEST_TR_SELECTOR "Guest TR selector."
    0x0810 GUEST_INTERRUPT_STATUS "Guest interrupt status: RVI in 7:0, SVI in 15:8."
    0x0812 PML_INDEX "Page-modification-log index."
    0x0814 GUEST_UINV "Guest user-interrupt notification vector."
    // 16-bit host state
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
    0x2006 EXIT_MSR_STORE_ADDRESS "VM-exit MSR-store address."
    0x2008 EXIT_MSR_LOAD_ADDRESS "VM-exit MSR-load address."
    0x200a ENTRY_MSR_LOAD_ADDRESS "VM-entry MSR-load address."
    0x200e PML_ADDRESS "Page-modification-log address."
    0x2010 TSC_OFFSET "TSC offset."
    0x2012 VIRTUAL_APIC_ADDRESS "Virtual-APIC address."
    0x2014 APIC_ACCESS_ADDRESS "APIC-access address."
    0x2016 POSTED_INTERRUPT_DESCRIPTOR "Posted-interrupt descriptor address."
    0x2018 VM_FUNCTION_CONTROLS "VM-function controls."
    0x201a EPT_POINTER "EPT pointer."
    0x201c EOI_EXIT_BITMAP_0 "EOI-exit bitmap, vectors 0 to 63."
    0x201e EOI_EXIT_BITMAP_1 "EOI-exit bitmap, vectors 64 to 127."
    0x2020 EOI_EXIT_BITMAP_2 "EOI-exit bitmap, vectors 128 to 191."
    0x2022 EOI_EXIT_BITMAP_3 "EOI-exit bitmap, vectors 192 to 255."
    0x2024 EPTP_LIST_ADDRESS "EPTP-list address."
    0x2026 VMREAD_BITMAP "VMREAD-bitmap address."
    0x2028 VMWRITE_BITMAP "VMWRITE-bitmap address."
    0x202a VIRTUALIZATION_EXCEPTION_ADDRESS "Virtualization-exception information address."
    0x202c XSS_EXITING_BITMAP "XSS-exiting bitmap."
    0x202e ENCLS_EXITING_BITMAP "ENCLS-exiting bitmap."
    0x2030 SUB_PAGE_PERMISSION_TABLE "Sub-page-permission-table pointer."
    0x2032 TSC_MULTIPLIER "TSC multiplier, 48 bits after the binary point."
    0x2034 TERTIARY_CONTROLS "Tertiary processor-based VM-execution controls."
    0x2036 ENCLV_EXITING_BITMAP "ENCLV-exiting bitmap."
    0x203e PCONFIG_EXITING_BITMAP "PCONFIG-exiting bitmap."
    0x2040 HLAT_POINTER "HLAT pointer."
    0x2042 PID_POINTER_TABLE "PID-pointer table address."
    0x2044 SECONDARY_EXIT_CONTROLS "Secondary VM-exit controls."
    0x204a SPEC_CTRL_MASK "IA32_SPEC_CTRL mask."
    0x204c SPEC_CTRL_SHADOW "IA32_SPEC_CTRL shadow."
    // 64-bit exit information
    0x2400 GUEST_PHYSICAL_ADDRESS "Guest-physical address of an EPT violation or misconfiguration."
    // 64-bit guest state
    0x2800 VMCS_LINK_POINTER "VMCS link pointer; all ones for none."
    0x2802 GUEST_DEBUGCTL "Guest IA32_DEBUGCTL."
    0x2804 GUEST_PAT "Guest IA32_PAT."
    0x2806 GUEST_EFER "Guest IA32_EFER."
    0x2808 GUEST_PERF_GLOBAL_CTRL "Guest IA32_PERF_GLOBAL_CTRL."
    0x280a GUEST_PDPTE0 "Guest PDPTE 0."
    0x280c GUEST_PDPTE1 "Guest PDPTE 1."
    0x280e GUEST_PDPTE2 "Guest PDPTE 2."
    0x2810 GUEST_PDPTE3 "Guest PDPTE 3."
    0x2812 GUEST_BNDCFGS "Guest IA32_BNDCFGS."
    0x2814 GUEST_RTIT_CTL "Guest IA32_RTIT_CTL."
    0x2816 GUEST_LBR_CTL "Guest IA32_LBR_CTL."
    0x2818 GUEST_PKRS "Guest IA32_PKRS."
    // 64-bit host state
    0x2c00 HOST_PAT "Host IA32_PAT."
    0x2c02 HOST_EFER "Host IA32_EFER."
    0x2c04 HOST_PERF_GLOBAL_CTRL "Host IA32_PERF_GLOBAL_CTRL."
    0x2c06 HOST_PKRS "Host IA32_PKRS."
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
    0x4020 PLE_GAP "PAUSE-loop gap, in TSC ticks."
    0x4022 PLE_WINDOW "PAUSE-loop window, in TSC ticks."
    0x4024 INSTRUCTION_TIMEOUT "Instruction-timeout control."
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
    0x4802 GUEST_CS_LIMIT "Guest CS limit."
    0x4804 GUEST_SS_LIMIT "Guest SS limit."
    0x4806 GUEST_DS_LIMIT "Guest DS limit."
    0x4808 GUEST_FS_LIMIT "Guest FS limit."
    0x480a GUEST_GS_LIMIT "Guest GS limit."
    0x480c GUEST_LDTR_LIMIT "Guest LDTR limit."
    0x480e GUEST_TR_LIMIT "Guest TR limit."
    0x4810 GUEST_GDTR_LIMIT "Guest GDTR limit."
    0x4812 GUEST_IDTR_LIMIT "Guest IDTR limit."
    0x4814 GUEST_ES_RIGHTS "Guest ES access rights."
    0x4816 GUEST_CS_RIGHTS "Guest CS access rights."
    0x4818 GUEST_SS_RIGHTS "Guest SS access rights."
    0x481a GUEST_DS_RIGHTS "Guest DS access rights."
    0x481c GUEST_FS_RIGHTS "Guest FS access rights."
    0x481e GUEST_GS_RIGHTS "Guest GS access rights."
    0x4820 GUEST_LDTR_RIGHTS "Guest LDTR access rights."
    0x4822 GUEST_TR_RIGHTS "Guest TR access rights."
    0x4824 GUEST_INTERRUPTIBILITY "Guest interruptibility state."
    0x4826 GUEST_ACTIVITY "Guest activity state."
    0x4828 GUEST_SMBASE "Guest SMBASE."
    0x482a GUEST_SYSENTER_CS "Guest IA32_SYSENTER_CS."
    0x482e PREEMPTION_TIMER_VALUE "VMX-preemption timer value."
    // 32-bit host state
    0x4c00 HOST_SYSENTER_CS "Host IA32_SYSENTER_CS."
    // Natural-width control
    0x6000 CR0_MASK "CR0 guest/host mask: ones are the host's."
    0x6002 CR4_MASK "CR4 guest/host mask: ones are the host's."
    0x6004 CR0_READ_SHADOW "CR0 read shadow."
    0x6006 CR4_READ_SHADOW "CR4 read shadow."
    0x6008 CR3_TARGET_0 "CR3-target value 0."
    0x600a CR3_TARGET_1 "CR3-target value 1."
    0x600c CR3_TARGET_2 "CR3-target value 2."
    0x600e CR3_TARGET_3 "CR3-target value 3."
    // Natural-width exit information
    0x6400 EXIT_QUALIFICATION "Exit qualification."
    0x6402 IO_RCX "I/O RCX."
    0x6404 IO_RSI "I/O RSI."
    0x6406 IO_RDI "I/O RDI."
    0x6408 IO_RIP "I/O RIP."
    0x640a GUEST_LINEAR_ADDRESS "Guest-linear address."
    // Natural-width guest state
    0x6800 GUEST_CR0 "Guest CR0."
    0x6802 GUEST_CR3 "Guest CR3."
    0x6804 GUEST_CR4 "Guest CR4."
    0x6806 GUEST_ES_BASE "Guest ES base."
    0x6808 GUEST_CS_BASE "Guest CS base."
    0x680a GUEST_SS_BASE "Guest SS base."
    0x680c GUEST_DS_BASE "Guest DS base."
    0x680e GUEST_FS_BASE "Guest FS base."
    0x6810 GUEST_GS_BASE "Guest GS base."
    0x6812 GUEST_LDTR_BASE "Guest LDTR base."
    0x6814 GUEST_TR_BASE "Guest TR base."
    0x6816 GUEST_GDTR_BASE "Guest GDTR base."
    0x6818 GUEST_IDTR_BASE "Guest IDTR base."
    0x681a GUEST_DR7 "Guest DR7."
    0x681c GUEST_RSP "Guest RSP."
    0x681e GUEST_RIP "Guest RIP."
    0x6820 GUEST_RFLAGS "Guest RFLAGS."
    0x6822 GUEST_PENDING_DEBUG "Guest pending debug exceptions."
    0x6824 GUEST_SYSENTER_ESP "Guest IA32_SYSENTER_ESP."
    0x6826 GUEST_SYSENTER_EIP "Guest IA32_SYSENTER_EIP."
    0x6828 GUEST_S_CET "Guest IA32_S_CET."
    0x682a GUEST_SSP "Guest SSP."
    0x682c GUEST_INTERRUPT_SSP_TABLE "Guest IA32_INTERRUPT_SSP_TABLE_ADDR."
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
    0x6c14 HOST_RSP "Host RSP."
    0x6c16 HOST_RIP "Host RIP."
    0x6c18 HOST_S_CET "Host IA32_S_CET."
    0x6c1a HOST_SSP "Host SSP."
    0x6c1c HOST_INTERRUPT_SSP_TABLE "Host IA32_INTERRUPT_SSP_TABLE_ADDR."
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86::vmx::vmcs::{control, guest, host, ro};

    #[test]
    fn encodings_are_those_others_read_in_the_manual() {
        let pairs = [
            (VPID, control::VPID),
            (IO_BITMAP_B, control::IO_BITMAP_B_ADDR_FULL),
            (MSR_BITMAPS, control::MSR_BITMAPS_ADDR_FULL),
            (TSC_OFFSET, control::TSC_OFFSET_FULL),
            (EPT_POINTER, control::EPTP_FULL),
            (XSS_EXITING_BITMAP, control::XSS_EXITING_BITMAP_FULL),
            (TSC_MULTIPLIER, control::TSC_MULTIPLIER_FULL),
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
            (GUEST_TR_RIGHTS, guest::TR_ACCESS_RIGHTS),
            (GUEST_INTERRUPTIBILITY, guest::INTERRUPTIBILITY_STATE),
            (GUEST_ACTIVITY, guest::ACTIVITY_STATE),
            (PREEMPTION_TIMER_VALUE, guest::VMX_PREEMPTION_TIMER_VALUE),
            (GUEST_RIP, guest::RIP),
            (GUEST_RFLAGS, guest::RFLAGS),
            (GUEST_PENDING_DEBUG, guest::PENDING_DBG_EXCEPTIONS),
            (HOST_TR_SELECTOR, host::TR_SELECTOR),
            (HOST_EFER, host::IA32_EFER_FULL),
            (HOST_IDTR_BASE, host::IDTR_BASE),
            (HOST_RSP, host::RSP),
            (HOST_RIP, host::RIP),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours.encoding(), theirs, "{ours}");
        }
    }

    #[test]
    fn a_segments_fields_are_found_by_its_number() {
        let stack = guest_segment(Segment::Ss);
        assert_eq!(stack.selector, GUEST_SS_SELECTOR);
        assert_eq!(stack.base, GUEST_SS_BASE);
        let task = guest_segment(Segment::Tr);
        assert_eq!((task.limit, task.rights), (GUEST_TR_LIMIT, GUEST_TR_RIGHTS));
    }

    #[test]
    fn names_and_encodings_are_unique_and_of_full_access() {
        for (index, (field, name)) in ALL.iter().enumerate() {
            assert_eq!(field.encoding() & 0xffff_9001, 0, "{name}");
            for (other, other_name) in ALL.iter().skip(index + 1) {
                assert!(field != other && name != other_name, "{name} {other_name}");
            }
        }
    }

    #[test]
    fn the_encoding_tells_width_and_kind() {
        assert_eq!(GUEST_ES_SELECTOR.width(), FieldWidth::Bits16);
        assert_eq!(EPT_POINTER.width(), FieldWidth::Bits64);
        assert_eq!(EXIT_REASON.width(), FieldWidth::Bits32);
        assert_eq!(GUEST_RIP.width(), FieldWidth::Natural);
        assert!(EXIT_QUALIFICATION.is_exit_information());
        assert!(!GUEST_RIP.is_exit_information());
    }
}
