//! A client of gdb's remote protocol, as far as a stopwatch needs one.
//!
//! Owns the packets `[GDB, "Remote Protocol", 13.1]` and one question: what does the
//! time-stamp counter read when the CPU gets to an address? Packets are text, numbers in
//! hexadecimal. Called by `bench`, for engines whose recipe has `gdb_arguments`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::signals;

/// How long the engine may take to listen.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long the CPU may take to the address.
const STOP_LIMIT: Duration = Duration::from_secs(120);
const RETRY: Duration = Duration::from_millis(50);

/// RDTSC `[SDM 2B, "RDTSC—Read Time-Stamp Counter", ed. 085]`.
const RDTSC: &str = "0f31";
const RDTSC_BYTES: u64 = 2;
/// The registers that reading the counter changes, by their numbers
/// `[GDB, "gdb/features/i386/64bit-core.xml", 13.1]`.
const CHANGED: [usize; 3] = [RAX, RDX, RIP];
const RAX: usize = 0;
const RDX: usize = 3;
const RIP: usize = 16;
/// A 64-bit register in hexadecimal.
const REGISTER_DIGITS: usize = 16;

/// An engine's stub.
struct Stub {
    stream: TcpStream,
}

/// A port on 127.0.0.1 that nobody listens at.
///
/// # Errors
/// The system has none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a port for gdb")?;
    Ok(listener.local_addr()?.port())
}

/// What the time-stamp counter reads at the first instruction executed at `address`, of an
/// engine that waits for gdb on `port`. Then the engine goes on as if nobody had asked; if
/// the question cannot be answered, it ends.
///
/// # Errors
/// Nobody listens; the CPU does not get there; a signal stopped us.
pub fn tsc_at(port: u16, address: u64) -> Result<u64> {
    let mut stub = Stub::connect(port)?;
    let tsc = stub.tsc_at(address);
    let last = if tsc.is_ok() { "D" } else { "k" };
    // An engine that ends answers nothing.
    let parting = stub.send(last);
    tsc.and_then(|tsc| parting.map(|()| tsc))
        .with_context(|| format!("ask the engine's gdb stub for the counter at {address:#x}"))
}

