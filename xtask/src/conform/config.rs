//! `unittests.cfg`: how a family of test kernels wants each of its tests run.
//!
//! Owns the file's syntax: sections in brackets, `key = value`, values in quotes, in three
//! quotes over several lines, and QEMU's options in them. What of it a VM can be given is
//! `gather`'s to say. Nothing in the file is ever run: where its own scripts would call a
//! shell, the text stays as it is, but for the one command that asks for the time.

use crate::manifest;

/// The file's name.
pub(super) const NAME: &str = "unittests.cfg";
/// What a file asks a shell for the time with.
const CLOCK: &str = "`date +%s`";
/// What starts and ends a value of several lines.
const QUOTES: &str = "\"\"\"";
/// The keys with words for QEMU, by the name they had and have.
const WORDS_KEYS: [&str; 2] = ["extra_params", "qemu_params"];

/// One test.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Entry {
    /// The section's name.
    pub(super) name: String,
    /// The image, from the file's own folder.
    pub(super) file: String,
    /// The image's arguments.
    pub(super) arguments: String,
    /// How many CPUs it wants.
    pub(super) vcpus: Option<u32>,
    /// The only architecture it is for.
    pub(super) arch: Option<String>,
    /// The groups it belongs to.
    pub(super) groups: Vec<String>,
    /// Its time limit.
    pub(super) limit_s: Option<u64>,
    /// The memory it wants.
    pub(super) memory_bytes: Option<u64>,
    /// What else it wants of its machine or host, in the file's words.
    pub(super) wants: Vec<String>,
}

/// Every test in a file's text, and a sentence for each line that says nothing known. In
/// arguments `clock_s` stands for the time the machine's clock shows.
pub(super) fn parse(text: &str, clock_s: u64) -> (Vec<Entry>, Vec<String>) {
    let mut entries: Vec<Entry> = Vec::new();
    let mut odd = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = section(line) {
            entries.push(Entry {
                name: name.into(),
                ..Entry::default()
            });
            continue;
        }
        let (Some(entry), Some((key, value))) = (entries.last_mut(), line.split_once('=')) else {
            odd.push(format!("line {number}: `{line}` is no section and no key"));
            continue;
        };
        let value = whole_value(value.trim(), &mut lines);
        let value = value.replace(CLOCK, &clock_s.to_string());
        if let Err(why) = entry.set(key.trim(), value.trim()) {
            odd.push(format!("line {number}: {why}"));
        }
    }
    (entries, odd)
}

fn section(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?.trim();
    (!name.is_empty()).then_some(name)
}

/// The value, with the lines that follow where it opened with three quotes.
fn whole_value<'a>(first: &str, lines: &mut impl Iterator<Item = (u32, &'a str)>) -> String {
    let Some(opened) = first.strip_prefix(QUOTES) else {
        return first.to_string();
    };
    let mut value = opened.to_string();
    while !value.contains(QUOTES) {
        let Some((_, line)) = lines.next() else {
            break;
        };
        value = format!("{value} {}", line.trim());
    }
    value.split(QUOTES).next().unwrap_or("").to_string()
}

impl Entry {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let odd = || format!("`{key} = {value}` is not understood");
        match key {
            "file" => self.file = value.into(),
            "smp" => self.vcpus = Some(value.parse().map_err(|_| odd())?),
            "test_args" => self.arguments = unquoted(value).into(),
            "arch" => self.arch = Some(value.into()),
            "groups" => self.groups = value.split_whitespace().map(String::from).collect(),
            "timeout" => self.limit_s = Some(seconds(value).ok_or_else(odd)?),
            key if WORDS_KEYS.contains(&key) => self.set_words(value).ok_or_else(odd)?,
            // What its host has to be, or what another of its hosts is told.
            key => self.wants.push(format!("{key} = {value}")),
        }
        Ok(())
    }

    /// QEMU's options: those that have a meaning here are taken, the others remembered.
    fn set_words(&mut self, value: &str) -> Option<()> {
        let mut words = shlex::split(value)?.into_iter().peekable();
        while let Some(option) = words.next() {
            let any = option == "-append";
            let argument = words.next_if(|word| any || !word.starts_with('-'));
            match (option.as_str(), argument) {
                ("-append", Some(arguments)) => self.arguments = unquoted(&arguments).into(),
                ("-smp", Some(count)) => {
                    let count = count.split(',').next()?;
                    self.vcpus = Some(count.parse().ok()?);
                }
                ("-m", Some(size)) => self.memory_bytes = Some(mebibytes(&size)?),
                // As much as there is.
                ("-cpu", Some(model)) if model == "max" => {}
                (option, argument) => {
                    let argument = argument.map_or(String::new(), |word| format!(" {word}"));
                    self.wants.push(format!("{option}{argument}"));
                }
            }
        }
        Some(())
    }
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

