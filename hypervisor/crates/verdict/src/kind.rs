//! The kinds of exit, by number and by name.

use skerry_words::{EXIT_KINDS, ExitKind};

/// Every kind, in the order of their numbers.
pub const ALL_KINDS: [ExitKind; EXIT_KINDS] = [
    ExitKind::Cpuid,
    ExitKind::Hypercall,
    ExitKind::Rdmsr,
    ExitKind::Wrmsr,
    ExitKind::Port,
    ExitKind::Memory,
    ExitKind::Cr,
    ExitKind::Dr,
    ExitKind::Xsetbv,
    ExitKind::Hlt,
    ExitKind::Pause,
    ExitKind::CacheFlush,
    ExitKind::Invlpg,
    ExitKind::Undefined,
    ExitKind::Exception,
    ExitKind::TaskSwitch,
    ExitKind::InterruptWindow,
    ExitKind::NmiWindow,
    ExitKind::HostInterrupt,
    ExitKind::HostNmi,
    ExitKind::Timer,
    ExitKind::TripleFault,
    ExitKind::Init,
    ExitKind::EntryFailed,
    ExitKind::Unknown,
    ExitKind::ApicWrite,
    ExitKind::ApicEnd,
];

/// A kind's name in summaries and reports.
#[must_use]
pub const fn kind_name(kind: ExitKind) -> &'static str {
    match kind {
        ExitKind::Cpuid => "cpuid",
        ExitKind::Hypercall => "hypercall",
        ExitKind::Rdmsr => "rdmsr",
        ExitKind::Wrmsr => "wrmsr",
        ExitKind::Port => "port",
        ExitKind::Memory => "memory",
        ExitKind::Cr => "cr",
        ExitKind::Dr => "dr",
        ExitKind::Xsetbv => "xsetbv",
        ExitKind::Hlt => "hlt",
        ExitKind::Pause => "pause",
        ExitKind::CacheFlush => "cache-flush",
        ExitKind::Invlpg => "invlpg",
        ExitKind::Undefined => "undefined",
        ExitKind::Exception => "exception",
        ExitKind::TaskSwitch => "task-switch",
        ExitKind::InterruptWindow => "interrupt-window",
        ExitKind::NmiWindow => "nmi-window",
        ExitKind::HostInterrupt => "host-interrupt",
        ExitKind::HostNmi => "host-nmi",
        ExitKind::Timer => "timer",
        ExitKind::TripleFault => "triple-fault",
        ExitKind::Init => "init",
        ExitKind::EntryFailed => "entry-failed",
        ExitKind::Unknown => "unknown",
        ExitKind::ApicWrite => "apic-write",
        ExitKind::ApicEnd => "apic-end",
    }
}
