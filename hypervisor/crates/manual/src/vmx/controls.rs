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
    }
}

controls! {
    /// Primary processor-based VM-execution controls.
    PrimaryControls "primary processor-based VM-execution controls" {
        2 INTERRUPT_WINDOW_EXITING "Exit as soon as the guest can take an interrupt."
        3 USE_TSC_OFFSETTING "The guest's TSC is the host's plus an offset."
        7 HLT_EXITING "HLT exits."
        10 MWAIT_EXITING "MWAIT exits."
        11 RDPMC_EXITING "RDPMC exits."
        17 ACTIVATE_TERTIARY_CONTROLS "The tertiary controls count."
        19 CR8_LOAD_EXITING "MOV to CR8 exits."
        20 CR8_STORE_EXITING "MOV from CR8 exits."
        21 USE_TPR_SHADOW "CR8 and the task priority are in the virtual-APIC page."
        22 NMI_WINDOW_EXITING "Exit as soon as the guest can take an NMI."
        25 USE_IO_BITMAPS "The I/O bitmaps say which ports exit."
        28 USE_MSR_BITMAPS "The MSR bitmaps say which MSRs exit."
        29 MONITOR_EXITING "MONITOR exits."
        31 ACTIVATE_SECONDARY_CONTROLS "The secondary controls count."
    }
}

controls! {
    /// Secondary processor-based VM-execution controls.
    SecondaryControls "secondary processor-based VM-execution controls" {
        0 VIRTUALIZE_APIC_ACCESSES "The APIC-access page stands for the virtual-APIC page."
        1 ENABLE_EPT "Guest-physical addresses go through EPT."
        3 ENABLE_RDTSCP "RDTSCP and RDPID exist."
        4 VIRTUALIZE_X2APIC_MODE "The MSRs from 800h on stand for the virtual-APIC page."
        5 ENABLE_VPID "TLB entries are tagged with the VPID."
        7 UNRESTRICTED_GUEST "Real mode and unpaged protected mode run directly."
        8 APIC_REGISTER_VIRTUALIZATION "Reads of APIC registers do not exit."
        9 VIRTUAL_INTERRUPT_DELIVERY "The CPU delivers from the virtual-APIC page, and ends."
        10 PAUSE_LOOP_EXITING "A loop of PAUSE at privilege level 0 exits."
        11 RDRAND_EXITING "RDRAND exits."
        12 ENABLE_INVPCID "INVPCID exists."
        13 ENABLE_VM_FUNCTIONS "VMFUNC exists."
        16 RDSEED_EXITING "RDSEED exits."
    }
}

controls! {
    /// Primary VM-exit controls.
    ExitControls "VM-exit controls" {
        2 SAVE_DEBUG_CONTROLS "DR7 and IA32_DEBUGCTL are saved."
        9 HOST_ADDRESS_SPACE_SIZE "The host runs in 64-bit mode."
        15 ACKNOWLEDGE_INTERRUPT_ON_EXIT "The host interrupt's vector is told."
        18 SAVE_PAT "IA32_PAT is saved."
        19 LOAD_PAT "IA32_PAT is loaded."
        20 SAVE_EFER "IA32_EFER is saved."
        21 LOAD_EFER "IA32_EFER is loaded."
    }
}

controls! {
    /// VM-entry controls.
    EntryControls "VM-entry controls" {
        2 LOAD_DEBUG_CONTROLS "DR7 and IA32_DEBUGCTL are loaded."
        9 IA32E_MODE_GUEST "The guest is in long mode."
        14 LOAD_PAT "IA32_PAT is loaded."
        15 LOAD_EFER "IA32_EFER is loaded."
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
            VIRTUAL_NMIS = VIRTUAL_NMIS ACTIVATE_PREEMPTION_TIMER = VMX_PREEMPTION_TIMER);
        agrees!(PrimaryControls, PrimaryControls:
            INTERRUPT_WINDOW_EXITING = INTERRUPT_WINDOW_EXITING
            USE_TSC_OFFSETTING = USE_TSC_OFFSETTING HLT_EXITING = HLT_EXITING
            MWAIT_EXITING = MWAIT_EXITING RDPMC_EXITING = RDPMC_EXITING
            CR8_LOAD_EXITING = CR8_LOAD_EXITING CR8_STORE_EXITING = CR8_STORE_EXITING
            USE_TPR_SHADOW = USE_TPR_SHADOW
            NMI_WINDOW_EXITING = NMI_WINDOW_EXITING USE_IO_BITMAPS = USE_IO_BITMAPS
            USE_MSR_BITMAPS = USE_MSR_BITMAPS MONITOR_EXITING = MONITOR_EXITING
            ACTIVATE_SECONDARY_CONTROLS = SECONDARY_CONTROLS);
        agrees!(SecondaryControls, SecondaryControls:
            VIRTUALIZE_APIC_ACCESSES = VIRTUALIZE_APIC VIRTUALIZE_X2APIC_MODE = VIRTUALIZE_X2APIC
            APIC_REGISTER_VIRTUALIZATION = VIRTUALIZE_APIC_REGISTER
            VIRTUAL_INTERRUPT_DELIVERY = VIRTUAL_INTERRUPT_DELIVERY
            ENABLE_EPT = ENABLE_EPT ENABLE_VPID = ENABLE_VPID ENABLE_RDTSCP = ENABLE_RDTSCP
            UNRESTRICTED_GUEST = UNRESTRICTED_GUEST PAUSE_LOOP_EXITING = PAUSE_LOOP_EXITING RDRAND_EXITING = RDRAND_EXITING
            ENABLE_INVPCID = ENABLE_INVPCID ENABLE_VM_FUNCTIONS = ENABLE_VM_FUNCTIONS
            RDSEED_EXITING = RDSEED_EXITING);
    }

    #[test]
    fn entry_and_exit_controls_have_the_bits_others_read_in_the_manual() {
        agrees!(ExitControls, ExitControls:
            SAVE_DEBUG_CONTROLS = SAVE_DEBUG_CONTROLS
            HOST_ADDRESS_SPACE_SIZE = HOST_ADDRESS_SPACE_SIZE
            ACKNOWLEDGE_INTERRUPT_ON_EXIT = ACK_INTERRUPT_ON_EXIT SAVE_PAT = SAVE_IA32_PAT
            LOAD_PAT = LOAD_IA32_PAT SAVE_EFER = SAVE_IA32_EFER LOAD_EFER = LOAD_IA32_EFER);
        agrees!(EntryControls, EntryControls:
            LOAD_DEBUG_CONTROLS = LOAD_DEBUG_CONTROLS IA32E_MODE_GUEST = IA32E_MODE_GUEST
            LOAD_PAT = LOAD_IA32_PAT LOAD_EFER = LOAD_IA32_EFER);
    }
}
