//! Tests of who gets which line and which part of the time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn watch(limits_s: &[u64]) -> Watch {
    let numbered = (1..).zip(limits_s);
    let images = numbered.map(|(number, limit)| {
        let heard = Heard::new(Duration::from_secs(*limit));
        (format!("v{number}"), heard)
    });
    Watch::new(images.collect())
}

/// Lets a watch that has begun see so many seconds pass, one by one; the last answer.
fn after(watch: &mut Watch, seconds: u32) -> Next {
    let begin = watch.last.unwrap();
    let mut next = Next::GoOn;
    for second in 1..=seconds {
        next = watch.at(begin + second * SECOND);
    }
    next
}

fn end(watch: &Watch, index: usize) -> Option<End> {
    watch.images[index].1.end.clone()
}

#[test]
fn lines_and_ends_reach_their_image_and_no_other() {
    let mut watch = watch(&[9, 9]);
    let _ = watch.hear(
        b"skerry: hello\n[v1] PASS: a\n[v2] FAIL: b\n[v1] skerry: v2: triple fault\n\
          skerry: v2: debug exit with value 1\n[v2] PASS: last",
    );
    watch.finish();
    assert_eq!(watch.images[0].1.account.checks.len(), 1);
    assert_eq!(watch.images[1].1.account.checks.len(), 2);
    assert_eq!(end(&watch, 0), None);
    assert_eq!(end(&watch, 1), Some(End::Value(1)));
}

#[test]
fn images_share_the_time_and_each_has_its_own_limit() {
    let mut watch = watch(&[2, 9]);
    let _ = watch.hear(b"x");
    assert_eq!(after(&mut watch, 3), Next::GoOn);
    assert_eq!((end(&watch, 0), end(&watch, 1)), (None, None));
    assert_eq!(after(&mut watch, 4), Next::GoOn);
    assert_eq!((end(&watch, 0), end(&watch, 1)), (Some(End::Limit), None));
}

#[test]
fn when_all_are_settled_the_hypervisor_is_told_to_quit_once_and_ended_if_it_does_not() {
    let mut watch = watch(&[3, 9]);
    let _ = watch.hear(b"x\nskerry: v2: powered off\n");
    assert_eq!(end(&watch, 1), Some(End::PowerOff));
    let begin = watch.last.unwrap();
    let mut seen = Vec::new();
    for second in 1..30 {
        match watch.at(begin + second * SECOND) {
            Next::GoOn => {}
            next => seen.push((second, next)),
        }
    }
    assert_eq!(seen[0], (3, Next::Type(b"\x01x")));
    assert_eq!(seen[1].0, 24);
    assert!(matches!(&seen[1].1, Next::Stop(why) if why.contains("did not quit")));
}

#[test]
fn a_machine_that_is_silent_is_given_up() {
    let mut watch = watch(&[1]);
    let begun = watch.begun;
    assert_eq!(watch.at(begun + 100 * SECOND), Next::GoOn);
    assert_eq!(end(&watch, 0), None);
    assert!(matches!(watch.at(begun + 181 * SECOND), Next::Stop(_)));
}

#[test]
fn an_image_that_runs_on_after_its_last_word_is_dismissed_early() {
    let mut watch = watch(&[900]);
    let _ = watch.hear(b"[v1] SOTEST VERSION 1 BEGIN 1\n[v1] SOTEST SUCCESS\n[v1] SOTEST END\n");
    assert!(matches!(after(&mut watch, 2), Next::Type(_)));
    assert_eq!(end(&watch, 0), Some(End::Dismissed));
}

#[test]
fn an_image_alone_owns_every_line_and_all_the_time() {
    let mut alone = Alone::new(Heard::new(Duration::ZERO), || false);
    assert_eq!(alone.hear(b"[v1] x\nPASS: a\nPASS: b"), Next::GoOn);
    alone.finish();
    assert_eq!(alone.image.account.checks.len(), 2);
    assert_eq!(alone.bytes, 22);
    assert!(matches!(alone.tick(), Next::Stop(_)));
    assert_eq!(alone.image.end, Some(End::Limit));
}

#[test]
fn a_machine_that_goes_on_after_the_exit_value_gets_a_moment_and_no_more() {
    let mut alone = Alone::new(Heard::new(900 * SECOND), || true);
    let now = Instant::now();
    let past = [0, 1, 2, 3].map(|second| alone.is_past_its_value(now + second * SECOND));
    assert_eq!(past, [false, false, false, true]);
}

#[test]
fn a_console_without_end_keeps_its_beginning_and_its_end() {
    let mut console = Console::default();
    for number in 0..FIRST_LINES + LAST_LINES + 7 {
        console.push(&number.to_string());
    }
    console.push(" ");
    let text = console.text();
    assert!(text.starts_with("0\n1\n"));
    assert!(text.contains("... 8 lines left out ...\n"));
    assert_eq!(console.last_line(), Some("20206"));
}
