//! The rules about the control fields: broken ones end VMLAUNCH with instruction error 7.

use crate::bits::{entry, exit, pin, primary, secondary};
use crate::field;
use crate::{Rule, Section, State, rule};
use skerry_manual::vmx::caps::{Capabilities, EptVpid};
use skerry_manual::vmx::{
    ExitControls as Exit, PinControls as Pin, PrimaryControls as Primary,
    SecondaryControls as Secondary,
};

pub(super) const EXECUTION: Section = Section {
    title: "VM-Execution Control Fields",
    rules: EXECUTION_RULES,
};

pub(super) const EXIT: Section = Section {
    title: "VM-Exit Control Fields",
    rules: EXIT_RULES,
};

pub(super) const ENTRY: Section = Section {
    title: "VM-Entry Control Fields",
    rules: ENTRY_RULES,
};

const EXECUTION_RULES: &[Rule] = &[
    rule(
        "pin-based controls have settings the CPU does not allow",
        |s| {
            !is_allowed(
                s.machine.capabilities.pin,
                s.read(field::PIN_CONTROLS) as u32,
            )
        },
    ),
    rule(
        "primary processor-based controls have settings the CPU does not allow",
        |s| {
            !is_allowed(
                s.machine.capabilities.primary,
                s.read(field::PRIMARY_CONTROLS) as u32,
            )
        },
    ),
    rule(
        "secondary processor-based controls have settings the CPU does not allow",
        |s| {
            s.primary(Primary::ACTIVATE_SECONDARY_CONTROLS)
                && !is_allowed(
                    s.machine.capabilities.secondary,
                    s.read(field::SECONDARY_CONTROLS) as u32,
                )
        },
    ),
    rule(
        "tertiary processor-based controls have settings the CPU does not allow",
        |s| {
            s.primary(Primary::ACTIVATE_TERTIARY_CONTROLS)
                && s.has(field::TERTIARY_CONTROLS, !s.machine.capabilities.tertiary)
        },
    ),
    rule("CR3-target count is above what the CPU has", |s| {
        s.read(field::CR3_TARGET_COUNT) > cr3_targets(s.machine.capabilities)
    }),
    rule(
        "I/O-bitmap addresses are not page-aligned physical addresses",
        |s| {
            s.primary(Primary::USE_IO_BITMAPS)
                && !(s.page(field::IO_BITMAP_A) && s.page(field::IO_BITMAP_B))
        },
    ),
    rule(
        "MSR-bitmap address is not a page-aligned physical address",
        |s| s.primary(Primary::USE_MSR_BITMAPS) && !s.page(field::MSR_BITMAPS),
    ),
    rule(
        "virtual-APIC address is not a page-aligned physical address",
        |s| s.primary(primary::USE_TPR_SHADOW) && !s.page(field::VIRTUAL_APIC_ADDRESS),
    ),
    rule("TPR threshold has bits above 3:0 set", |s| {
        s.primary(primary::USE_TPR_SHADOW)
            && !s.secondary(secondary::VIRTUAL_INTERRUPT_DELIVERY)
            && s.has(field::TPR_THRESHOLD, !0xf)
    }),
    rule("APIC virtualization without \"use TPR shadow\"", |s| {
        !s.primary(primary::USE_TPR_SHADOW)
            && s.secondary(
                secondary::VIRTUALIZE_X2APIC_MODE
                    | secondary::APIC_REGISTER_VIRTUALIZATION
                    | secondary::VIRTUAL_INTERRUPT_DELIVERY,
            )
    }),
    rule("\"virtual NMIs\" without \"NMI exiting\"", |s| {
        s.pin(Pin::VIRTUAL_NMIS) && !s.pin(Pin::NMI_EXITING)
    }),
    rule("\"NMI-window exiting\" without \"virtual NMIs\"", |s| {
        s.primary(Primary::NMI_WINDOW_EXITING) && !s.pin(Pin::VIRTUAL_NMIS)
    }),
    rule(
        "APIC-access address is not a page-aligned physical address",
        |s| s.secondary(secondary::VIRTUALIZE_APIC_ACCESSES) && !s.page(field::APIC_ACCESS_ADDRESS),
    ),
    rule(
        "\"virtualize x2APIC mode\" with \"virtualize APIC accesses\"",
        |s| {
            s.secondary(secondary::VIRTUALIZE_X2APIC_MODE)
                && s.secondary(secondary::VIRTUALIZE_APIC_ACCESSES)
        },
    ),
    rule(
        "\"virtual-interrupt delivery\" without \"external-interrupt exiting\"",
        |s| {
            s.secondary(secondary::VIRTUAL_INTERRUPT_DELIVERY)
                && !s.pin(Pin::EXTERNAL_INTERRUPT_EXITING)
        },
    ),
    rule(
        "posted interrupts without virtual-interrupt delivery or interrupt acknowledge",
        |s| {
            s.pin(pin::PROCESS_POSTED_INTERRUPTS)
                && !(s.secondary(secondary::VIRTUAL_INTERRUPT_DELIVERY)
                    && s.exit(Exit::ACKNOWLEDGE_INTERRUPT_ON_EXIT))
        },
    ),
    rule("posted-interrupt notification vector is above 255", |s| {
        s.pin(pin::PROCESS_POSTED_INTERRUPTS)
            && s.has(field::POSTED_INTERRUPT_NOTIFICATION_VECTOR, 0xff00)
    }),
    rule(
        "posted-interrupt descriptor address is not a multiple of 64",
        |s| {
            s.pin(pin::PROCESS_POSTED_INTERRUPTS)
                && !s.aligned(field::POSTED_INTERRUPT_DESCRIPTOR, 64)
        },
    ),
    rule("VPID is 0", |s| {
        s.secondary(Secondary::ENABLE_VPID) && s.read(field::VPID) == 0
    }),
    rule("EPT pointer asks for what the CPU does not offer", |s| {
        s.secondary(Secondary::ENABLE_EPT) && !ept_pointer_is_valid(s)
    }),
    rule(
        "PML, unrestricted guest, sub-page permissions or mode-based execution without EPT",
        |s| {
            !s.secondary(Secondary::ENABLE_EPT)
                && s.secondary(
                    secondary::ENABLE_PML
                        | Secondary::UNRESTRICTED_GUEST
                        | secondary::SUB_PAGE_WRITE_PERMISSIONS
                        | secondary::MODE_BASED_EXECUTE_CONTROL
                        | secondary::PT_USES_GUEST_PHYSICAL,
                )
        },
    ),
    rule("PML address is not a page-aligned physical address", |s| {
        s.secondary(secondary::ENABLE_PML) && !s.page(field::PML_ADDRESS)
    }),
    rule(
        "sub-page-permission-table pointer is not a page-aligned physical address",
        |s| {
            s.secondary(secondary::SUB_PAGE_WRITE_PERMISSIONS)
                && !s.page(field::SUB_PAGE_PERMISSION_TABLE)
        },
    ),
    rule(
        "VM-function controls have settings the CPU does not allow",
        |s| {
            s.secondary(Secondary::ENABLE_VM_FUNCTIONS)
                && s.has(
                    field::VM_FUNCTION_CONTROLS,
                    !s.machine.capabilities.vm_functions,
                )
        },
    ),
    rule(
        "EPTP switching without EPT or with a bad EPTP-list address",
        |s| {
            s.secondary(Secondary::ENABLE_VM_FUNCTIONS)
                && s.has(field::VM_FUNCTION_CONTROLS, 1)
                && !(s.secondary(Secondary::ENABLE_EPT) && s.page(field::EPTP_LIST_ADDRESS))
        },
    ),
    rule(
        "VMREAD- or VMWRITE-bitmap address is not a page-aligned physical address",
        |s| {
            s.secondary(secondary::VMCS_SHADOWING)
                && !(s.page(field::VMREAD_BITMAP) && s.page(field::VMWRITE_BITMAP))
        },
    ),
    rule(
        "virtualization-exception information address is not a page-aligned physical address",
        |s| {
            s.secondary(secondary::EPT_VIOLATION_VE)
                && !s.page(field::VIRTUALIZATION_EXCEPTION_ADDRESS)
        },
    ),
    rule("TSC multiplier is 0", |s| {
        s.secondary(secondary::USE_TSC_SCALING) && s.read(field::TSC_MULTIPLIER) == 0
    }),
];

