//! Handles: how a component names an object of ring 0, and what it may do with it.

/// An index into the caller's own table. Any number may be tried; it names nothing unless
/// ring 0 has put something there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Handle(pub u32);

impl Handle {
    /// How many a table has at most.
    pub const MOST: u32 = 4096;

    /// The handle in an argument register; numbers beyond a table's size name nothing.
    #[inline]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        if word < Self::MOST as u64 {
            Self(word as u32)
        } else {
            Self(u32::MAX)
        }
    }

    /// The handle as an argument.
    #[inline]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0 as u64
    }
}

/// The handles that components of Skerry find in fixed places of their tables, by the
/// agreement of who starts them: ring 0 for `root`, `root` for the others. A component's own
/// are granted in this order.
pub mod own {
    use super::Handle;

    /// `root`: the right to make objects.
    pub const MACHINE: Handle = Handle(0);
    /// `root`: ring 0's log, to write to (and to grant on, for reading).
    pub const LOG: Handle = Handle(1);

    /// A VMM: tells the console that its ring has changed.
    pub const CONSOLE: Handle = Handle(0);
    /// A VMM: its first vCPU.
    pub const VCPU: Handle = Handle(1);

    /// A VMM: its vCPU `index`, in the order in which they were made.
    #[must_use]
    pub const fn vcpu(index: u32) -> Handle {
        Handle(VCPU.0.saturating_add(index))
    }

    /// The console: ring 0's log, for reading.
    pub const CONSOLE_LOG: Handle = Handle(0);
    /// The console: the UART's ports.
    pub const CONSOLE_PORTS: Handle = Handle(1);
    /// The console: the UART's interrupt line.
    pub const CONSOLE_LINE: Handle = Handle(2);
    /// The console: tells `root` that the control page has changed.
    pub const CONSOLE_ROOT: Handle = Handle(3);
    /// The console: the first of the notifications that tell VMMs of typed bytes, one for
    /// each VM in the manifest's order; a restarted VM's replaces the old one by the control
    /// page's `vms[n].wake`.
    pub const CONSOLE_FIRST_VM: Handle = Handle(4);
}

/// What a handle is to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ObjectKind {
    /// Pages of host memory, or of the bundle.
    Memory = 1,
    /// A VM's RAM with its second-stage tables.
    Guest = 2,
    /// One virtual CPU.
    Vcpu = 3,
    /// A component.
    Component = 4,
    /// Bits of one component's that can be set to wake it.
    Notification = 5,
    /// A range of the machine's I/O ports.
    Ports = 6,
    /// An interrupt line of the machine's.
    Line = 7,
    /// Ring 0's log.
    Log = 8,
    /// The right to make objects and to switch the machine off.
    Machine = 9,
}

bitflags::bitflags! {
    /// What may be done with the object behind a handle.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct Rights: u32 {
        /// Memory: map for reading. Ports: read. Log: read. Component, vCPU, machine: read
        /// its record.
        const READ = 1 << 0;
        /// Memory: map for writing. Ports: write. Log: write. Component, machine: change it.
        const WRITE = 1 << 1;
        /// Memory: map for execution. vCPU: run it. Component: start and end it.
        const RUN = 1 << 2;
        /// Notification: set its bits. Line: wait for it.
        const SIGNAL = 1 << 3;
        /// Give the handle, with the same or fewer rights, to a component.
        const GRANT = 1 << 4;
    }
}
