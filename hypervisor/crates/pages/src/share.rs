//! The other pages that two components share, and the page a component finds at its start.
//!
//! What one side writes while the other may read is atomic. Text is read cut to its length and
//! cleaned of what is not printable by whoever shows it.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use skerry_abi::layout::MOST_VMS;

/// Bytes of a VM's command lines at most: its kernel's and its modules' together.
pub const CMDLINE_BYTES: usize = 3072;
/// Modules of a VM at most, besides its initial RAM disk.
pub const MOST_MODULES: usize = 8;

/// Where a module and its command line are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct ModulePlace {
    /// Where its bytes are, behind [`skerry_abi::layout::FILES`].
    pub at: u64,
    /// How many.
    pub bytes: u64,
    /// Where its command line starts, behind the start of [`StartPage::cmdlines`].
    pub cmdline_at: u64,
    /// Bytes of it.
    pub cmdline_bytes: u64,
}

/// What a VMM is told at its start: a read-only page at [`skerry_abi::layout::START_PAGE`].
#[derive(Debug)]
#[repr(C)]
pub struct StartPage {
    /// [`skerry_abi::VERSION`].
    pub version: u64,
    /// The rate of the time-stamp counter in Hz.
    pub tsc_hz: u64,
    /// As in [`skerry_abi::MachineRecord`].
    pub abilities: u64,
    /// The VM's number in the manifest.
    pub vm_index: u64,
    /// Where the kernel's bytes are, behind [`skerry_abi::layout::FILES`].
    pub kernel_at: u64,
    /// How many.
    pub kernel_bytes: u64,
    /// Where the initial RAM disk's are.
    pub initrd_at: u64,
    /// How many; 0: there is none.
    pub initrd_bytes: u64,
    /// The guest's memory, as in the manifest.
    pub memory_bytes: u64,
    /// What the kernel is: `ImageKind` by its place, from 0.
    pub kind: u64,
    /// The clock at the start.
    pub rtc_unix_seconds: u64,
    /// Nonzero: it has a UART in memory.
    pub mmio_uart: u64,
    /// How many vCPUs it has.
    pub vcpus: u64,
    /// Nonzero: it has the devices that test kernels want.
    pub test_devices: u64,
    /// How many of `modules` there are.
    pub module_count: u64,
    /// The modules, in the manifest's order.
    pub modules: [ModulePlace; MOST_MODULES],
    /// Bytes of the kernel's command line, with which `cmdlines` starts.
    pub cmdline_bytes: u64,
    /// The kernel's command line, and behind it those of the modules.
    pub cmdlines: [u8; CMDLINE_BYTES],
}

const _: () = assert!(size_of::<StartPage>() <= 4096);

/// Bytes of last words at most.
const WORDS_BYTES: usize = 512;

/// What a VMM tells `root` beside its end.
#[derive(Debug)]
#[repr(C)]
pub struct VmPage {
    /// MSR accesses refused.
    pub refused_msrs: AtomicU64,
    /// Instructions refused.
    pub refused_instructions: AtomicU64,
    /// Accesses to absent ports and memory.
    pub absent_accesses: AtomicU64,
    words_bytes: AtomicU32,
    words: [AtomicU8; WORDS_BYTES],
}

const _: () = assert!(size_of::<VmPage>() <= 4096);

impl VmPage {
    /// A page as in a new VM, for tests.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            refused_msrs: AtomicU64::new(0),
            refused_instructions: AtomicU64::new(0),
            absent_accesses: AtomicU64::new(0),
            words_bytes: AtomicU32::new(0),
            words: [const { AtomicU8::new(0) }; WORDS_BYTES],
        }
    }

    /// Appends to its last words: why it ends. What does not fit is dropped.
    pub fn say(&self, text: &str) {
        for byte in text.bytes() {
            let at = self.words_bytes.load(Ordering::Relaxed);
            let Some(cell) = self.words.get(at as usize) else {
                return;
            };
            cell.store(byte, Ordering::Relaxed);
            self.words_bytes
                .store(at.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Its last words, byte by byte, printable ASCII only.
    pub fn last_words(&self) -> impl Iterator<Item = char> + '_ {
        let count = self.words_bytes.load(Ordering::Relaxed) as usize;
        let printable = |byte: u8| matches!(byte, b' '..=b'~');
        self.words
            .iter()
            .take(count)
            .map(|cell| cell.load(Ordering::Relaxed))
            .map(move |byte| if printable(byte) { byte.into() } else { '?' })
    }

    /// As in a new VM.
    pub fn clear(&self) {
        for count in [
            &self.refused_msrs,
            &self.refused_instructions,
            &self.absent_accesses,
        ] {
            count.store(0, Ordering::Relaxed);
        }
        self.words_bytes.store(0, Ordering::Relaxed);
    }
}

/// One VM on the control page.
#[derive(Debug)]
#[repr(C)]
pub struct ControlVm {
    /// Its name, padded with zeros.
    pub name: [AtomicU8; 16],
    /// For the console to take: its handle of the notification that wakes the VMM of the
    /// VM's new life. It leaves [`ControlPage::NONE`] and closes the one before, so that its
    /// table does not fill.
    pub wake: AtomicU32,
    /// How often it has ended: its unfinished line is ended when this changes.
    pub ends: AtomicU32,
}

/// What `root` and the console tell each other. `root` fills in `count`, the names and `attached`
/// before the console starts.
#[derive(Debug)]
#[repr(C)]
pub struct ControlPage {
    /// How many VMs there are.
    pub count: AtomicU32,
    /// Who has the keyboard, or [`ControlPage::NONE`]. The console changes it.
    pub attached: AtomicU32,
    /// [`ControlPage::LIST`] and the others, set by the console, taken by `root`.
    pub requests: AtomicU32,
    /// `root` adds 1 when it wants all output to be out.
    pub drain_asked: AtomicU32,
    /// The console sets this to `drain_asked` when everything up to then is on the line.
    pub drain_done: AtomicU32,
    /// The VMs.
    pub vms: [ControlVm; MOST_VMS],
}

const _: () = assert!(size_of::<ControlPage>() <= 4096);

impl ControlPage {
    /// No VM, no handle.
    pub const NONE: u32 = u32::MAX;
    /// The operator wants a list of the VMs.
    pub const LIST: u32 = 1;
    /// The operator ends all VMs.
    pub const QUIT: u32 = 2;
    /// The console has taken all the memory it will need, and serves.
    pub const READY: u32 = 4;

    /// A page with no VM on it, for tests.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            count: AtomicU32::new(0),
            attached: AtomicU32::new(Self::NONE),
            requests: AtomicU32::new(0),
            drain_asked: AtomicU32::new(0),
            drain_done: AtomicU32::new(0),
            vms: [const { ControlVm::empty() }; MOST_VMS],
        }
    }
}

impl ControlVm {
    const fn empty() -> Self {
        Self {
            name: [const { AtomicU8::new(0) }; 16],
            wake: AtomicU32::new(ControlPage::NONE),
            ends: AtomicU32::new(0),
        }
    }

    /// Writes its name, cut to what fits.
    pub fn set_name(&self, name: &str) {
        let bytes = name.bytes().chain(core::iter::repeat(0));
        for (cell, byte) in self.name.iter().zip(bytes) {
            cell.store(byte, Ordering::Relaxed);
        }
    }

    /// Its name, byte by byte.
    pub fn name(&self) -> impl Iterator<Item = char> + '_ {
        let bytes = self.name.iter().map(|cell| cell.load(Ordering::Relaxed));
        bytes.take_while(|byte| *byte != 0).map(char::from)
    }
}
