//! The control bits of a VMCS, by the manual's names
//! `[SDM 3C, "VM-Execution Control Fields", "VM-Exit Control Fields" and "VM-Entry Control
//! Fields", ed. 085]`.
//!
//! Owns the names only. Which bits a CPU allows is [`super::caps`]; which Skerry wants is
//! ring 0's choice. Bits a CPU forces on and no name here covers are kept as they are.

/// A 32-bit control word whose allowed settings a capability MSR tells.
pub trait Controls: bitflags::Flags<Bits = u32> + Copy {
    /// What the manual calls the word.
    const NAME: &'static str;
}

macro_rules! controls {
    ($(#[$doc:meta])* $name:ident $words:literal { $($bit:literal $flag:ident $text:literal)* }) => {
        bitflags::bitflags! {
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
            #[repr(transparent)]
            pub struct $name: u32 {
                $(
                    #[doc = $text]
                    const $flag = 1 << $bit;
                )*
                /// Reserved bits have the value the capability MSRs ask for.
                const _ = !0;
            }
        }

        impl Controls for $name {
            const NAME: &'static str = $words;
        }
    };
}

controls! {
    /// Pin-based VM-execution controls: what asynchronous events do.
    PinControls "pin-based VM-execution controls" {
        0 EXTERNAL_INTERRUPT_EXITING "Host interrupts cause exits."
        3 NMI_EXITING "NMIs cause exits."
        5 VIRTUAL_NMIS "NMI blocking is the guest's, and NMI windows work."
        6 ACTIVATE_PREEMPTION_TIMER "The VMX-preemption timer counts down in the guest."
        7 PROCESS_POSTED_INTERRUPTS "Posted interrupts are delivered without an exit."
    }
}

controls! {
    /// Primary processor-based VM-execution controls.
    PrimaryControls "primary processor-based VM-execution controls" {
        2 INTERRUPT_WINDOW_EXITING "Exit as soon as the guest can take an interrupt."
        3 USE_TSC_OFFSETTING "The guest's TSC is the host's plus an offset."
        7 HLT_EXITING "HLT exits."
        9 INVLPG_EXITING "INVLPG and INVPCID exit."
        10 MWAIT_EXITING "MWAIT exits."
        11 RDPMC_EXITING "RDPMC exits."
        12 RDTSC_EXITING "RDTSC and RDTSCP exit."
        15 CR3_LOAD_EXITING "MOV to CR3 exits."
        16 CR3_STORE_EXITING "MOV from CR3 exits."
        17 ACTIVATE_TERTIARY_CONTROLS "The tertiary controls count."
        19 CR8_LOAD_EXITING "MOV to CR8 exits."
        20 CR8_STORE_EXITING "MOV from CR8 exits."
        21 USE_TPR_SHADOW "CR8 and the TPR are virtual."
        22 NMI_WINDOW_EXITING "Exit as soon as the guest can take an NMI."
        23 MOV_DR_EXITING "Moves to and from debug registers exit."
        24 UNCONDITIONAL_IO_EXITING "Every port instruction exits."
        25 USE_IO_BITMAPS "The I/O bitmaps say which ports exit."
        27 MONITOR_TRAP_FLAG "Exit after each instruction."
        28 USE_MSR_BITMAPS "The MSR bitmaps say which MSRs exit."
        29 MONITOR_EXITING "MONITOR exits."
        30 PAUSE_EXITING "PAUSE exits."
        31 ACTIVATE_SECONDARY_CONTROLS "The secondary controls count."
    }
}

controls! {
    /// Secondary processor-based VM-execution controls.
    SecondaryControls "secondary processor-based VM-execution controls" {
        0 VIRTUALIZE_APIC_ACCESSES "Accesses to the APIC-access page are virtual."
        1 ENABLE_EPT "Guest-physical addresses go through EPT."
        2 DESCRIPTOR_TABLE_EXITING "LGDT, LIDT, LLDT, LTR and their stores exit."
        3 ENABLE_RDTSCP "RDTSCP and RDPID exist."
        4 VIRTUALIZE_X2APIC_MODE "x2APIC MSRs are virtual."
        5 ENABLE_VPID "TLB entries are tagged with the VPID."
        6 WBINVD_EXITING "WBINVD exits."
        7 UNRESTRICTED_GUEST "Real mode and unpaged protected mode run directly."
        8 APIC_REGISTER_VIRTUALIZATION "APIC register reads are virtual."
        9 VIRTUAL_INTERRUPT_DELIVERY "Virtual interrupts are evaluated and delivered."
        10 PAUSE_LOOP_EXITING "A loop of PAUSE exits."
        11 RDRAND_EXITING "RDRAND exits."
        12 ENABLE_INVPCID "INVPCID exists."
        13 ENABLE_VM_FUNCTIONS "VMFUNC exists."
        14 VMCS_SHADOWING "VMREAD and VMWRITE work on a shadow VMCS."
        15 ENABLE_ENCLS_EXITING "The ENCLS-exiting bitmap counts."
        16 RDSEED_EXITING "RDSEED exits."
        17 ENABLE_PML "Dirty guest-physical pages are logged."
        18 EPT_VIOLATION_VE "EPT violations may become #VE in the guest."
        19 CONCEAL_VMX_FROM_PT "Processor trace does not show non-root operation."
        20 ENABLE_XSAVES_XRSTORS "XSAVES and XRSTORS exist."
        21 PASID_TRANSLATION "ENQCMD's PASID is translated."
        22 MODE_BASED_EXECUTE_CONTROL "EPT tells user from supervisor execution."
        23 SUB_PAGE_WRITE_PERMISSIONS "EPT write permission is per 128 bytes."
        24 PT_USES_GUEST_PHYSICAL "Processor trace writes to guest-physical addresses."
        25 USE_TSC_SCALING "The guest's TSC is multiplied."
        26 ENABLE_USER_WAIT_AND_PAUSE "TPAUSE, UMONITOR and UMWAIT exist."
        27 ENABLE_PCONFIG "PCONFIG exists."
        28 ENABLE_ENCLV_EXITING "The ENCLV-exiting bitmap counts."
        30 BUS_LOCK_DETECTION "Bus locks exit."
        31 INSTRUCTION_TIMEOUT "Instructions that block events for too long exit."
    }
}

controls! {
    /// Tertiary processor-based VM-execution controls, the low half; the field is of 64 bits.
    TertiaryControls "tertiary processor-based VM-execution controls" {
        0 LOADIWKEY_EXITING "LOADIWKEY exits."
        1 ENABLE_HLAT "Hypervisor-managed linear-address translation."
        2 EPT_PAGING_WRITE_CONTROL "EPT tells paging writes from others."
        3 GUEST_PAGING_VERIFICATION "EPT verifies guest paging."
        4 IPI_VIRTUALIZATION "IPIs are virtual."
        7 VIRTUALIZE_SPEC_CTRL "IA32_SPEC_CTRL is masked and shadowed."
    }
}

controls! {
    /// Primary VM-exit controls.
    ExitControls "VM-exit controls" {
        2 SAVE_DEBUG_CONTROLS "DR7 and IA32_DEBUGCTL are saved."
        9 HOST_ADDRESS_SPACE_SIZE "The host runs in 64-bit mode."
        12 LOAD_PERF_GLOBAL_CTRL "IA32_PERF_GLOBAL_CTRL is loaded."
        15 ACKNOWLEDGE_INTERRUPT_ON_EXIT "The host interrupt's vector is told."
        18 SAVE_PAT "IA32_PAT is saved."
        19 LOAD_PAT "IA32_PAT is loaded."
        20 SAVE_EFER "IA32_EFER is saved."
        21 LOAD_EFER "IA32_EFER is loaded."
        22 SAVE_PREEMPTION_TIMER "The preemption timer's rest is saved."
        23 CLEAR_BNDCFGS "IA32_BNDCFGS is cleared."
        24 CONCEAL_VMX_FROM_PT "Processor trace does not show exits."
        25 CLEAR_RTIT_CTL "IA32_RTIT_CTL is cleared."
        26 CLEAR_LBR_CTL "IA32_LBR_CTL is cleared."
        27 CLEAR_UINV "The user-interrupt vector is cleared."
        28 LOAD_CET_STATE "The CET state is loaded."
        29 LOAD_PKRS "IA32_PKRS is loaded."
        30 SAVE_PERF_GLOBAL_CTRL "IA32_PERF_GLOBAL_CTRL is saved."
        31 ACTIVATE_SECONDARY_CONTROLS "The secondary VM-exit controls count."
    }
}

controls! {
    /// VM-entry controls.
    EntryControls "VM-entry controls" {
        2 LOAD_DEBUG_CONTROLS "DR7 and IA32_DEBUGCTL are loaded."
        9 IA32E_MODE_GUEST "The guest is in long mode."
        10 ENTRY_TO_SMM "The guest is in system-management mode."
        11 DEACTIVATE_DUAL_MONITOR "The dual-monitor treatment ends."
        13 LOAD_PERF_GLOBAL_CTRL "IA32_PERF_GLOBAL_CTRL is loaded."
        14 LOAD_PAT "IA32_PAT is loaded."
        15 LOAD_EFER "IA32_EFER is loaded."
        16 LOAD_BNDCFGS "IA32_BNDCFGS is loaded."
        17 CONCEAL_VMX_FROM_PT "Processor trace does not show entries."
        18 LOAD_RTIT_CTL "IA32_RTIT_CTL is loaded."
        19 LOAD_UINV "The user-interrupt vector is loaded."
        20 LOAD_CET_STATE "The CET state is loaded."
        21 LOAD_LBR_CTL "IA32_LBR_CTL is loaded."
        22 LOAD_PKRS "IA32_PKRS is loaded."
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86::vmx::vmcs::control as oracle;

    /// Each named bit, as another author's reading of the manual has it.
    macro_rules! agrees {
        ($ours:ident, $theirs:ident: $($flag:ident = $other:ident)*) => {
            $(assert_eq!($ours::$flag.bits(), oracle::$theirs::$other.bits(), stringify!($flag));)*
        };
    }

    #[test]
    fn execution_controls_have_the_bits_others_read_in_the_manual() {
        agrees!(PinControls, PinbasedControls:
            EXTERNAL_INTERRUPT_EXITING = EXTERNAL_INTERRUPT_EXITING NMI_EXITING = NMI_EXITING
            VIRTUAL_NMIS = VIRTUAL_NMIS ACTIVATE_PREEMPTION_TIMER = VMX_PREEMPTION_TIMER
            PROCESS_POSTED_INTERRUPTS = POSTED_INTERRUPTS);
        agrees!(PrimaryControls, PrimaryControls:
            INTERRUPT_WINDOW_EXITING = INTERRUPT_WINDOW_EXITING
            USE_TSC_OFFSETTING = USE_TSC_OFFSETTING HLT_EXITING = HLT_EXITING
            INVLPG_EXITING = INVLPG_EXITING MWAIT_EXITING = MWAIT_EXITING
            RDPMC_EXITING = RDPMC_EXITING RDTSC_EXITING = RDTSC_EXITING
            CR3_LOAD_EXITING = CR3_LOAD_EXITING CR3_STORE_EXITING = CR3_STORE_EXITING
            CR8_LOAD_EXITING = CR8_LOAD_EXITING CR8_STORE_EXITING = CR8_STORE_EXITING
            USE_TPR_SHADOW = USE_TPR_SHADOW NMI_WINDOW_EXITING = NMI_WINDOW_EXITING
            MOV_DR_EXITING = MOV_DR_EXITING UNCONDITIONAL_IO_EXITING = UNCOND_IO_EXITING
            USE_IO_BITMAPS = USE_IO_BITMAPS MONITOR_TRAP_FLAG = MONITOR_TRAP_FLAG
            USE_MSR_BITMAPS = USE_MSR_BITMAPS MONITOR_EXITING = MONITOR_EXITING
            PAUSE_EXITING = PAUSE_EXITING ACTIVATE_SECONDARY_CONTROLS = SECONDARY_CONTROLS);
        agrees!(SecondaryControls, SecondaryControls:
            ENABLE_EPT = ENABLE_EPT ENABLE_VPID = ENABLE_VPID ENABLE_RDTSCP = ENABLE_RDTSCP
            WBINVD_EXITING = WBINVD_EXITING UNRESTRICTED_GUEST = UNRESTRICTED_GUEST
            PAUSE_LOOP_EXITING = PAUSE_LOOP_EXITING RDRAND_EXITING = RDRAND_EXITING
            ENABLE_INVPCID = ENABLE_INVPCID ENABLE_VM_FUNCTIONS = ENABLE_VM_FUNCTIONS
            RDSEED_EXITING = RDSEED_EXITING ENABLE_PML = ENABLE_PML
            ENABLE_XSAVES_XRSTORS = ENABLE_XSAVES_XRSTORS USE_TSC_SCALING = USE_TSC_SCALING);
    }

    #[test]
    fn entry_and_exit_controls_have_the_bits_others_read_in_the_manual() {
        agrees!(ExitControls, ExitControls:
            SAVE_DEBUG_CONTROLS = SAVE_DEBUG_CONTROLS
            HOST_ADDRESS_SPACE_SIZE = HOST_ADDRESS_SPACE_SIZE
            ACKNOWLEDGE_INTERRUPT_ON_EXIT = ACK_INTERRUPT_ON_EXIT SAVE_PAT = SAVE_IA32_PAT
            LOAD_PAT = LOAD_IA32_PAT SAVE_EFER = SAVE_IA32_EFER LOAD_EFER = LOAD_IA32_EFER
            SAVE_PREEMPTION_TIMER = SAVE_VMX_PREEMPTION_TIMER);
        agrees!(EntryControls, EntryControls:
            LOAD_DEBUG_CONTROLS = LOAD_DEBUG_CONTROLS IA32E_MODE_GUEST = IA32E_MODE_GUEST
            LOAD_PAT = LOAD_IA32_PAT LOAD_EFER = LOAD_IA32_EFER);
    }
}
