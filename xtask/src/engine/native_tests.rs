//! Tests of what an engine's status and log mean.

use super::*;
use crate::recipe::Recipe;

fn recipe(name: &str) -> NativeRecipe {
    Recipe::read(name).unwrap().native.unwrap()
}

fn told(status: i32, log: &str, heard: usize) -> Told {
    Told {
        status: Some(status),
        log: log.into(),
        output: String::new(),
        heard,
    }
}

#[test]
fn qemus_status_has_the_exit_value() {
    for name in ["qemu-tcg", "qemu-kvm"] {
        let end = |status| recipe(name).end(&Ending::Closed, &told(status, "", 9));
        assert_eq!(end(1), End::Value(0));
        assert_eq!(end(3), End::Value(1));
        assert_eq!(end(77), End::Value(38));
    }
}

#[test]
fn a_qemu_that_did_not_start_is_no_exit_value_of_0() {
    let mut silent = told(1, "", 0);
    assert_eq!(
        recipe("qemu-tcg").end(&Ending::Closed, &silent),
        End::Value(0)
    );
    silent.output = "qemu-system-x86_64: Cannot load x86-64 image, give a 32bit one.\n".into();
    let end = recipe("qemu-tcg").end(&Ending::Closed, &silent);
    assert!(
        matches!(&end, End::Broke(why) if why.contains("give a 32bit one")),
        "{end:?}"
    );
}

#[test]
fn qemus_log_tells_a_power_off_and_a_triple_fault_from_a_reset() {
    let end = |log| recipe("qemu-tcg").end(&Ending::Closed, &told(0, log, 9));
    assert_eq!(end("CPU Reset (CPU 0)\n"), End::Reset);
    assert_eq!(end("CPU Reset (CPU 0)\nTriple fault\n"), End::TripleFault);
    assert_eq!(
        end("qemu_system_shutdown_request reason=6\n"),
        End::PowerOff
    );
}

#[test]
fn bochs_log_has_the_exit_value() {
    let log = "00081516813d[UNMAP ] unmapped: 32-bit write to 00f4 = 0000003f\n\
               00081516830i[SIM   ] quit_sim called with exit code 1\n";
    let end = |ending, log| recipe("bochs").end(&ending, &told(1, log, 9));
    assert_eq!(end(Ending::Closed, log), End::Value(63));
    let byte = "00081516813d[UNMAP ] unmapped: 8-bit write to 00f4 = 01\n";
    assert_eq!(end(Ending::Closed, byte), End::Value(1));
    let other = "00081516813d[UNMAP ] unmapped: 8-bit write to 10f4 = 01\n";
    assert!(matches!(end(Ending::Closed, other), End::Broke(_)));
}

#[test]
fn an_exit_value_is_seen_in_a_growing_log_once_its_line_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut follow = Follow {
        log: log.clone(),
        value: Regex::new("00f4 = ([0-9a-f]+)").ok(),
        read_bytes: 0,
    };
    assert!(!follow.tells_value());
    let mut written = String::new();
    for (more, tells) in [
        ("unmapped: write to 00f4 = 0", false),
        ("0000001\n", true),
        ("other\n", false),
    ] {
        written += more;
        fs::write(&log, &written).unwrap();
        assert_eq!(follow.tells_value(), tells, "{written}");
    }
}

#[test]
fn an_image_that_goes_on_after_its_exit_value_ended_with_it() {
    let log = "unmapped: 32-bit write to 00f4 = 00000001\n";
    let stopped = Ending::Stopped("enough".into());
    let end = |log| recipe("bochs").end(&stopped, &told(1, log, 9));
    assert_eq!(end(log), End::Value(1));
    assert_eq!(end(""), End::Dismissed);
}

#[test]
fn a_machine_that_starts_over_and_over_has_been_reset() {
    let mark = recipe("bochs").reset.unwrap();
    let log = |times: usize| format!("{mark}\n").repeat(times);
    let end = |log: String| recipe("bochs").end(&Ending::TimeLimit, &told(0, &log, 9));
    assert_eq!(end(log(1)), End::Limit);
    assert_eq!(end(log(2)), End::Reset);
}

#[test]
fn an_image_is_started_with_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let image = NativeImage {
        start: Start::Kernel {
            bytes: b"kernel".to_vec(),
            cmdline: "cpuid {vcpus}".into(),
        },
        name: "vmexit.flat".into(),
        vcpus: 3,
        memory_mib: 128,
        test_devices: true,
    };
    let mut engines = super::super::all().unwrap().into_iter();
    let tcg = engines.find(|engine| engine.name() == "qemu-tcg").unwrap();
    let native = Native::new(tcg.as_ref(), image).unwrap();
    let filling = Filling {
        folder: folder.path(),
        hypervisor: Path::new(""),
        bundle: Path::new(""),
        serial_port: 4711,
        memory_mib: 64,
    };
    let command = crate::command::shown(&native.command(&filling).unwrap());
    for part in [
        "-kernel vmexit.flat",
        "-append 'cpuid {vcpus}'",
        "-smp 3",
        "-m 128M",
        "-device pc-testdev",
        "tcp:127.0.0.1:4711",
    ] {
        assert!(command.contains(part), "{part} is missing in {command}");
    }
    assert_eq!(
        fs::read(folder.path().join("vmexit.flat")).unwrap(),
        b"kernel"
    );
}
