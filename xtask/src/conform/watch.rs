//! Listening to images while they run, and ending what does not end.
//!
//! Owns the accounts and consoles of the images of one boot, and their time. Images that run
//! side by side share the CPU: a second is charged to those that still run in equal parts.
//! Once every image has ended or has had its time, the hypervisor is told to quit, with the
//! keys a person would press. Called by `session` as a listener, for guests and for an image
//! straight on an engine.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::account::Account;
use super::end::End;
use crate::lines::{self, Splitter};
use crate::session::{Listener, Next};
use crate::transcript::{Keep, Transcript};

/// The console's keys that end a run.
const QUIT: &[u8] = b"\x01x";
/// How long the hypervisor may take to quit.
const QUIT_LIMIT: Duration = Duration::from_secs(20);
/// How long the machine may take to its first line.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long an image may run on after the end of its protocol.
const AFTER_LAST_WORD: Duration = Duration::from_secs(2);
/// How many of the hypervisor's own lines are kept.
const HOST_LINES: usize = 100;
/// How many of an image's first and last lines are kept.
const FIRST_LINES: usize = 20_000;
const LAST_LINES: usize = 200;

/// An image that is listened to.
#[derive(Debug)]
pub(super) struct Heard {
    /// What it told.
    pub(super) account: Account,
    /// What it printed.
    pub(super) console: Console,
    /// How it ended, if it did.
    pub(super) end: Option<End>,
    /// The time it has had.
    pub(super) used: Duration,
    limit: Duration,
    since_last_word: Duration,
}

impl Heard {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            account: Account::default(),
            console: Console::default(),
            end: None,
            used: Duration::ZERO,
            limit,
            since_last_word: Duration::ZERO,
        }
    }

    /// Whether it had less than half of its time, if that is known to be `cpu`.
    pub(super) fn was_starved(&self, cpu: Option<Duration>) -> bool {
        cpu.is_some_and(|cpu| cpu.saturating_mul(2) < self.limit)
    }

    fn line(&mut self, text: &str) {
        self.account.line(text);
        self.console.push(text);
    }

    fn runs(&self) -> bool {
        self.end.is_none()
    }

    /// Charges `time`, of which `share` was its own.
    fn charge(&mut self, time: Duration, share: Duration) {
        self.used = self.used.saturating_add(share);
        let last_word = self.account.sotest.is_some_and(|sotest| sotest.ended);
        if last_word {
            self.since_last_word = self.since_last_word.saturating_add(time);
        }
        if self.since_last_word >= AFTER_LAST_WORD {
            self.end = Some(End::Dismissed);
        } else if self.used >= self.limit {
            self.end = Some(End::Limit);
        }
    }
}

/// An image's lines: the first and the last of them.
#[derive(Debug, Default)]
pub(super) struct Console {
    first: Vec<String>,
    last: VecDeque<String>,
    dropped: usize,
}

impl Console {
    fn push(&mut self, line: &str) {
        if self.first.len() < FIRST_LINES {
            self.first.push(line.into());
            return;
        }
        self.last.push_back(line.into());
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
            self.dropped += 1;
        }
    }

    /// All that was kept, as a file.
    pub(super) fn text(&self) -> String {
        let line = |line: &String| format!("{line}\n");
        let mut text: String = self.first.iter().map(line).collect();
        if self.dropped > 0 {
            text += &format!("... {} lines left out ...\n", self.dropped);
        }
        text.extend(self.last.iter().map(line));
        text
    }

    /// The last line that says something.
    pub(super) fn last_line(&self) -> Option<&str> {
        let lines = self.last.iter().rev().chain(self.first.iter().rev());
        lines.map(|line| line.trim()).find(|line| !line.is_empty())
    }
}

/// The images of one boot of the hypervisor, by the names of their VMs.
pub(super) struct Watch {
    /// What the hypervisor itself said.
    pub(super) transcript: Transcript,
    /// The images.
    pub(super) images: Vec<(String, Heard)>,
    begun: Instant,
    last: Option<Instant>,
    quit: Option<Instant>,
}

impl Watch {
    pub(super) fn new(images: Vec<(String, Heard)>) -> Self {
        Self {
            transcript: Transcript::new(Keep::Last(HOST_LINES)),
            images,
            begun: Instant::now(),
            last: None,
            quit: None,
        }
    }

    /// Takes what came without a line end.
    pub(super) fn finish(&mut self) {
        let Self {
            transcript, images, ..
        } = self;
        transcript.finish(|line| take(images, line));
    }

