//! The calls by number.

/// A system call. Arguments are given as `(RDI, RSI, RDX, R10, R8, R9)`; `h` is a handle of the
/// caller's, followed by its kind and the rights it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Call {
    /// `()` gives [`crate::VERSION`]. Also a sign of life to ring 0's watchdog.
    Version = 0,
    /// `(h: vcpu RUN)` runs the guest until its VMM is needed. Gives a [`RunEnd`]: `Exit` with
    /// the exit in the state page, or `Notified` with the bits taken in RDX. Before the first
    /// run the vCPU must have been reset ([`Call::VcpuReset`]).
    VcpuRun = 1,
    /// `(deadline in TSC ticks, u64::MAX for none)` sleeps until one of the caller's
    /// notification bits is set or the deadline has passed. Gives 0; RDX has the bits taken
    /// (0: the deadline). Bits that are set already are taken at once.
    Wait = 2,
    /// `(h: notification SIGNAL)` sets its bits in its component and wakes that. Gives 0.
    Notify = 3,
    /// `()` gives the rest of the time slice to others. Gives 0.
    Yield = 4,
    /// `(code, value)` ends the caller; both numbers stand in its record. Does not return.
    End = 5,
    /// `(h: vcpu RUN)` takes the whole state page as the guest's state, as after power-on: all
    /// groups are written, caches of the old state dropped. Gives 0.
    VcpuReset = 6,
    /// `(h: vcpu RUN, cr0 bits, cr4 bits)` says which bits of CR0 and CR4 the guest changes
    /// without an exit. Ring 0 leaves out what it has to guard itself. Gives 0. Only before
    /// the first [`Call::VcpuReset`].
    VcpuPermit = 7,
    /// `(h: vcpu RUN, pointer)` copies the vCPU's extended state out, a
    /// [`skerry_words::ExtendedState`] with every component that guests of this machine may have.
    /// Gives the guest's XCR0, 0 where the CPU has no XSAVE. The vCPU must be the caller's own and
    /// have been reset.
    VcpuSave = 8,
    /// `(h: vcpu RUN, pointer)` makes such a copy the vCPU's extended state. What a CPU would
    /// refuse to load is refused. Gives 0. The vCPU must be the caller's own and have been reset.
    VcpuRestore = 9,

    /// `(h: log WRITE, pointer, bytes <= 2048)` appends whole lines. Gives the bytes taken.
    LogWrite = 16,
    /// `(h: log READ, pointer, bytes)` takes the oldest bytes. Gives how many, 0 if none. From
    /// the first such call on, ring 0 itself writes nothing to the UART but last words, and
    /// sets [`crate::layout::LOG_BIT`] of the reader when there is something to read.
    LogRead = 17,
    /// `(h: ports READ, port, width in bytes)` gives what the port reads.
    PortRead = 18,
    /// `(h: ports WRITE, port, width in bytes, value)` writes to a port. Gives 0.
    PortWrite = 19,
    /// `(h: ports WRITE, port, pointer, bytes <= 64)` writes bytes to one port in turn. Gives 0.
    PortWriteBytes = 20,
    /// `(h: line SIGNAL, bits)` opens the line; when it interrupts, it is closed again and the
    /// bits are set in the caller. Gives 0.
    LineWait = 21,

    /// `(h: machine WRITE, pages)` makes memory of so many pages, at most 2^18. They are given
    /// on first use, zeroed. Gives a handle with all rights.
    MemoryCreate = 32,
    /// `(h: machine WRITE, first byte, bytes)` makes memory of a part of the bundle, read only;
    /// the first page-aligned (the last page may be partly beyond the end). Gives a handle with
    /// `READ`, `GRANT`, and `WRITE` to end it; it is mapped for reading only.
    MemoryOfBundle = 33,
    /// `(h: machine WRITE, weight 1 to 1000)` makes a component with an empty address space and
    /// no handles. Gives a handle with all rights.
    ComponentCreate = 34,
    /// `(h: component WRITE, h: memory, pointer to a MapRequest)` maps pages of memory in the
    /// component. The memory handle must have the rights that the mapping has; nothing may be
    /// both writable and executable. Gives 0. The component may be the caller's own
    /// ([`crate::layout::MYSELF`] as handle).
    ComponentMap = 35,
    /// `(h: component WRITE or [`crate::layout::MYSELF`], h: any GRANT, rights)` gives the component a handle to the same
    /// object with at most these rights. Gives its number in the component's table: the first
    /// free one.
    ComponentGrant = 36,
    /// `(h: component RUN, rip, rsp, rdi)` starts its thread. Gives 0. Once only.
    ComponentStart = 37,
    /// `(h: component RUN)` ends the component, whatever it does, and all that is its alone; its
    /// record stays until the handle is closed. Gives 0. Ending it twice does no harm.
    ComponentEnd = 38,
    /// `(h: component READ, pointer)` fills a [`crate::ComponentRecord`].
    /// [`crate::layout::MYSELF`] is allowed. Gives 0.
    ComponentRead = 39,
    /// `(h: component WRITE, bits)` makes a notification of these bits of the component's.
    /// [`crate::layout::MYSELF`] is allowed. Gives a handle with all rights.
    NotificationCreate = 40,
    /// `(h: machine WRITE, pointer to GuestRanges, count 1 to 8, largest page in bytes)` makes a
    /// VM's memory: RAM at these guest-physical ranges, given on first touch, zeroed. Gives a
    /// handle with all rights.
    GuestCreate = 41,
    /// `(h: machine WRITE, h: guest WRITE, h: component WRITE, flags)` makes a vCPU of the guest for
    /// the
    /// component: maps its two pages there, from [`crate::layout::STATE_PAGE`] on, and the guest's
    /// RAM from [`crate::layout::GUEST_WINDOW`] on. Before the component's start, at most
    /// [`crate::layout::MOST_VCPUS`], all of one guest. Flag 0: its local APIC may be looked after by
    /// the CPU, where it can; then the guest has a page at `fee00000` of its own, if that is no RAM.
    /// Other flags are refused. Gives a handle with all rights.
    VcpuCreate = 42,
    /// `(h: vcpu READ, pointer)` fills a [`crate::VcpuRecord`]. Gives 0.
    VcpuRead = 43,
    /// `(h: machine WRITE, first port, count)` makes a range of ports. Gives a handle with all
    /// rights.
    PortsCreate = 44,
    /// `(h: machine WRITE, line 0 to 15)` makes an interrupt line. Gives a handle with all
    /// rights.
    LineCreate = 45,
    /// `(h: machine READ, pointer)` fills a [`crate::MachineRecord`]. Gives 0.
    MachineRead = 46,
    /// `(h: machine WRITE, pointer to OffWrites, count <= 32)` keeps the port writes that switch
    /// this machine off, for this call's caller and for ring 0's own panic. Gives 0.
    MachineOffBy = 47,
    /// `(h: machine WRITE)` switches the machine off. Does not return.
    MachineOff = 48,
    /// `(h)` takes the handle out of the caller's table. The last handle with `GRANT` to an
    /// object does not end it; see [`Call::ObjectEnd`]. Gives 0.
    HandleClose = 49,
    /// `(h: memory or guest, GRANT and WRITE)` ends the object: every handle to it is dead, its
    /// mappings are gone, its memory is free. A guest takes its vCPU with it, whose component
    /// has to have ended. Gives 0.
    ObjectEnd = 50,
    /// `(h: vcpu READ and GRANT, pointer to FieldValues, count <= 256)` fills in their values, ring
    /// 0's among them, to find out why the CPU has refused to enter the guest. Gives how many there are: all, on VT-x; on
    /// AMD-V none, and all values are 0.
    VcpuFields = 51,
}