/// Seconds, as `timeout` has them: a number, and `s`, `m` or `h`.
fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(['s', 'm', 'h']);
    let unit = match value.get(digits.len()..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size as QEMU's `-m` has it: without a unit it is in MiB.
fn mebibytes(size: &str) -> Option<u64> {
    let size = size.to_uppercase();
    let unit = if size.ends_with(|c: char| c.is_ascii_digit()) {
        "M"
    } else {
        ""
    };
    manifest::parse_size(&format!("{size}{unit}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# a comment
[apic]
file = apic.flat
smp = 2
qemu_params = -cpu qemu64,+x2apic -m 2g
arch = x86_64
timeout = 30
groups = apic slow

[exit_cpuid]
file = vmexit.flat
test_args = 'cpuid `date +%s`'
check = /sys/module/kvm/parameters/enable_pmu=Y

[old]
file = old.flat
extra_params = -cpu max -append '-one two' -no-hpet
"#;

    fn entries(text: &str) -> Vec<Entry> {
        let (entries, odd) = parse(text, 946_684_800);
        assert_eq!(odd, [""; 0]);
        entries
    }

    #[test]
    fn a_section_is_a_test_with_everything_it_wants() {
        let entries = entries(TEXT);
        let apic = Entry {
            name: "apic".into(),
            file: "apic.flat".into(),
            arguments: String::new(),
            vcpus: Some(2),
            arch: Some("x86_64".into()),
            groups: vec!["apic".into(), "slow".into()],
            limit_s: Some(30),
            memory_bytes: Some(2 << 30),
            wants: vec!["-cpu qemu64,+x2apic".into()],
        };
        assert_eq!(entries[0], apic);
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn arguments_lose_their_quotes_and_the_clock_is_the_machines() {
        let entries = entries(TEXT);
        assert_eq!(entries[1].arguments, "cpuid 946684800");
        assert_eq!(
            entries[1].wants,
            ["check = /sys/module/kvm/parameters/enable_pmu=Y"]
        );
    }

    #[test]
    fn older_files_have_the_arguments_among_the_options() {
        let entries = entries(TEXT);
        assert_eq!(entries[2].arguments, "-one two");
        assert_eq!(entries[2].wants, ["-no-hpet"]);
    }

    #[test]
    fn a_value_in_three_quotes_goes_over_lines() {
        let text = "[a]\nqemu_params = \"\"\"-smp 4\n   -m 512\"\"\"\nfile = a.flat\n";
        let entries = entries(text);
        assert_eq!(entries[0].vcpus, Some(4));
        assert_eq!(entries[0].memory_bytes, Some(512 << 20));
        assert_eq!(entries[0].file, "a.flat");
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line_and_the_rest_is_read() {
        let (entries, odd) = parse("stray = 1\n[a]\nsmp = many\nfile = a.flat\n???\n", 0);
        assert_eq!(entries[0].file, "a.flat");
        assert_eq!(
            odd,
            [
                "line 1: `stray = 1` is no section and no key",
                "line 3: `smp = many` is not understood",
                "line 5: `???` is no section and no key",
            ]
        );
    }

    #[test]
    fn a_time_limit_may_have_a_unit() {
        let limits = ["90", "90s", "2m", "1h", "soon", "3d"].map(seconds);
        assert_eq!(
            limits,
            [Some(90), Some(90), Some(120), Some(3600), None, None]
        );
    }

    #[test]
    fn a_value_that_never_ends_ends_with_the_file() {
        let entries = entries("[a]\nfile = \"\"\"a.flat\n");
        assert_eq!(entries[0].file, "a.flat");
    }
}
