//! One run of one engine, from its start to its end.
//!
//! Owns the wait: for bytes on the serial line, keys, signals, the time limit and the
//! engine's end, whichever comes first. Showing and judging what comes out is the
//! listener's. Called by `run`, `test` and `bench`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::bundle::Packed;
use crate::command::last_lines;
use crate::engine::Engine;
use crate::leash::Leashed;
use crate::recipe::Filling;
use crate::signals;
use crate::terminal::Keyboard;
use crate::transcript::Transcript;

/// How long the engine may take to connect its serial line.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long an engine may go on after the hypervisor's last line.
const GRACE: Duration = Duration::from_secs(5);
/// How often things without a file descriptor are looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often an engine that is about to end is asked whether it has.
const SHORT: Duration = Duration::from_millis(10);

/// How much of an engine's output is shown where its log tells nothing.
const ENGINE_LINES: usize = 8;

/// What the listener wants next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// More.
    GoOn,
    /// Nothing: the hypervisor has said its last line.
    Over,
    /// An end at once, because of this.
    Stop(String),
    /// More, after these keys were typed.
    Type(&'static [u8]),
}

/// Who hears what comes off the serial line.
pub trait Listener {
    /// Takes some bytes.
    fn hear(&mut self, bytes: &[u8]) -> Next;

    /// Lets time pass: called many times a second, whether there are bytes or not.
    fn tick(&mut self) -> Next {
        Next::GoOn
    }
}

/// Keeps what it hears, and shows nothing.
#[derive(Debug)]
pub struct Silent(pub Transcript);

impl Listener for Silent {
    fn hear(&mut self, bytes: &[u8]) -> Next {
        self.0.push(bytes, |_| {});
        if self.0.is_over() {
            Next::Over
        } else {
            Next::GoOn
        }
    }
}

/// How a run came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The engine ended.
    Closed,
    /// The hypervisor had said its last line, and the engine had to be switched off.
    SwitchedOff,
    /// The listener wanted it, because of this.
    Stopped(String),
    /// The time limit passed.
    TimeLimit,
}

/// A boot: what to start.
pub struct Boot<'a> {
    /// The machine.
    pub engine: &'a dyn Engine,
    /// The hypervisor's ELF file.
    pub hypervisor: &'a Path,
    /// The guests.
    pub packed: &'a Packed,
    /// The folder of the run.
    pub folder: &'a Path,
    /// When it ends at the latest; `None`: never.
    pub limit: Option<Duration>,
}

impl Boot<'_> {
    /// Runs it to its end. Afterwards the engine is gone, however it ended.
    ///
    /// # Errors
    /// The engine cannot be started; a signal stopped us.
    pub fn run(&self, keyboard: Option<Keyboard>, listener: &mut dyn Listener) -> Result<Ending> {
        self.run_to_status(keyboard, listener)
            .map(|(ending, _)| ending)
    }

    /// The same, with the engine's own status if it ended by itself.
    ///
    /// # Errors
    /// As [`Boot::run`].
    pub fn run_to_status(
        &self,
        keyboard: Option<Keyboard>,
        listener: &mut dyn Listener,
    ) -> Result<(Ending, Option<ExitStatus>)> {
        let server = TcpListener::bind("127.0.0.1:0").context("open a port for COM1")?;
        let mut engine = self.start(server.local_addr()?.port())?;
        let begin = Instant::now();
        let Some(serial) = connect(&server, &mut engine)? else {
            return Ok((Ending::Closed, engine.ended()?));
        };
        let deadline = self.limit.and_then(|limit| begin.checked_add(limit));
        let wait = Wait {
            serial,
            keyboard,
            deadline,
            over: false,
        };
        let ending = wait.run(listener)?;
        let status = match ending {
            Ending::Closed => status(&mut engine)?,
            Ending::SwitchedOff | Ending::Stopped(_) | Ending::TimeLimit => None,
        };
        Ok((ending, status))
    }

    fn start(&self, serial_port: u16) -> Result<Leashed> {
        let bundle = self.folder.join("bundle");
        fs::write(&bundle, &self.packed.bytes)
            .with_context(|| format!("write {}", bundle.display()))?;
        let recipe = self.engine.recipe();
        let bundle_bytes = u64::try_from(self.packed.bytes.len())?;
        let filling = Filling {
            folder: self.folder,
            hypervisor: self.hypervisor,
            bundle: &bundle,
            serial_port,
            memory_mib: recipe.memory_mib(self.packed.guest_bytes, bundle_bytes)?,
        };
        let command = self.engine.command(&filling)?;
        signals::check()?;
        let output = File::create(self.folder.join("engine.out"))?;
        Leashed::start(
            &command,
            Stdio::from(output.try_clone()?),
            Stdio::from(output),
        )
    }

    /// What the engine itself said about a failure: its log's telling lines; or the end of
    /// its output, if it ended by itself.
    pub fn engine_lines(&self, ending: &Ending) -> String {
        let telling = self.engine.log_lines(self.folder);
        if !telling.is_empty() || *ending != Ending::Closed {
            return telling.iter().map(|line| format!("    {line}\n")).collect();
        }
        let output = fs::read(self.folder.join("engine.out")).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&output), ENGINE_LINES)
    }
}

