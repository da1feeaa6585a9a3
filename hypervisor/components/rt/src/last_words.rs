//! The end of a component by a bug of ours: its last words, then its end with the reason.
//!
//! Owns the panic handler. How the words get out is the component's affair; nothing here
//! allocates, since an exhausted heap is one of the reasons.

#[cfg(target_os = "none")]
pub(crate) use bare::set;

/// On the host a panic is the host's.
#[cfg(not(target_os = "none"))]
pub(crate) fn set(_say: fn(&str)) {}

#[cfg(target_os = "none")]
mod bare {
    use crate::{calls, heap};
    use core::{
        fmt::{self, Write},
        panic::PanicInfo,
        sync::atomic::{AtomicBool, Ordering},
    };
    use skerry_verdict::{MonitorEnd, StopReason};

    /// Bytes of last words; the rest is dropped.
    const MOST_BYTES: usize = 512;

    static SAY: spin::Once<fn(&str)> = spin::Once::new();
    static PANICKING: AtomicBool = AtomicBool::new(false);

    /// Who takes the last words.
    pub(crate) fn set(say: fn(&str)) {
        SAY.call_once(|| say);
    }

    #[panic_handler]
    fn panic(panic: &PanicInfo<'_>) -> ! {
        let exhausted = heap::is_exhausted();
        if !PANICKING.swap(true, Ordering::Relaxed)
            && let Some(say) = SAY.get()
        {
            let mut words = Words::new();
            // What does not fit is dropped.
            let _ = write!(words, "{panic}");
            say(words.text());
        }
        let end = if exhausted {
            MonitorEnd::HeapExhausted
        } else {
            MonitorEnd::Panicked
        };
        let (code, value) = StopReason::Monitor(end).encode().unwrap_or((0, 0));
        calls::end(code, value)
    }

    /// One line of text: line ends become spaces.
    struct Words {
        bytes: [u8; MOST_BYTES],
        count: usize,
    }

    impl Words {
        const fn new() -> Self {
            Self {
                bytes: [0; MOST_BYTES],
                count: 0,
            }
        }

        fn text(&self) -> &str {
            let bytes = self.bytes.get(..self.count).unwrap_or_default();
            core::str::from_utf8(bytes).unwrap_or("a panic without readable words")
        }
    }

    impl fmt::Write for Words {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for byte in text.bytes() {
                let cell = self.bytes.get_mut(self.count).ok_or(fmt::Error)?;
                *cell = match byte {
                    b'\n' => b' ',
                    b' '..=b'~' => byte,
                    _ => b'?',
                };
                self.count = self.count.saturating_add(1);
            }
            Ok(())
        }
    }
}
