//! Control bits that only the checks know: Skerry leaves them off
//! `[SDM 3C, "VM-Execution Control Fields", "VM-Exit Control Fields" and "VM-Entry Control
//! Fields", ed. 085]`.
//!
//! Owns their names; those that ring 0 uses are the manual's. Called by the rules.

macro_rules! bits {
    ($module:ident $word:ident $($bit:literal $name:ident $doc:literal)*) => {
        pub(crate) mod $module {
            use skerry_manual::vmx::$word;
            $(
                #[doc = $doc]
                pub(crate) const $name: $word = $word::from_bits_retain(1 << $bit);
            )*
        }
    };
}

bits! {
    pin PinControls
    7 PROCESS_POSTED_INTERRUPTS "Posted interrupts are delivered without an exit."
}

bits! {
    primary PrimaryControls
    21 USE_TPR_SHADOW "CR8 and the TPR are virtual."
    27 MONITOR_TRAP_FLAG "Exit after each instruction."
}

bits! {
    secondary SecondaryControls
    0 VIRTUALIZE_APIC_ACCESSES "Accesses to the APIC-access page are virtual."
    4 VIRTUALIZE_X2APIC_MODE "x2APIC MSRs are virtual."
    8 APIC_REGISTER_VIRTUALIZATION "APIC register reads are virtual."
    9 VIRTUAL_INTERRUPT_DELIVERY "Virtual interrupts are evaluated and delivered."
    14 VMCS_SHADOWING "VMREAD and VMWRITE work on a shadow VMCS."
    17 ENABLE_PML "Dirty guest-physical pages are logged."
    18 EPT_VIOLATION_VE "EPT violations may become #VE in the guest."
    22 MODE_BASED_EXECUTE_CONTROL "EPT tells user from supervisor execution."
    23 SUB_PAGE_WRITE_PERMISSIONS "EPT write permission is per 128 bytes."
    24 PT_USES_GUEST_PHYSICAL "Processor trace writes to guest-physical addresses."
    25 USE_TSC_SCALING "The guest's TSC is multiplied."
}

bits! {
    exit ExitControls
    22 SAVE_PREEMPTION_TIMER "The preemption timer's rest is saved."
    29 LOAD_PKRS "IA32_PKRS is loaded."
}

bits! {
    entry EntryControls
    10 ENTRY_TO_SMM "The guest is in system-management mode."
    11 DEACTIVATE_DUAL_MONITOR "The dual-monitor treatment ends."
    16 LOAD_BNDCFGS "IA32_BNDCFGS is loaded."
    22 LOAD_PKRS "IA32_PKRS is loaded."
}
