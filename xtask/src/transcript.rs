//! What came out of a run: the guests' lines and the hypervisor's reports.
//!
//! Owns the sorting of lines. Printing them is `run`'s, judging them `scenario`'s.

use std::collections::VecDeque;

use skerry_manifest::report::{End, HostReport, Panic, Report, VmReport};

use crate::lines::{self, Splitter};

/// How many lines are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// All: they will be judged.
    All,
    /// So many: they are shown already, and the last ones help if something breaks.
    Last(usize),
}

/// Everything a run said.
#[derive(Debug)]
pub struct Transcript {
    splitter: Splitter,
    keep: Keep,
    lines: VecDeque<String>,
    /// The VMs' reports, in their order.
    pub vms: Vec<VmReport>,
    /// The hypervisor's own report.
    pub host: Option<HostReport>,
    /// The last line of a run that ended as planned.
    pub end: Option<End>,
    /// The hypervisor broke.
    pub panic: Option<Panic>,
    /// Lines that should be reports and are none.
    pub damaged: Vec<String>,
}

impl Transcript {
    /// Nothing yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            splitter: Splitter::default(),
            keep,
            lines: VecDeque::new(),
            vms: Vec::new(),
            host: None,
            end: None,
            panic: None,
            damaged: Vec::new(),
        }
    }

    /// Takes bytes off the serial line and calls `show` with every line for people.
    pub fn push(&mut self, bytes: &[u8], mut show: impl FnMut(&str)) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(bytes, |line| self.line(line, &mut show));
        self.splitter = splitter;
    }

    /// Takes what was left without a line end.
    pub fn finish(&mut self, mut show: impl FnMut(&str)) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.finish(|line| self.line(line, &mut show));
    }

    fn line(&mut self, line: &str, show: &mut impl FnMut(&str)) {
        match Report::parse(line) {
            Some(Ok(report)) => self.report(report),
            Some(Err(error)) => self.damaged.push(error.to_string()),
            None => {
                show(line);
                self.keep(line);
            }
        }
    }

    fn keep(&mut self, line: &str) {
        self.lines.push_back(line.to_string());
        match self.keep {
            Keep::Last(count) if self.lines.len() > count => drop(self.lines.pop_front()),
            Keep::Last(_) | Keep::All => {}
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Vm(vm) => self.vms.push(vm),
            Report::Host(host) => self.host = Some(host),
            Report::End(end) => self.end = Some(end),
            Report::Panic(panic) => self.panic = Some(panic),
        }
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.end.is_some() || self.panic.is_some()
    }

    /// The lines kept, in order.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// What the VM of this name printed.
    pub fn of_vm<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let guests = self.lines().filter_map(lines::of_guest);
        guests
            .filter(move |(of, _)| *of == name)
            .map(|(_, text)| text)
    }

    /// The report on the VM of this name.
    pub fn report_on(&self, name: &str) -> Option<&VmReport> {
        self.vms.iter().find(|vm| vm.name == name)
    }

    /// The last lines, for a failure's message.
    pub fn tail(&self, count: usize) -> String {
        let skipped = self.lines.len().saturating_sub(count);
        let last = self.lines().skip(skipped);
        last.map(|line| format!("    {}\n", lines::harmless(line)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(text: &str, keep: Keep) -> (Transcript, Vec<String>) {
        let mut transcript = Transcript::new(keep);
        let mut shown = Vec::new();
        transcript.push(text.as_bytes(), |line| shown.push(line.to_string()));
        transcript.finish(|line| shown.push(line.to_string()));
        (transcript, shown)
    }

    #[test]
    fn reports_are_collected_and_not_shown() {
        let (run, shown) = transcript(
            "[a] hi\r\n@skerry end {\"status\":2}\r\nskerry: bye",
            Keep::All,
        );
        assert_eq!(shown, ["[a] hi", "skerry: bye"]);
        assert_eq!(run.end, Some(End { status: 2 }));
        assert!(run.is_over());
    }

    #[test]
    fn a_guest_cannot_end_the_run_by_printing_a_report() {
        let (run, _) = transcript("[a] @skerry end {\"status\":0}\n", Keep::All);
        assert!(!run.is_over());
        assert_eq!(
            run.of_vm("a").collect::<Vec<_>>(),
            ["@skerry end {\"status\":0}"]
        );
    }

    #[test]
    fn a_damaged_report_is_remembered() {
        let (run, shown) = transcript("@skerry vm {\"name\":\n", Keep::All);
        assert_eq!(run.damaged.len(), 1);
        assert!(shown.is_empty());
    }

    #[test]
    fn only_the_last_lines_are_kept_where_that_is_enough() {
        let (run, shown) = transcript("1\n2\n3\n", Keep::Last(2));
        assert_eq!(shown.len(), 3);
        assert_eq!(run.tail(9), "    2\n    3\n");
    }
}
