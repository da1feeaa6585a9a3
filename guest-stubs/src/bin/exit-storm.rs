//! Does a VM that does nothing but exit stay right, and inside its share?
//!
//! `rounds=N` rounds of CPUID, port reads and writes, hypercalls and MSRs; `forever` never
//! stops.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::{Boot, Report, console, cpu, hypercall, port, stub};

stub!("every exit of a storm gets its own answer", run);

const UART_SCRATCH: u16 = console::COM1 + 7;
const PAT: u32 = 0x277;

fn run(report: &mut Report, boot: &Boot) {
    let rounds = if boot.has("forever") {
        u64::MAX
    } else {
        boot.number("rounds", 5_000)
    };
    let wanted = Answers::ask(0);
    let wrong = (0..rounds).find(|round| Answers::ask(*round) != wanted);
    report.check_none("every round gets the answers of the first", 1, wrong);
}

#[derive(PartialEq)]
struct Answers {
    vendor: [u8; 12],
    scratch: bool,
    absent: u32,
    version: i64,
    pat: u64,
}

impl Answers {
    fn ask(round: u64) -> Self {
        let byte = round.to_le_bytes()[0];
        port::write8(UART_SCRATCH, byte);
        port::write8(0x80, byte);
        let skerry = cpu::is_skerry();
        Self {
            vendor: cpu::vendor(),
            scratch: port::read8(UART_SCRATCH) == byte,
            absent: port::read32(0x5a50),
            version: if skerry {
                hypercall::call(hypercall::VERSION, 0, 0)
            } else {
                0
            },
            pat: cpu::rdmsr(PAT),
        }
    }
}
