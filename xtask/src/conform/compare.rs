//! An image as a guest against the same image straight on the engine.
//!
//! Owns what counts as lost: what the bare engine does and a guest does not see. What the
//! engine gets wrong by itself is nobody's loss. Checks are compared by name, numbers in it
//! left out, since they differ from run to run.

use std::collections::BTreeMap;

use super::account::{Account, Check, Mark};
use super::verdict::{Outcome, Verdict};

/// One side of the comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    /// What it came to.
    pub(super) verdict: &'a Verdict,
    /// What it told.
    pub(super) account: &'a Account,
}

/// What the comparison comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parity {
    /// A guest sees what the engine does.
    Same,
    /// The engine does it, a guest does not see it done.
    Lost,
    /// The engine does it, and a guest is not offered it.
    Withheld,
    /// A guest sees done what the engine does not do.
    Gained,
    /// Neither passes, and the guest lost nothing on the way: the engine's own.
    Engines,
}

impl Parity {
    /// All of them, in the order they are counted.
    pub(super) const ALL: [Self; 5] = [
        Self::Same,
        Self::Lost,
        Self::Withheld,
        Self::Gained,
        Self::Engines,
    ];

    /// Its name in reports.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Lost => "lost",
            Self::Withheld => "withheld",
            Self::Gained => "gained",
            Self::Engines => "engine's own",
        }
    }
}

/// A comparison, with the checks it rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Comparison {
    /// What it comes to.
    pub(super) parity: Parity,
    /// The checks that pass on the engine and not as a guest, and what became of them there.
    pub(super) lost: Vec<String>,
    /// How many checks pass as a guest and not on the engine.
    pub(super) gained: usize,
}

/// Compares.
pub(super) fn compare(native: Side, guest: Side) -> Comparison {
    let lost = lost(native.account, guest.account);
    let gained = missing(guest.account, native.account).len();
    let told_of = lost.iter().any(|lost| lost.failed);
    let parity = match (native.verdict.outcome, guest.verdict.outcome) {
        (Outcome::Pass, Outcome::Pass) | (Outcome::Skip, Outcome::Skip) => Parity::Same,
        (Outcome::Pass, Outcome::Skip) => Parity::Withheld,
        (_, Outcome::Pass) => Parity::Gained,
        (Outcome::Pass | Outcome::Skip, _) => Parity::Lost,
        (_, Outcome::Skip) => Parity::Same,
        // The slower side told of fewer checks before its time was up.
        (Outcome::Timeout, Outcome::Timeout) if !told_of => Parity::Engines,
        (_, _) if !lost.is_empty() => Parity::Lost,
        (_, _) => Parity::Engines,
    };
    Comparison {
        parity,
        lost: lost.into_iter().map(|lost| lost.words).collect(),
        gained,
    }
}

struct Lost {
    words: String,
    /// Whether the guest says that it fails, rather than nothing.
    failed: bool,
}

fn lost(native: &Account, guest: &Account) -> Vec<Lost> {
    let of = missing(native, guest).into_iter();
    of.map(|name| {
        let plain = plain(name);
        // A failed check may say more than one that passed.
        let told = |mark| {
            let mut marked = guest.marked(mark);
            marked.any(|check| self::plain(&check.name).starts_with(&plain))
        };
        let (how, failed) = match (told(Mark::Fail), told(Mark::Skip)) {
            (true, _) => ("fails", true),
            (false, true) => ("is skipped", false),
            (false, false) => ("is not told of", false),
        };
        let words = format!("{name}: {how}");
        Lost { words, failed }
    })
    .collect()
}

/// The checks that pass in `here` more often than in `there`.
fn missing<'a>(here: &'a Account, there: &Account) -> Vec<&'a str> {
    let mut passed: BTreeMap<String, usize> = BTreeMap::new();
    for check in there.marked(Mark::Pass) {
        *passed.entry(plain(&check.name)).or_default() += 1;
    }
    let mut found = |check: &&Check| {
        let left = passed.get_mut(&plain(&check.name));
        match left {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    };
    let mut missing = Vec::new();
    for check in here.marked(Mark::Pass) {
        if !found(&check) {
            missing.push(check.name.as_str());
        }
    }
    missing
}