impl Call {
    /// The call with this number.
    #[inline]
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Self> {
        Some(match word {
            0 => Self::Version,
            1 => Self::VcpuRun,
            2 => Self::Wait,
            3 => Self::Notify,
            4 => Self::Yield,
            5 => Self::End,
            6 => Self::VcpuReset,
            7 => Self::VcpuPermit,
            8 => Self::VcpuSave,
            9 => Self::VcpuRestore,
            16 => Self::LogWrite,
            17 => Self::LogRead,
            18 => Self::PortRead,
            19 => Self::PortWrite,
            20 => Self::PortWriteBytes,
            21 => Self::LineWait,
            32 => Self::MemoryCreate,
            33 => Self::MemoryOfBundle,
            34 => Self::ComponentCreate,
            35 => Self::ComponentMap,
            36 => Self::ComponentGrant,
            37 => Self::ComponentStart,
            38 => Self::ComponentEnd,
            39 => Self::ComponentRead,
            40 => Self::NotificationCreate,
            41 => Self::GuestCreate,
            42 => Self::VcpuCreate,
            43 => Self::VcpuRead,
            44 => Self::PortsCreate,
            45 => Self::LineCreate,
            46 => Self::MachineRead,
            47 => Self::MachineOffBy,
            48 => Self::MachineOff,
            49 => Self::HandleClose,
            50 => Self::ObjectEnd,
            51 => Self::VcpuFields,
            _ => return None,
        })
    }
}

/// What [`Call::VcpuRun`] gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum RunEnd {
    /// The guest has exited; the state page says how.
    Exit = 0,
    /// Notification bits came: they are in RDX. The state page is as it was.
    Notified = 1,
}
