//! Tests of the rules, one image a line.

use super::*;

fn account(text: &str) -> Account {
    let mut account = Account::default();
    text.lines().for_each(|line| account.line(line));
    account
}

fn outcome(text: &str, end: End) -> Outcome {
    judge(&account(text), &end).outcome
}

const TWO_PASS: &str = "PASS: a\nPASS: b\nSUMMARY: 2 tests\n";
const ONE_FAILS: &str = "PASS: a\nFAIL: b\nSUMMARY: 2 tests, 1 unexpected failures\n";

#[test]
fn an_exit_value_decides_unless_a_check_failed() {
    assert_eq!(outcome(TWO_PASS, End::Value(0)), Outcome::Pass);
    assert_eq!(outcome(TWO_PASS, End::Value(1)), Outcome::Fail);
    assert_eq!(outcome(ONE_FAILS, End::Value(0)), Outcome::Fail);
    assert_eq!(outcome("FAIL: b\n", End::Value(0)), Outcome::Fail);
    let only_sum = "SUMMARY: 9 tests, 1 unexpected failures\n";
    assert_eq!(outcome(only_sum, End::Value(0)), Outcome::Fail);
}

#[test]
fn the_values_for_skipped_skip_unless_a_check_failed() {
    assert_eq!(
        outcome(
            "SKIP: no PMU\nSUMMARY: 1 tests, 1 skipped\n",
            End::Value(38)
        ),
        Outcome::Skip
    );
    assert_eq!(outcome("", End::Value(77)), Outcome::Skip);
    assert_eq!(outcome(ONE_FAILS, End::Value(38)), Outcome::Fail);
    assert_eq!(
        judge(&account("SKIP: no PMU\n"), &End::Value(38)).why,
        "no PMU"
    );
}

#[test]
fn an_exit_value_of_0_without_a_check_passes_and_says_so() {
    let verdict = judge(&account("cpuid 188\n"), &End::Value(0));
    assert_eq!(verdict.outcome, Outcome::Pass);
    assert!(verdict.why.contains("no check told of"), "{}", verdict.why);
}

#[test]
fn silence_is_never_a_success() {
    for end in [End::PowerOff, End::Halted, End::Dismissed] {
        assert_eq!(outcome("", end.clone()), Outcome::Fail, "{end}");
        assert_eq!(outcome("hello\n", end.clone()), Outcome::Fail, "{end}");
    }
    assert_eq!(outcome("SUMMARY: 0 tests\n", End::PowerOff), Outcome::Fail);
}

#[test]
fn without_a_value_the_images_own_sum_has_the_last_word() {
    for end in [End::PowerOff, End::Halted] {
        assert_eq!(outcome(TWO_PASS, end.clone()), Outcome::Pass, "{end}");
        assert_eq!(outcome(ONE_FAILS, end.clone()), Outcome::Fail, "{end}");
        let skipped = "SUMMARY: 2 tests, 2 skipped\n";
        assert_eq!(outcome(skipped, end.clone()), Outcome::Skip, "{end}");
    }
    let stub = "stub: 4 passed, 0 failed, 1 skipped\n";
    assert_eq!(outcome(stub, End::Halted), Outcome::Pass);
}

#[test]
fn checks_without_a_sum_pass_only_with_a_deliberate_power_off() {
    assert_eq!(outcome("PASS: a\n", End::PowerOff), Outcome::Pass);
    assert_eq!(outcome("PASS: a\n", End::Halted), Outcome::Fail);
    assert_eq!(outcome("PASS: a\nFAIL: b\n", End::PowerOff), Outcome::Fail);
}

#[test]
fn whatever_it_told_an_image_that_breaks_has_crashed_and_one_that_stays_ran_out_of_time() {
    for end in [
        End::TripleFault,
        End::Reset,
        End::Stopped("instruction not emulated at 0x1000".into()),
        End::Broke("the hypervisor panicked".into()),
    ] {
        assert_eq!(outcome(TWO_PASS, end.clone()), Outcome::Crash, "{end}");
    }
    assert_eq!(outcome(TWO_PASS, End::Limit), Outcome::Timeout);
    let verdict = judge(&account("PASS: a\nFAIL: b\n"), &End::Limit);
    assert_eq!(verdict.why, "1 check passed and 1 failed so far");
}

fn sotest(cases: &str) -> String {
    format!("SOTEST VERSION 1 BEGIN 2\n{cases}")
}

#[test]
fn sotest_passes_when_all_it_announced_was_told_and_nothing_failed() {
    let whole = sotest("SOTEST SUCCESS \"a\"\nSOTEST SKIP\nSOTEST END\n");
    for end in [End::Halted, End::Dismissed, End::Limit, End::TripleFault] {
        assert_eq!(outcome(&whole, end.clone()), Outcome::Pass, "{end}");
    }
    let skipped = sotest("SOTEST SKIP\nSOTEST SKIP\nSOTEST END\n");
    assert_eq!(outcome(&skipped, End::Halted), Outcome::Skip);
}

#[test]
fn sotest_fails_when_a_case_fails_or_is_missing_or_it_gives_up() {
    let cases = [
        "SOTEST SUCCESS \"a\"\nSOTEST FAIL \"b\"\nSOTEST END\n",
        "SOTEST SUCCESS \"a\"\nSOTEST END\n",
        "SOTEST SUCCESS \"a\"\nSOTEST PANIC\n",
        "SOTEST END\n",
    ];
    for text in cases {
        assert_eq!(outcome(&sotest(text), End::Halted), Outcome::Fail, "{text}");
    }
    let unannounced = "SOTEST SUCCESS \"a\"\nSOTEST END\n";
    assert_eq!(outcome(unannounced, End::Value(0)), Outcome::Fail);
    let empty = "SOTEST VERSION 1 BEGIN 0\nSOTEST END\n";
    assert_eq!(outcome(empty, End::Halted), Outcome::Fail);
}

#[test]
fn sotest_without_its_end_is_judged_by_the_machines_end_and_never_passes() {
    let unended = sotest("SOTEST SUCCESS \"a\"\nSOTEST SUCCESS \"b\"\n");
    assert_eq!(outcome(&unended, End::TripleFault), Outcome::Crash);
    assert_eq!(outcome(&unended, End::Limit), Outcome::Timeout);
    for end in [End::Halted, End::PowerOff, End::Value(0)] {
        assert_eq!(outcome(&unended, end.clone()), Outcome::Fail, "{end}");
    }
}

#[test]
fn an_image_that_skips_without_a_reason_is_taken_by_its_last_line() {
    let skip = || judge(&account(""), &End::Value(38));
    assert_eq!(skip().or_in_words("no SVM here").why, "no SVM here");
    assert_eq!(skip().or_in_words("SUMMARY: 0 tests").why, "nothing asked");
    let reason = judge(&account("SKIP: no PMU\n"), &End::Value(38));
    assert_eq!(reason.or_in_words("bye").why, "no PMU");
}