impl Stub {
    fn connect(port: u16) -> Result<Self> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        loop {
            signals::check()?;
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(STOP_LIMIT))?;
                    return Ok(Self { stream });
                }
                Err(_) if Instant::now() < deadline => thread::sleep(RETRY),
                Err(error) => return Err(error).context("connect to the engine's gdb stub"),
            }
        }
    }

    /// Stops at `address`, has RDTSC run there in the place of what is there, and puts
    /// everything back. The stop comes before the reading, so whatever the engine's clock
    /// does while the CPU stands still is in it.
    fn tsc_at(&mut self, address: u64) -> Result<u64> {
        // QEMU writes single registers only for a client that has read their description.
        self.ask("qXfer:features:read:target.xml:0,ffb")?;
        self.order(&format!("Z1,{address:x},1"))?;
        self.resume("c")?;
        self.order(&format!("z1,{address:x},1"))?;
        let before = self.ask("g")?;
        ensure!(
            register(&before, RIP)? == address,
            "the CPU stopped elsewhere"
        );
        let replaced = self.ask(&format!("m{address:x},{RDTSC_BYTES}"))?;
        self.write(address, RDTSC)?;
        self.resume("s")?;
        let after = self.ask("g")?;
        self.write(address, &replaced)?;
        for number in CHANGED {
            let value = digits(&before, number)?;
            self.order(&format!("P{number:x}={value}"))?;
        }
        ensure!(self.ask("g")? == before, "the registers are not as before");
        Ok(register(&after, RDX)? << 32 | register(&after, RAX)?)
    }

    fn write(&mut self, address: u64, bytes: &str) -> Result<()> {
        self.order(&format!("M{address:x},{RDTSC_BYTES}:{bytes}"))
    }

    /// Lets the CPU go on until it stops again.
    fn resume(&mut self, how: &str) -> Result<()> {
        let stop = self.ask(how)?;
        ensure!(stop.starts_with("T05"), "{how}: the CPU stopped by {stop}");
        Ok(())
    }

    fn order(&mut self, packet: &str) -> Result<()> {
        let answer = self.ask(packet)?;
        ensure!(answer == "OK", "{packet}: the answer was \"{answer}\"");
        Ok(())
    }

    fn ask(&mut self, packet: &str) -> Result<String> {
        self.send(packet)?;
        let answer = self
            .receive()
            .with_context(|| format!("answer to {packet}"));
        self.stream.write_all(b"+")?;
        answer
    }

    /// `$packet#sum`.
    fn send(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.stream, "${packet}#{sum:02x}").context("send to the engine's gdb stub")
    }

    /// The next packet; the acknowledgement before it, and its sum, are TCP's business.
    fn receive(&mut self) -> Result<String> {
        while self.byte()? != b'$' {}
        let mut packet = String::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => packet.push(byte.into()),
            }
        }
        self.byte()?;
        self.byte()?;
        match packet.strip_prefix('E') {
            Some(number) => bail!("error {number}"),
            None => Ok(packet),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

/// A register's digits, its lowest byte first, in the answer to `g`.
fn digits(registers: &str, number: usize) -> Result<&str> {
    let start = number * REGISTER_DIGITS;
    registers
        .get(start..start + REGISTER_DIGITS)
        .with_context(|| format!("the gdb stub has no register {number}"))
}

fn register(registers: &str, number: usize) -> Result<u64> {
    let value = u64::from_str_radix(digits(registers, number)?, 16);
    Ok(value.context("a register's digits")?.swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Registers of a CPU at `rip` that reads `tsc`.
    fn registers(tsc: u64, rip: u64) -> String {
        let mut all = [0x55_u64; 24];
        (all[RAX], all[RDX], all[RIP]) = (tsc & 0xffff_ffff, tsc >> 32, rip);
        all.map(|value| format!("{:016x}", value.swap_bytes()))
            .concat()
    }

    /// A stub that gives these answers in turn; returns what it was told.
    fn stub(answers: Vec<String>) -> (u16, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            let mut peer = Stub {
                stream: listener.accept().unwrap().0,
            };
            let answer = |answer: String| {
                let told = peer.receive().unwrap();
                peer.stream.write_all(b"+").unwrap();
                peer.send(&answer).unwrap();
                told
            };
            let mut told: Vec<String> = answers.into_iter().map(answer).collect();
            told.push(peer.receive().unwrap());
            told
        };
        (port, thread::spawn(serve))
    }

    fn script(at: u64) -> Vec<String> {
        let words = |all: &[&str]| all.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        let mut answers = words(&["l<xml/>", "OK", "T05thread:01;", "OK"]);
        answers.push(registers(7, at));
        answers.extend(words(&["fcfa", "OK", "T05thread:01;"]));
        answers.push(registers(0x1_2345_6789, at + RDTSC_BYTES));
        answers.extend(words(&["OK", "OK", "OK", "OK"]));
        answers.push(registers(7, at));
        answers
    }

    #[test]
    fn the_counter_is_read_at_the_address_and_all_is_put_back() {
        let (port, told) = stub(script(0x10_0000));
        assert_eq!(tsc_at(port, 0x10_0000).unwrap(), 0x1_2345_6789);
        let told = told.join().unwrap();
        let at = |packet: &str| told.iter().position(|told| told == packet);
        assert!(at("M100000,2:0f31") < at("s") && at("s") < at("M100000,2:fcfa"));
        for packet in ["P0=0700000000000000", "P10=0000100000000000"] {
            assert!(at("s") < at(packet), "{packet} is missing in {told:?}");
        }
        assert_eq!(told.last().map(String::as_str), Some("D"));
    }

    #[test]
    fn a_cpu_that_stops_elsewhere_is_no_clock_and_its_engine_ends() {
        let mut answers = script(0x20_0000);
        answers.truncate(5);
        let (port, told) = stub(answers);
        assert!(tsc_at(port, 0x10_0000).is_err());
        assert_eq!(told.join().unwrap().last().map(String::as_str), Some("k"));
    }
}