    /// Lets the images that run share the time since the last call.
    fn charge(&mut self, time: Duration) {
        let running = self.images.iter().filter(|(_, image)| image.runs()).count();
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        let share = time.checked_div(running).unwrap_or_default();
        for (_, image) in self.images.iter_mut().filter(|(_, image)| image.runs()) {
            image.charge(time, share);
        }
    }

    fn is_settled(&self) -> bool {
        self.images.iter().all(|(_, image)| !image.runs())
    }

    fn at(&mut self, now: Instant) -> Next {
        let Some(last) = self.last.replace(now) else {
            self.last = None;
            return if now.duration_since(self.begun) > START_LIMIT {
                Next::Stop("the hypervisor never said a word".into())
            } else {
                Next::GoOn
            };
        };
        self.charge(now.duration_since(last));
        match self.quit {
            None if self.is_settled() => {
                self.quit = Some(now);
                Next::Type(QUIT)
            }
            Some(since) if now.duration_since(since) > QUIT_LIMIT => {
                Next::Stop("the hypervisor did not quit".into())
            }
            None | Some(_) => Next::GoOn,
        }
    }
}

/// Gives a line to the image it is from, or about.
fn take(images: &mut [(String, Heard)], line: &str) {
    if let Some((name, text)) = lines::of_guest(line) {
        if let Some(image) = find(images, name) {
            image.line(text);
        }
    } else if let Some((name, words)) = told_end(line)
        && let Some(image) = find(images, name)
        && image.runs()
    {
        image.end = Some(End::of_words(words));
    }
}

fn find<'a>(images: &'a mut [(String, Heard)], name: &str) -> Option<&'a mut Heard> {
    let found = images.iter_mut().find(|(of, _)| of == name);
    found.map(|(_, image)| image)
}

/// A VM and the words for its end: `skerry: NAME: WORDS`.
fn told_end(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("skerry: ")?.split_once(": ")
}

impl Listener for Watch {
    fn hear(&mut self, bytes: &[u8]) -> Next {
        self.last.get_or_insert_with(Instant::now);
        let Self {
            transcript, images, ..
        } = self;
        transcript.push(bytes, |line| take(images, line));
        if self.transcript.is_over() {
            Next::Over
        } else {
            Next::GoOn
        }
    }

    fn tick(&mut self) -> Next {
        self.at(Instant::now())
    }
}

/// One image straight on an engine: all bytes are its own.
pub(super) struct Alone<'a> {
    /// The image.
    pub(super) image: Heard,
    /// How many bytes came.
    pub(super) bytes: usize,
    /// Whether it has told its exit value since the last time it was asked.
    told_value: Box<dyn FnMut() -> bool + 'a>,
    /// When it told its exit value.
    value_at: Option<Instant>,
    splitter: Splitter,
    last: Instant,
}

impl<'a> Alone<'a> {
    pub(super) fn new(image: Heard, told_value: impl FnMut() -> bool + 'a) -> Self {
        Self {
            image,
            bytes: 0,
            told_value: Box::new(told_value),
            value_at: None,
            splitter: Splitter::default(),
            last: Instant::now(),
        }
    }

    /// A machine without a device at the exit port goes on: it gets a moment to end by itself.
    fn is_past_its_value(&mut self, now: Instant) -> bool {
        match self.value_at {
            Some(at) => now.duration_since(at) > AFTER_LAST_WORD,
            None => {
                self.value_at = (self.told_value)().then_some(now);
                false
            }
        }
    }

    /// Takes what came without a line end.
    pub(super) fn finish(&mut self) {
        let image = &mut self.image;
        self.splitter.finish(|line| image.line(line));
    }
}

impl Listener for Alone<'_> {
    fn hear(&mut self, bytes: &[u8]) -> Next {
        self.bytes = self.bytes.saturating_add(bytes.len());
        let image = &mut self.image;
        self.splitter.push(bytes, |line| image.line(line));
        Next::GoOn
    }

    fn tick(&mut self) -> Next {
        let now = Instant::now();
        let time = now.duration_since(std::mem::replace(&mut self.last, now));
        self.image.charge(time, time);
        if self.is_past_its_value(now) {
            return Next::Stop("it told its exit value".into());
        }
        match &self.image.end {
            Some(end) => Next::Stop(end.to_string()),
            None => Next::GoOn,
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
