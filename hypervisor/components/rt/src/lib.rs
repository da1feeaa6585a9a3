//! The runtime under every component: entry, system calls, heap, last words, shared pages.
//!
//! Owns all `unsafe` of ring 3: the one call instruction, the allocator, the pages at agreed
//! addresses. Does not own the interface (`skerry_abi`) or anything a component does with it.
//!
//! A component is a program of this shape; it may forbid `unsafe` itself:
//!
//! ```text
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//! #![forbid(unsafe_code)]
//!
//! skerry_component::component! {
//!     main: run,                      // fn() -> !
//!     heap_pages: layout::SERVICE_HEAP_PAGES,
//!     last_words: say,                // fn(&str): a panic's text, once, without a newline
//! }
//! ```
//!
//! On the host everything compiles, and every call is refused.
#![no_std]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![deny(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod calls;
pub mod clock;
pub mod cpuid;
mod heap;
mod last_words;
pub mod pages;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod window;

pub use window::GuestWindow;

/// What a component's own file provides; see [`component!`].
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// Its work. It ends by [`calls::end`].
    pub main: fn() -> !,
    /// The limit of its heap, in pages, as its maker has mapped it.
    pub heap_pages: u64,
    /// Takes the text of a panic, before the end.
    pub last_words: fn(&str),
}

/// Makes a program a component: its entry, and on the host a `main` that explains.
#[macro_export]
macro_rules! component {
    (main: $main:path, heap_pages: $heap_pages:expr, last_words: $last_words:path $(,)?) => {
        const COMPONENT: $crate::Component = $crate::Component {
            main: $main,
            heap_pages: $heap_pages,
            last_words: $last_words,
        };

        /// Where ring 0 starts the component's thread: as if called, on an empty stack.
        #[cfg(target_os = "none")]
        #[unsafe(no_mangle)]
        extern "C" fn _start() -> ! {
            $crate::start(COMPONENT)
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            $crate::explain(env!("CARGO_PKG_NAME"), COMPONENT);
        }
    };
}

/// Sets the heap up and runs the component.
pub fn start(component: Component) -> ! {
    last_words::set(component.last_words);
    heap::start(component.heap_pages);
    (component.main)()
}

/// What a component says when somebody runs it as a program of the host.
#[cfg(not(target_os = "none"))]
pub fn explain(name: &str, component: Component) {
    let Component { main, .. } = component;
    std::eprintln!(
        "{name} is a component of a hypervisor, entered at {main:p}; \
         build it for x86_64-unknown-none"
    );
    std::process::exit(2);
}
