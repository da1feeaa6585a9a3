//! What a run came to: one table per run, and the lines around it.
//!
//! Owns the rendering of the hypervisor's reports for people. Called by `run`.

use std::collections::BTreeMap;

use skerry_manifest::report::{HostReport, VmReport};

use crate::table;
use crate::transcript::Transcript;

/// How many kinds of exit are named.
const TOP_EXITS: usize = 4;

/// The summary of a whole run.
pub fn of(run: &Transcript) -> String {
    let tsc_hz = run.host.as_ref().map_or(0, |host| host.tsc_hz);
    let mut text = vm_table(&run.vms, tsc_hz);
    for vm in &run.vms {
        text += &format!("{}: exits {}\n", vm.name, top(&vm.exits, TOP_EXITS));
        if !vm.refused.is_empty() {
            text += &format!("{}: refused {}\n", vm.name, top(&vm.refused, TOP_EXITS));
        }
    }
    if let Some(host) = &run.host {
        text += &host_lines(host);
    }
    text
}

fn vm_table(vms: &[VmReport], tsc_hz: u64) -> String {
    let numbers = [
        "status",
        "exits",
        "in guest",
        "for it in host",
        "memory",
        "overhead",
    ];
    let header = [&["VM", "ended"], &numbers[..]].concat();
    let mut table = table::with_header(&header, &numbers);
    table.add_rows(vms.iter().map(|vm| row(vm, tsc_hz)));
    table::text(&table)
}

fn row(vm: &VmReport, tsc_hz: u64) -> [String; 8] {
    let exits: u64 = vm.exits.values().sum();
    let restarts = match vm.restarts {
        0 => String::new(),
        1 => " (restarted once)".into(),
        count => format!(" (restarted {count} times)"),
    };
    [
        vm.name.clone(),
        if vm.ended {
            format!("{}{restarts}", vm.stop)
        } else {
            format!("still ran{restarts}")
        },
        vm.status.to_string(),
        grouped(exits),
        ticks(vm.guest_tsc, tsc_hz),
        ticks(vm.host_tsc, tsc_hz),
        format!("{} of {}", size(vm.resident_bytes), size(vm.memory_bytes)),
        size(vm.second_stage_bytes.saturating_add(vm.overhead_bytes)),
    ]
}

fn host_lines(host: &HostReport) -> String {
    let lost = match host.lost_frames {
        0 => String::new(),
        lost => format!("skerry: {lost} frames of memory were lost: a bug, please report it\n"),
    };
    let busy = host.total_tsc.saturating_sub(host.idle_tsc);
    format!(
        "skerry: {} on {}; image {}, resident {}\n\
         skerry: first guest instruction after {}; ran {}, of that idle {}, busy {}\n{lost}",
        host.backend,
        host.cpu.trim(),
        size(host.image_bytes),
        size(host.resident_bytes),
        ticks(host.first_guest_tsc, host.tsc_hz),
        ticks(host.total_tsc, host.tsc_hz),
        ticks(host.idle_tsc, host.tsc_hz),
        ticks(busy, host.tsc_hz),
    )
}

/// The greatest counts by name.
fn top(counts: &BTreeMap<String, u64>, most: usize) -> String {
    let mut sorted: Vec<(&str, u64)> = counts
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .filter(|(_, n)| *n > 0)
        .collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rest: u64 = sorted.iter().skip(most).map(|(_, count)| count).sum();
    let mut words: Vec<String> = sorted
        .iter()
        .take(most)
        .map(|(name, count)| format!("{name} {}", grouped(*count)))
        .collect();
    if rest > 0 {
        words.push(format!("others {}", grouped(rest)));
    }
    if words.is_empty() {
        "none".into()
    } else {
        words.join(", ")
    }
}

/// Ticks, and the time they stand for where the rate is known.
fn ticks(count: u64, tsc_hz: u64) -> String {
    let scaled = match count {
        0..10_000 => grouped(count),
        10_000..1_000_000 => format!("{:.1} k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", count as f64 / 1e6),
        _ => format!("{:.1} G", count as f64 / 1e9),
    };
    match tsc_hz {
        0 => format!("{scaled} ticks"),
        hz => format!("{scaled} ticks = {:.3} s", count as f64 / hz as f64),
    }
}

/// Bytes in the unit that fits.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A count with commas between the thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Keep;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [512, 8192, 134_217_728].map(size),
            ["512 B", "8 KiB", "128.0 MiB"]
        );
        assert_eq!(ticks(25_000_000, 50_000_000), "25.0 M ticks = 0.500 s");
        assert_eq!(ticks(42, 0), "42 ticks");
    }

    #[test]
    fn the_greatest_counts_come_first_and_nothing_is_lost() {
        let counts = [("a", 1), ("b", 30), ("c", 2), ("d", 0)];
        let counts = counts.map(|(name, count)| (name.to_string(), count)).into();
        assert_eq!(top(&counts, 1), "b 30, others 3");
        assert_eq!(top(&counts, 4), "b 30, c 2, a 1");
        assert_eq!(top(&BTreeMap::new(), 4), "none");
    }

    #[test]
    fn the_summary_says_how_each_vm_ended_and_what_it_was_refused() {
        let mut run = Transcript::new(Keep::All);
        run.vms.push(VmReport {
            name: "alpha".into(),
            stop: "halted with interrupts off".into(),
            ended: true,
            restarts: 2,
            exits: BTreeMap::from([("port".into(), 30_000), ("cpuid".into(), 12)]),
            refused: BTreeMap::from([("absent ports".into(), 7)]),
            memory_bytes: 128 << 20,
            ..VmReport::default()
        });
        run.vms.push(VmReport {
            name: "beta".into(),
            ..VmReport::default()
        });
        let text = of(&run);
        for part in [
            "halted with interrupts off (restarted 2 times)",
            "30,012",
            "alpha: exits port 30,000, cpuid 12",
            "alpha: refused absent ports 7",
            "of 128.0 MiB",
            "still ran",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
