//! The pages at agreed addresses: what a component is told, and what it shares.
//!
//! Owns the way from an address of `layout` to a typed reference. That something is mapped
//! there is the agreement with who made the component; where nothing is, the first access
//! ends the component, and no other page can be meant, since an address space is never
//! changed but by mapping where nothing was.
//!
//! What two components share is made of atomics, so a neighbour that writes at the wrong time
//! makes garbage, not undefined behaviour.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};
use skerry_abi::layout::{
    CONSOLE_PAGE, CONSOLE_PAGES, CONSOLE_STRIDE, CONTROL_PAGE, FILES, GUEST_WINDOW, MOST_VCPUS,
    MOST_VMS, SCRATCH, START_PAGE, STATE_PAGE, VCPU_STRIDE, VM_PAGE,
};
use skerry_pages::{ConsolePage, ControlPage, MOST_MODULES, ModulePlace, StartPage, VmPage};
use skerry_words::{ApicPage, GuestState, PAGE_BYTES};

/// What a VMM is told at its start.
#[must_use]
pub fn start_page() -> &'static StartPage {
    // SAFETY: a page of integers, mapped read only before the start; who made it has let go.
    unsafe { &*(START_PAGE as *const StartPage) }
}

/// What a VMM tells `root` beside its end.
#[must_use]
pub fn vm_page() -> &'static VmPage {
    shared_at(VM_PAGE)
}

/// Says what `root` is to know of a VMM's end: the last words of every VMM.
pub fn say_to_root(text: &str) {
    vm_page().say(text);
}

/// A VMM's rings to the console and back.
#[must_use]
pub fn console_page() -> &'static ConsolePage {
    shared_at(CONSOLE_PAGE)
}

/// In the console: the rings of VM `index`, which is below [`MOST_VMS`].
#[must_use]
pub fn console_page_of(index: usize) -> &'static ConsolePage {
    assert!(index < MOST_VMS, "the console has no page for VM {index}");
    let offset = (index as u64).saturating_mul(CONSOLE_STRIDE);
    shared_at(CONSOLE_PAGES.saturating_add(offset))
}

/// What `root` and the console tell each other.
#[must_use]
pub fn control_page() -> &'static ControlPage {
    shared_at(CONTROL_PAGE)
}

/// A type made of atomics alone, so that it may be shared with a component that lies.
pub trait Shared: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! shared {
    ($($page:ty),*) => { $(
        impl sealed::Sealed for $page {}
        impl Shared for $page {}
    )* };
}
shared!(VmPage, ConsolePage, ControlPage);

/// The shared pages that the component has mapped at `at`.
///
/// # Panics
/// An address that is not page-aligned, or not between the start page and the files.
#[must_use]
pub fn shared_at<T: Shared>(at: u64) -> &'static T {
    let ends = at.saturating_add(size_of::<T>() as u64);
    let inside = START_PAGE < at && ends <= FILES && (ends <= STATE_PAGE || VM_PAGE <= at);
    let aligned = at.is_multiple_of(PAGE_BYTES);
    assert!(inside && aligned, "{at:#x} is no place for a shared page");
    // SAFETY: nothing of Rust's is between these bounds but shared pages, and they are made of
    // atomics, for which all bytes are values.
    unsafe { &*(at as *const T) }
}

/// Files of the bundle, as they are mapped `at` bytes behind `layout::FILES`. Empty where that
/// would leave the room for files.
#[must_use]
pub fn files(at: u64, bytes: u64) -> &'static [u8] {
    const MOST_BYTES: u64 = GUEST_WINDOW - FILES;
    if at.checked_add(bytes).is_none_or(|end| end > MOST_BYTES) {
        return &[];
    }
    let start = FILES.saturating_add(at) as *const u8;
    // SAFETY: the bundle is never written to, and there is nothing else in this range.
    unsafe { core::slice::from_raw_parts(start, bytes as usize) }
}

