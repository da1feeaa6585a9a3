//! The lines the hypervisor prints for programs: `@skerry <kind> <json>`.
//!
//! Owns their types, their writing and their reading. Guest output cannot forge one:
//! every guest line is printed behind its VM's `[name] `, and log lines behind `skerry: `.
//! The hypervisor prints a [`Report`]; `xtask` reads it with [`Report::parse`].

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
};
use core::fmt::{self, Write};

use serde::{Deserialize, Serialize};

/// What every report line starts with.
pub const PREFIX: &str = "@skerry ";

/// How one VM ended and what it cost.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VmReport {
    /// The VM.
    pub name: String,
    /// Why it ended, for people.
    pub stop: String,
    /// Its exit status; 0 is success.
    pub status: u32,
    /// Whether it ended at all, rather than being stopped with the machine.
    pub ended: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// VM exits by the names of `ExitKind`.
    pub exits: BTreeMap<String, u64>,
    /// Ticks spent inside the guest.
    pub guest_tsc: u64,
    /// Ticks spent in the hypervisor on its behalf.
    pub host_tsc: u64,
    /// Its memory as the manifest says.
    pub memory_bytes: u64,
    /// The part of it that was ever backed by a frame.
    pub resident_bytes: u64,
    /// Its second-stage tables.
    pub second_stage_bytes: u64,
    /// Everything else the hypervisor holds for it.
    pub overhead_bytes: u64,
    /// What it asked for in vain, by kind (absent ports, unknown MSRs, ...).
    pub refused: BTreeMap<String, u64>,
}

/// What the hypervisor itself is and cost.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HostReport {
    /// The backend that ran the guests.
    pub backend: String,
    /// The CPU's brand string.
    pub cpu: String,
    /// The rate of the time-stamp counter, in Hz.
    pub tsc_hz: u64,
    /// Ticks from the hypervisor's entry to the first guest instruction.
    pub first_guest_tsc: u64,
    /// The hypervisor's image in memory.
    pub image_bytes: u64,
    /// All memory it holds for itself.
    pub resident_bytes: u64,
    /// Ticks from entry to the end.
    pub total_tsc: u64,
    /// Ticks with no VM to run.
    pub idle_tsc: u64,
    /// Frames that were free before the first VM and are not after the last: 0, or memory
    /// was lost; less, and some was given back twice.
    pub lost_frames: i64,
}

/// The last line of a run that ended as planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct End {
    /// The machine's exit status; 0 is success.
    pub status: u32,
}

/// The last line of a run that hit a fault of the hypervisor.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Panic {
    /// What went wrong.
    pub message: String,
    /// Where, as `file:line:column`.
    pub location: String,
}

/// One report line. Displays as the line, without its newline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// `@skerry vm ...`
    Vm(VmReport),
    /// `@skerry host ...`
    Host(HostReport),
    /// `@skerry end ...`
    End(End),
    /// `@skerry panic ...`
    Panic(Panic),
}

/// Why a line with the report prefix is no report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReportError {
    /// No report has this kind.
    Kind(String),
    /// The JSON behind this kind is not what it should be.
    Json(String, String),
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "no report is of kind \"{kind}\""),
            Self::Json(kind, error) => write!(f, "damaged report of kind \"{kind}\": {error}"),
        }
    }
}

impl Report {
    /// Reads one line. `None` for a line that is no report; a carriage return at its end
    /// does no harm.
    #[must_use]
    pub fn parse(line: &str) -> Option<Result<Self, ReportError>> {
        let body = line.strip_prefix(PREFIX)?.trim_end();
        let (kind, json) = body.split_once(' ').unwrap_or((body, ""));
        let report = match kind {
            "vm" => serde_json::from_str(json).map(Self::Vm),
            "host" => serde_json::from_str(json).map(Self::Host),
            "end" => serde_json::from_str(json).map(Self::End),
            "panic" => serde_json::from_str(json).map(Self::Panic),
            other => return Some(Err(ReportError::Kind(other.to_string()))),
        };
        Some(report.map_err(|e| ReportError::Json(kind.to_string(), e.to_string())))
    }

    fn json(&self) -> serde_json::Result<String> {
        match self {
            Self::Vm(report) => serde_json::to_string(report),
            Self::Host(report) => serde_json::to_string(report),
            Self::End(report) => serde_json::to_string(report),
            Self::Panic(report) => serde_json::to_string(report),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Vm(_) => "vm",
            Self::Host(_) => "host",
            Self::End(_) => "end",
            Self::Panic(_) => "panic",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.json().map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{} {json}", self.kind())
    }
}

/// Writes the line of a [`Panic`] without the heap, which may be what broke.
///
/// # Errors
/// Those of `out`.
pub fn write_panic(
    out: &mut impl Write,
    message: impl fmt::Display,
    location: impl fmt::Display,
) -> fmt::Result {
    write!(out, "{PREFIX}panic {{\"message\":\"")?;
    write!(Escaped(&mut *out), "{message}")?;
    out.write_str("\",\"location\":\"")?;
    write!(Escaped(&mut *out), "{location}")?;
    out.write_str("\"}")
}

/// Writes text as the inside of a JSON string.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            '\0'..='\x1f' => write!(self.0, "\\u{:04x}", u32::from(c)),
            other => self.0.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn vm_report() -> VmReport {
        VmReport {
            name: "alpha".to_string(),
            stop: "shutdown with status 0".to_string(),
            ended: true,
            exits: BTreeMap::from([("cpuid".to_string(), 7), ("hlt".to_string(), 2)]),
            guest_tsc: u64::MAX,
            ..VmReport::default()
        }
    }

    #[test]
    fn the_end_line_is_what_people_grep_for() {
        let line = Report::End(End { status: 3 }).to_string();
        assert_eq!(line, "@skerry end {\"status\":3}");
    }

    #[test]
    fn a_vm_line_reads_back_even_with_a_carriage_return() {
        let report = Report::Vm(vm_report());
        let line = format!("{report}\r");
        assert_eq!(Report::parse(&line), Some(Ok(report)));
    }

    #[test]
    fn guest_lines_and_log_lines_are_no_reports() {
        assert_eq!(Report::parse("[alpha] @skerry end {\"status\":0}"), None);
        assert_eq!(Report::parse("skerry: @skerry end {\"status\":0}"), None);
    }

    #[test]
    fn an_unknown_kind_and_a_cut_line_are_named() {
        assert_eq!(
            Report::parse("@skerry tea {}"),
            Some(Err(ReportError::Kind("tea".to_string())))
        );
        let cut = Report::parse("@skerry end {\"stat").unwrap();
        assert!(matches!(cut, Err(ReportError::Json(kind, _)) if kind == "end"));
    }

    #[test]
    fn a_field_that_is_not_known_yet_does_not_break_an_older_reader() {
        let line = "@skerry end {\"status\":0,\"mood\":\"good\"}";
        assert_eq!(
            Report::parse(line),
            Some(Ok(Report::End(End { status: 0 })))
        );
    }

    proptest! {
        #[test]
        fn a_panic_written_without_the_heap_reads_back(message in ".*", location in "\\PC*") {
            let mut line = String::new();
            write_panic(&mut line, &message, &location).unwrap();
            prop_assert!(!line.contains('\n'));
            let panic = Panic { message, location };
            prop_assert_eq!(Report::parse(&line), Some(Ok(Report::Panic(panic))));
        }

        #[test]
        fn no_line_makes_the_reader_panic(line in "(@skerry (vm|host|end|panic) )?.*") {
            let _ = Report::parse(&line);
        }
    }
}