/// Waits for the engine's connection; `None` if it ended instead.
fn connect(server: &TcpListener, engine: &mut Leashed) -> Result<Option<TcpStream>> {
    let deadline = Instant::now() + CONNECT_LIMIT;
    while Instant::now() < deadline {
        signals::check()?;
        if ready(&[server.as_fd()])?[0] {
            let (serial, _) = server.accept().context("accept COM1")?;
            serial.set_nodelay(true)?;
            return Ok(Some(serial));
        }
        if engine.ended()?.is_some() {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The status of an engine that has closed its serial line and is about to end.
fn status(engine: &mut Leashed) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + GRACE;
    loop {
        let ended = engine.ended()?;
        if ended.is_some() || Instant::now() >= deadline {
            return Ok(ended);
        }
        signals::check()?;
        thread::sleep(SHORT);
    }
}

struct Wait {
    serial: TcpStream,
    keyboard: Option<Keyboard>,
    deadline: Option<Instant>,
    over: bool,
}

impl Wait {
    fn run(mut self, listener: &mut dyn Listener) -> Result<Ending> {
        loop {
            let [serial, keys] = self.wait()?;
            if keys {
                self.forward_keys()?;
            }
            let mut wanted = vec![listener.tick()];
            if serial {
                match self.hear(listener)? {
                    Some(next) => wanted.push(next),
                    None => return Ok(Ending::Closed),
                }
            }
            for next in wanted {
                match next {
                    Next::GoOn => {}
                    Next::Over => self.expect_end(),
                    Next::Stop(why) => return Ok(Ending::Stopped(why)),
                    // An engine that is going away takes no more keys.
                    Next::Type(keys) => drop(self.serial.write_all(keys)),
                }
            }
            if self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            {
                return Ok(if self.over {
                    Ending::SwitchedOff
                } else {
                    Ending::TimeLimit
                });
            }
        }
    }

    /// Waits a tick for bytes and keys.
    fn wait(&self) -> Result<[bool; 2]> {
        signals::check()?;
        let stdin = std::io::stdin();
        let mut sources = vec![self.serial.as_fd()];
        sources.extend(self.keyboard.as_ref().map(|_| stdin.as_fd()));
        let ready = ready(&sources)?;
        signals::check()?;
        Ok([ready[0], ready.get(1) == Some(&true)])
    }

    fn hear(&mut self, listener: &mut dyn Listener) -> Result<Option<Next>> {
        let mut bytes = [0; 16 * 1024];
        match self.serial.read(&mut bytes) {
            // A killed engine resets the connection.
            Ok(0) | Err(_) => Ok(None),
            Ok(count) => Ok(Some(listener.hear(&bytes[..count]))),
        }
    }

    fn forward_keys(&mut self) -> Result<()> {
        let Some(keyboard) = &mut self.keyboard else {
            return Ok(());
        };
        match keyboard.read()? {
            // An engine that is going away takes no more keys.
            Some(keys) => drop(self.serial.write_all(&keys)),
            None => self.keyboard = None,
        }
        Ok(())
    }

    fn expect_end(&mut self) {
        if !self.over {
            self.over = true;
            self.deadline = Instant::now().checked_add(GRACE);
        }
    }
}

/// Which of `sources` can be read, after at most a tick; a signal ends the wait too.
fn ready(sources: &[BorrowedFd]) -> Result<Vec<bool>> {
    let wake = signals::wake();
    let all = sources
        .iter()
        .copied()
        .chain(wake.as_ref().map(AsFd::as_fd));
    let mut polled: Vec<PollFd> = all
        .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN))
        .collect();
    let tick = Timespec::try_from(TICK)?;
    match poll(&mut polled, Some(&tick)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("wait for the engine"),
    }
    Ok(polled
        .iter()
        .take(sources.len())
        .map(|source| !source.revents().is_empty())
        .collect())
}