/// In `root`: stores `bytes` at `at`, between `layout::SCRATCH` and `layout::FILES`, where it
/// has mapped memory that another component will have.
///
/// # Panics
/// Another address.
pub fn scratch_write(at: u64, bytes: &[u8]) {
    let end = at.checked_add(bytes.len() as u64);
    let inside = SCRATCH <= at && end.is_some_and(|end| end <= FILES);
    assert!(inside, "{at:#x} is no place to fill memory");
    // SAFETY: nothing of Rust's is between these bounds but shared pages, which are atomics;
    // `bytes` therefore lies elsewhere.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
}

/// In `root`: stores a VMM's start page at `at`, as [`scratch_write`] does.
///
/// # Panics
/// As there.
pub fn scratch_write_start_page(at: u64, page: &StartPage) {
    const {
        assert!(size_of::<ModulePlace>() == 4 * 8);
        let modules = MOST_MODULES * size_of::<ModulePlace>();
        assert!(size_of::<StartPage>() == 16 * 8 + modules + skerry_pages::CMDLINE_BYTES);
    };
    let start = (&raw const *page).cast::<u8>();
    // SAFETY: all bytes of the page are integers without padding, by the assertions above.
    let bytes = unsafe { core::slice::from_raw_parts(start, size_of::<StartPage>()) };
    scratch_write(at, bytes);
}

/// The state pages that are taken: bit `n` for vCPU `n`.
static STATES_TAKEN: AtomicU32 = AtomicU32::new(0);
/// The same of the APIC pages.
static APICS_TAKEN: AtomicU32 = AtomicU32::new(0);

/// Where the pages of vCPU `index` are, if one of the kind of `taken` is taken for the first time.
fn take(index: u32, taken: &AtomicU32) -> Option<u64> {
    if u64::from(index) >= MOST_VCPUS {
        return None;
    }
    let bit = 1 << index;
    let before = taken.fetch_or(bit, Ordering::Relaxed);
    (before & bit == 0).then(|| STATE_PAGE.saturating_add(VCPU_STRIDE * u64::from(index)))
}

/// Takes the APIC page of vCPU `index`, which the VMM must have; `None` if it is taken already.
/// It changes while the guest runs, which is in calls that borrow the state page beside it: who
/// keeps it must not keep what it has read across one.
#[must_use]
pub fn take_apic_page(index: u32) -> Option<ApicFrame> {
    let at = take(index, &APICS_TAKEN)?.saturating_add(PAGE_BYTES);
    Some(ApicFrame(at as *mut ApicPage))
}

/// A vCPU's state page. Who has taken it has it alone: ring 0 changes it in calls that borrow it.
#[derive(Debug)]
pub struct StatePage(&'static mut GuestState);

impl StatePage {
    /// Takes the state page of vCPU `index`, which the component must have; `None` if it is taken
    /// already.
    #[must_use]
    pub fn take(index: u32) -> Option<Self> {
        let at = take(index, &STATES_TAKEN)?;
        // SAFETY: ring 0 has mapped it there with the vCPU; all its bytes are values; this
        // line is reached once for each.
        Some(Self(unsafe { &mut *(at as *mut GuestState) }))
    }

    /// Its address, for a call in which ring 0 changes it.
    #[inline(always)]
    pub(crate) fn address(&mut self) -> u64 {
        &raw mut *self.0 as u64
    }
}

/// A vCPU's APIC page. The CPU changes it while the guest runs, so nothing here holds a reference
/// for longer than its user borrows this.
#[derive(Debug)]
pub struct ApicFrame(*mut ApicPage);

impl Deref for ApicFrame {
    type Target = ApicPage;

    #[inline(always)]
    fn deref(&self) -> &ApicPage {
        // SAFETY: ring 0 has mapped it there with the vCPU, all its bytes are values, and the guest
        // does not run while somebody borrows this.
        unsafe { &*self.0 }
    }
}

impl DerefMut for ApicFrame {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut ApicPage {
        // SAFETY: as for `deref`; and who has taken the page has it alone.
        unsafe { &mut *self.0 }
    }
}

impl Deref for StatePage {
    type Target = GuestState;

    #[inline(always)]
    fn deref(&self) -> &GuestState {
        self.0
    }
}

impl DerefMut for StatePage {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut GuestState {
        self.0
    }
}