const EXIT_RULES: &[Rule] = &[
    rule(
        "VM-exit controls have settings the CPU does not allow",
        |s| {
            !is_allowed(
                s.machine.capabilities.exit,
                s.read(field::EXIT_CONTROLS) as u32,
            )
        },
    ),
    rule(
        "\"save VMX-preemption timer value\" without \"activate VMX-preemption timer\"",
        |s| s.exit(exit::SAVE_PREEMPTION_TIMER) && !s.pin(Pin::ACTIVATE_PREEMPTION_TIMER),
    ),
    rule(
        "VM-exit MSR-store area is not 16-byte aligned in physical memory",
        |s| {
            s.read(field::EXIT_MSR_STORE_COUNT) != 0
                && !s.aligned(field::EXIT_MSR_STORE_ADDRESS, 16)
        },
    ),
    rule(
        "VM-exit MSR-load area is not 16-byte aligned in physical memory",
        |s| s.read(field::EXIT_MSR_LOAD_COUNT) != 0 && !s.aligned(field::EXIT_MSR_LOAD_ADDRESS, 16),
    ),
];

const ENTRY_RULES: &[Rule] = &[
    rule(
        "VM-entry controls have settings the CPU does not allow",
        |s| {
            !is_allowed(
                s.machine.capabilities.entry,
                s.read(field::ENTRY_CONTROLS) as u32,
            )
        },
    ),
    rule("injected event: reserved type or bits", |s| {
        Injection::of(s).is_some_and(|event| event.is_reserved(s))
    }),
    rule("injected event: vector does not fit its type", |s| {
        Injection::of(s).is_some_and(|event| !event.vector_fits())
    }),
    rule(
        "injected event: an error code where there is none, or none where there is one",
        |s| Injection::of(s).is_some_and(|event| !event.error_code_fits(s)),
    ),
    rule("injected event: error code has bits 31:16 set", |s| {
        Injection::of(s).is_some_and(|event| event.has_error_code())
            && s.has(field::ENTRY_EXCEPTION_ERROR_CODE, 0xffff_0000)
    }),
    rule(
        "injected event: instruction length is not that of an instruction",
        |s| {
            Injection::of(s).is_some_and(|event| event.is_software())
                && !instruction_length_is_valid(s)
        },
    ),
    rule(
        "VM-entry MSR-load area is not 16-byte aligned in physical memory",
        |s| {
            s.read(field::ENTRY_MSR_LOAD_COUNT) != 0
                && !s.aligned(field::ENTRY_MSR_LOAD_ADDRESS, 16)
        },
    ),
    rule(
        "\"entry to SMM\" or \"deactivate dual-monitor treatment\" outside SMM",
        |s| s.entry(entry::ENTRY_TO_SMM | entry::DEACTIVATE_DUAL_MONITOR),
    ),
];