/// The name with every number as `#`.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for word in name.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (body, end) = match word.char_indices().last() {
            Some((at, c)) if !c.is_ascii_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        plain += if is_number(body) { "#" } else { body };
        plain += end;
    }
    plain
}

fn is_number(word: &str) -> bool {
    let hexadecimal = word.strip_prefix("0x").unwrap_or(word);
    let digits = word.bytes().any(|byte| byte.is_ascii_digit());
    digits && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::super::end::End;
    use super::super::verdict::judge;
    use super::*;

    /// The comparison of two consoles, by how they ended.
    fn compared(native: (&str, End), guest: (&str, End)) -> Comparison {
        let [native, guest] = [native, guest].map(|(text, end)| {
            let mut account = Account::default();
            text.lines().for_each(|line| account.line(line));
            (judge(&account, &end), account)
        });
        compare(
            Side {
                verdict: &native.0,
                account: &native.1,
            },
            Side {
                verdict: &guest.0,
                account: &guest.1,
            },
        )
    }

    #[test]
    fn what_passes_on_both_is_the_same_and_what_fails_on_both_is_the_engines() {
        let pass = ("PASS: a\n", End::Value(0));
        assert_eq!(compared(pass.clone(), pass).parity, Parity::Same);
        let fail = ("PASS: a\nFAIL: b\n", End::Value(1));
        assert_eq!(compared(fail.clone(), fail).parity, Parity::Engines);
    }

    #[test]
    fn a_check_that_only_the_engine_passes_is_lost_even_where_both_fail() {
        let native = ("PASS: a\nPASS: b\nFAIL: c\n", End::Value(1));
        let guest = ("PASS: a\nFAIL: b: found 0x7\nFAIL: c\n", End::Value(1));
        let comparison = compared(native, guest);
        assert_eq!(comparison.parity, Parity::Lost);
        assert_eq!(comparison.lost, ["b: fails"]);
    }

    #[test]
    fn an_image_that_the_engine_passes_or_skips_is_lost_when_the_guest_breaks() {
        let pass = || ("PASS: a\n", End::Value(0));
        let skip = || ("", End::Value(38));
        for end in [End::TripleFault, End::Limit, End::Halted, End::Value(1)] {
            assert_eq!(compared(pass(), ("", end.clone())).parity, Parity::Lost);
            assert_eq!(compared(skip(), ("", end)).parity, Parity::Lost);
        }
        assert_eq!(compared(pass(), skip()).parity, Parity::Withheld);
        assert_eq!(compared(skip(), pass()).parity, Parity::Gained);
    }

    #[test]
    fn a_guest_that_goes_on_where_the_engine_breaks_has_gained() {
        let native = ("PASS: a\n", End::TripleFault);
        let guest = ("PASS: a\nPASS: b\n", End::Value(0));
        let comparison = compared(native, guest);
        assert_eq!((comparison.parity, comparison.gained), (Parity::Gained, 1));
    }

    #[test]
    fn a_guest_that_is_only_slower_lost_nothing() {
        let native = ("PASS: a\nPASS: b\n", End::Limit);
        assert_eq!(
            compared(native.clone(), ("PASS: a\n", End::Limit)).parity,
            Parity::Engines
        );
        assert_eq!(
            compared(native.clone(), ("FAIL: a\n", End::Limit)).parity,
            Parity::Lost
        );
        // But one that hangs where the engine goes on did, and one that broke.
        assert_eq!(
            compared(("PASS: a\nFAIL: b\n", End::Value(1)), ("", End::Limit)).parity,
            Parity::Lost
        );
        assert_eq!(
            compared(native, ("PASS: a\n", End::TripleFault)).parity,
            Parity::Lost
        );
    }

    #[test]
    fn checks_of_one_name_are_counted_and_their_numbers_left_out() {
        let native = ("PASS: msr 0x10 is 12345\nPASS: x\nPASS: x\n", End::Value(1));
        let guest = ("PASS: msr 0x10 is 54321\nPASS: x\nFAIL: x\n", End::Value(1));
        assert_eq!(compared(native, guest).lost, ["x: fails"]);
        assert_eq!(plain("0xdead, e2, bad: a12f!"), "#, #, bad: #!");
    }
}