/// Whether `value` is a setting of a control word that `allowed` allows: bits 31:0 must be 1,
/// bits 63:32 may be 1 `[SDM 3D, "VM-Execution Controls", ed. 085]`.
const fn is_allowed(allowed: u64, value: u32) -> bool {
    let (must, may) = (allowed as u32, (allowed >> 32) as u32);
    value & must == must && value & !may == 0
}

/// `[SDM 3C, "Extended-Page-Table Pointer (EPTP)", ed. 085]`
fn ept_pointer_is_valid(s: &State<'_>) -> bool {
    let pointer = s.read(field::EPT_POINTER);
    let offered = EptVpid::from_bits_retain(s.machine.capabilities.ept_vpid);
    let memory_type = match pointer & 7 {
        0 => offered.contains(EptVpid::UNCACHEABLE),
        6 => offered.contains(EptVpid::WRITE_BACK),
        _ => false,
    };
    let walk = match (pointer >> 3) & 7 {
        3 => offered.contains(EptVpid::WALK_4),
        4 => offered.contains(EptVpid::WALK_5),
        _ => false,
    };
    let dirty = pointer & (1 << 6) == 0 || offered.contains(EptVpid::ACCESSED_DIRTY);
    let stacks = pointer & (1 << 7) == 0 || offered.contains(EptVpid::SHADOW_STACK);
    memory_type && walk && dirty && stacks && pointer & 0xf00 == 0 && s.physical(field::EPT_POINTER)
}

/// How many CR3-target values there are: IA32_VMX_MISC, bits 24:16.
const fn cr3_targets(capabilities: &Capabilities) -> u64 {
    (capabilities.misc >> 16) & 0x1ff
}

/// Whether hardware exceptions may be injected with or without error code: bit 56 of
/// IA32_VMX_BASIC.
const fn any_error_code(capabilities: &Capabilities) -> bool {
    capabilities.basic & (1 << 56) != 0
}

/// A length of 0 is allowed where bit 30 of IA32_VMX_MISC says so.
fn instruction_length_is_valid(s: &State<'_>) -> bool {
    let least = u64::from(s.machine.capabilities.misc & (1 << 30) == 0);
    (least..=15).contains(&s.read(field::ENTRY_INSTRUCTION_LENGTH))
}

/// The VM-entry interruption-information field, where it holds an event.
#[derive(Clone, Copy)]
pub(super) struct Injection {
    word: u64,
}

impl Injection {
    pub(super) fn of(s: &State<'_>) -> Option<Self> {
        let word = s.read(field::ENTRY_INTERRUPTION_INFORMATION);
        (word & (1 << 31) != 0).then_some(Self { word })
    }

    pub(super) fn vector(self) -> u64 {
        self.word & 0xff
    }

    fn kind(self) -> u64 {
        (self.word >> 8) & 7
    }

    pub(super) fn is_interrupt(self) -> bool {
        self.kind() == 0
    }

    pub(super) fn is_nmi(self) -> bool {
        self.kind() == 2
    }

    pub(super) fn is_exception(self) -> bool {
        self.kind() == 3
    }

    /// Type 7 with vector 0: a pending monitor-trap exit.
    pub(super) fn is_monitor_trap(self) -> bool {
        self.kind() == 7
    }

    fn is_software(self) -> bool {
        matches!(self.kind(), 4..=6)
    }

    fn has_error_code(self) -> bool {
        self.word & (1 << 11) != 0
    }

    fn is_reserved(self, s: &State<'_>) -> bool {
        let trap = u64::from(primary::MONITOR_TRAP_FLAG.bits()) << 32;
        let no_trap_flag = s.machine.capabilities.primary & trap == 0;
        self.kind() == 1 || self.word & 0x7fff_f000 != 0 || (self.is_monitor_trap() && no_trap_flag)
    }

    fn vector_fits(self) -> bool {
        match self.kind() {
            2 => self.vector() == 2,
            3 => self.vector() <= 31,
            7 => self.vector() == 0,
            _ => true,
        }
    }

    /// #DF, #TS, #NP, #SS, #GP, #PF, #AC and #CP have one, but not in real mode. Bit 56 of
    /// IA32_VMX_BASIC leaves it to software in protected mode.
    fn error_code_fits(self, s: &State<'_>) -> bool {
        let real_mode = s.unrestricted() && !s.has(field::GUEST_CR0, 1);
        if !self.is_exception() || real_mode {
            return !self.has_error_code();
        }
        let defined = matches!(self.vector(), 8 | 10..=14 | 17 | 21);
        any_error_code(s.machine.capabilities) || self.has_error_code() == defined
    }
}
