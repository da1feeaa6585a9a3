//! What is refused, word for word where the place matters.

mod modules;

use std::fs;

use super::*;
use skerry_manifest::{ImageKind, ModuleManifest, OnExit, PageSize};
use tempfile::TempDir;

/// A folder with one good boot sector, `sector`, and other files on demand.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let mut sector = vec![0xf4; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        desk.put("sector", &sector);
        desk
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn parse(&self, text: &str) -> Result<Source> {
        parse("my.toml", text, self.0.path())
    }

    /// The lines that a manifest is refused with, by parsing or by checking.
    fn refusals(&self, text: &str) -> Vec<String> {
        refused(self.parse(text).and_then(|source| source.check()))
    }
}

fn refused(result: Result<()>) -> Vec<String> {
    let error = result.expect_err("not refused");
    let Some(Failure::Input(text)) = error.downcast_ref() else {
        panic!("{error}")
    };
    text.lines().map(String::from).collect()
}

/// Asserts that there is one refusal, at this place and with this reason.
fn assert_one(refusals: &[String], place: &str, reason: &str) {
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert!(refusals[0].starts_with(place), "{}", refusals[0]);
    assert!(refusals[0].contains(reason), "{}", refusals[0]);
}

const GOOD: &str = r#"
[[vm]]
name = "alpha"
memory = "1M"
kernel = "sector"
"#;

/// The good manifest with one more line in its table.
fn good_with(line: &str) -> String {
    format!("{GOOD}{line}\n")
}

#[test]
fn a_vm_that_leaves_everything_out_has_the_defaults() {
    let desk = Desk::new();
    let source = desk.parse(GOOD).unwrap();
    let expected = VmManifest::new("alpha".into(), 1 << 20, "sector".into());
    assert_eq!(source.manifest.vms, [expected]);
    source.check().unwrap();
}

fn module(file: &str, cmdline: &str) -> ModuleManifest {
    ModuleManifest {
        file: file.into(),
        cmdline: cmdline.into(),
    }
}

#[test]
fn every_key_reaches_the_manifest() {
    let text = r#"
attach = "alpha"
[[vm]]
name = "alpha"
memory = 268435456
kernel = "debian:cloud"
initrd = "busybox:demo"
cmdline = "console=ttyS0"
modules = [{ file = "sector", cmdline = "one" }, { file = "stub:hello-port" }]
vcpus = 4
kind = "linux"
weight = 300
on_exit = "restart"
max_restarts = 7
page_size = "4K"
mmio_uart = true
apic = "hardware"
test_devices = true
rtc = 2000-01-01T00:00:01
background = true
monitor = "saboteur"
"#;
    let source = Desk::new().parse(text).unwrap();
    let expected = VmManifest {
        name: "alpha".into(),
        memory_bytes: 256 << 20,
        kind: ImageKind::LinuxBzImage,
        kernel: "debian:cloud".into(),
        initrd: Some("busybox:demo".into()),
        cmdline: "console=ttyS0".into(),
        modules: vec![module("sector", "one"), module("stub:hello-port", "")],
        vcpus: 4,
        weight: 300,
        on_exit: OnExit::Restart,
        max_restarts: 7,
        page_size: PageSize::Size4K,
        mmio_uart: true,
        apic: skerry_manifest::ApicBy::Hardware,
        test_devices: true,
        rtc_unix_seconds: 946_684_801,
        background: true,
        monitor: Some("saboteur".into()),
    };
    assert_eq!(source.manifest.vms, [expected]);
    assert_eq!(source.manifest.attach.as_deref(), Some("alpha"));
}

#[test]
fn broken_toml_is_refused_at_its_line() {
    assert_one(
        &Desk::new().refusals("[[vm]]\nname = \n"),
        "my.toml:2:8: ",
        "",
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    let refusals = Desk::new().refusals(&good_with("memmory = 1"));
    let expected =
        "my.toml:6:1: vm \"alpha\": key `memmory`: unknown key `memmory`, expected one of";
    assert_one(&refusals, expected, "`memory`");
    assert_one(
        &Desk::new().refusals("vms = 1\n"),
        "my.toml:1:1: unknown key `vms`",
        "[[vm]]",
    );
}

#[test]
fn a_missing_key_is_refused_at_its_table() {
    let refusals = Desk::new().refusals("\n[[vm]]\nname = \"alpha\"\nkernel = \"sector\"\n");
    assert_one(
        &refusals,
        "my.toml:2:1: vm \"alpha\": missing key `memory`",
        "add it",
    );
    let nameless = Desk::new().refusals("[[vm]]\nmemory = 1\nkernel = \"sector\"\n");
    assert_one(
        &nameless,
        "my.toml:1:1: vm #1: missing key `name`",
        "add it",
    );
}

#[test]
fn a_value_of_another_type_is_refused_at_its_key() {
    for (line, reason) in [
        ("weight = \"heavy\"", "u32"),
        ("weight = -1", "u32"),
        ("on_exit = \"explode\"", "`stop` or `restart`"),
        ("kind = \"zip\"", "`linux`"),
        ("page_size = \"3M\"", "`2M`"),
        ("rtc = \"noon\"", "\"host\""),
        ("rtc = 12", "\"host\""),
        ("mmio_uart = 1", "boolean"),
        ("vcpus = -1", "u32"),
        ("test_devices = 1", "boolean"),
        ("modules = \"sector\"", "sequence"),
        (
            "modules = [{ cmdline = \"x\" }]",
            "add it to every table of `modules`",
        ),
        (
            "modules = [{ file = \"sector\", text = 1 }]",
            "unknown key `text`",
        ),
    ] {
        let key = line.split(' ').next().unwrap();
        let place = format!("my.toml:6:1: vm \"alpha\": key `{key}`: ");
        assert_one(&Desk::new().refusals(&good_with(line)), &place, reason);
    }
}

#[test]
fn a_monitor_that_no_component_is_is_refused_with_those_that_there_are() {
    let refusals = Desk::new().refusals(&good_with("monitor = \"qemu\""));
    let place = "my.toml:6:1: vm \"alpha\": key `monitor`: no component \"qemu\"";
    assert_one(&refusals, place, "there are: vmm, saboteur");
}

#[test]
fn a_command_line_too_long_for_a_vmms_start_page_is_refused() {
    let line = format!("cmdline = \"{}\"", "x".repeat(3073));
    let place = "my.toml:6:1: vm \"alpha\": key `cmdline`: a command line of 3073 bytes";
    assert_one(&Desk::new().refusals(&good_with(&line)), place, "3072");
}

#[test]
fn more_vms_than_a_machine_has_are_refused() {
    let vm = |number| GOOD.replace("alpha", &format!("vm-{number}"));
    let text = |count| (0..count).map(vm).collect::<String>();
    let desk = Desk::new();
    desk.parse(&text(128)).unwrap().check().unwrap();
    assert_one(
        &desk.refusals(&text(129)),
        "my.toml: 129 VMs",
        "at most 128",
    );
}

#[test]
fn memory_that_no_vm_can_have_is_refused() {
    for (memory, reason) in [
        ("0", "outside 1 MiB to 512 GiB"),
        ("\"0M\"", "outside 1 MiB to 512 GiB"),
        ("\"512K\"", "outside 1 MiB to 512 GiB"),
        ("\"2T\"", "outside 1 MiB to 512 GiB"),
        ("1048577", "no multiple of 4096"),
        ("\"lots\"", "is no size"),
        ("-1", "is no size"),
        ("1.5", "a size in bytes"),
    ] {
        let text = GOOD.replace("\"1M\"", memory);
        let place = "my.toml:4:1: vm \"alpha\": key `memory`: ";
        assert_one(&Desk::new().refusals(&text), place, reason);
    }
}

#[test]
fn more_memory_than_the_machine_has_is_refused_at_the_vm_that_passes_it() {
    let text = format!(
        "{GOOD}{}",
        GOOD.replace("alpha", "beta").replace("1M", "3M")
    );
    let source = Desk::new().parse(&text).unwrap();
    source.check_memory(4 << 20).unwrap();
    let refusals = refused(source.check_memory(3 << 20));
    let reason = "3 MiB, 4 MiB with the VMs before it, is more than the 3 MiB";
    assert_one(
        &refusals,
        "my.toml:9:1: vm \"beta\": key `memory`: ",
        reason,
    );
}

#[test]
fn two_vms_of_one_name_are_refused_at_the_second() {
    let refusals = Desk::new().refusals(&format!("{GOOD}{GOOD}"));
    assert_one(
        &refusals,
        "my.toml:8:1: vm \"alpha\": key `name`: ",
        "two VMs are named",
    );
}

#[test]
fn a_name_that_could_not_mark_a_line_is_refused() {
    for name in ["", "Alpha", "a b", "sixteen-letters-"] {
        let text = GOOD.replace("alpha", name);
        let place = format!("my.toml:3:1: vm \"{name}\": key `name`: ");
        assert_one(
            &Desk::new().refusals(&text),
            &place,
            "1 to 15 of the characters",
        );
    }
}

#[test]
fn a_weight_outside_its_range_is_refused() {
    for weight in [0, 1001] {
        let refusals = Desk::new().refusals(&good_with(&format!("weight = {weight}")));
        assert_one(
            &refusals,
            "my.toml:6:1: vm \"alpha\": key `weight`: ",
            "outside 1 to 1000",
        );
    }
}

#[test]
fn a_manifest_without_a_vm_is_refused() {
    assert_one(
        &Desk::new().refusals("# nothing\n"),
        "my.toml: no VM",
        "[[vm]]",
    );
    assert_one(
        &Desk::new().refusals("[vm]\n"),
        "my.toml:1:2: ",
        "two brackets",
    );
}

#[test]
fn attaching_to_nobody_is_refused_at_its_line() {
    let refusals = Desk::new().refusals(&format!("attach = \"beta\"\n{GOOD}"));
    assert_one(&refusals, "my.toml:1:1: key `attach`: ", "\"beta\"");
    let desk = Desk::new();
    let mut source = desk.parse(GOOD).unwrap();
    source.manifest.attach = Some("beta".into());
    assert!(
        source
            .check()
            .unwrap_err()
            .to_string()
            .contains("there are: alpha")
    );
}

#[test]
fn files_that_cannot_be_images_are_refused() {
    let desk = Desk::new();
    desk.put("empty", b"");
    fs::create_dir(desk.0.path().join("folder")).unwrap();
    for (kernel, reason) in [
        ("absent", "there is no file"),
        ("empty", "is empty"),
        ("folder", "is a directory"),
        ("", "is a directory"),
        ("/dev/zero", "is no regular file"),
        ("sector/in", "cannot be read"),
    ] {
        let text = GOOD.replace("\"sector\"", &format!("\"{kernel}\""));
        let place = format!("my.toml:5:1: vm \"alpha\": key `kernel`: \"{kernel}\": ");
        assert_one(&desk.refusals(&text), &place, reason);
    }
    let refusals = desk.refusals(&good_with("initrd = \"absent\""));
    assert_one(
        &refusals,
        "my.toml:6:1: vm \"alpha\": key `initrd`: \"absent\": ",
        "no file",
    );
}

#[test]
fn an_image_that_is_not_what_it_claims_is_refused_at_its_key() {
    let desk = Desk::new();
    desk.put("text", b"This is no kernel at all.");
    let text = GOOD.replace("sector", "text");
    let place = "my.toml:5:1: vm \"alpha\": key `kernel`: \"text\": the image starts with";
    assert_one(&desk.refusals(&text), place, "no bzImage");
    let refusals = desk.refusals(&good_with("kind = \"linux\""));
    assert_one(
        &refusals,
        "my.toml:5:1: vm \"alpha\": key `kernel`: \"sector\": ",
        "HdrS",
    );
}

#[test]
fn what_the_loader_refuses_is_shown_at_the_key_to_blame() {
    let refusals = Desk::new().refusals(&good_with("cmdline = \"quiet\""));
    assert_one(
        &refusals,
        "my.toml:6:1: vm \"alpha\": key `cmdline`: ",
        "leave `cmdline` out",
    );
}

#[test]
fn every_refusal_is_shown_at_once() {
    let bad = GOOD.replace("sector", "absent").replace("1M", "0M");
    let refusals = Desk::new().refusals(&format!("{bad}{GOOD}weight = 0\n"));
    let places: Vec<_> = refusals
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "my.toml:4:1:",
            "my.toml:11:1:",
            "my.toml:8:1:",
            "my.toml:5:1:"
        ]
    );
}

#[test]
fn symbolic_guests_wait_until_somebody_has_their_bytes() {
    let desk = Desk::new();
    let source = desk.parse(&GOOD.replace("sector", "stub:hello")).unwrap();
    source.check().unwrap();
    let sector = fs::read(desk.0.path().join("sector")).unwrap();
    let files = source.files(&|_| Ok(sector.clone())).unwrap();
    assert_eq!(files["stub:hello"], sector);
    let text = refused(source.files(&|_| Ok(b"text".to_vec())).map(drop));
    assert_one(
        &text,
        "my.toml:5:1: vm \"alpha\": key `kernel`: \"stub:hello\": ",
        "no bzImage",
    );
}

#[test]
fn a_symbolic_name_that_is_unknown_is_refused_and_one_that_fails_is_not() {
    let source = Desk::new()
        .parse(&GOOD.replace("sector", "stub:nobody"))
        .unwrap();
    let unknown = source.files(&|_| Err(Failure::Input("no such stub".into()).into()));
    let place = "my.toml:5:1: vm \"alpha\": key `kernel`: \"stub:nobody\": no such stub";
    assert_one(&refused(unknown.map(drop)), place, "");
    let failed = source.files(&|_| Err(Failure::Missing("no apt-get".into()).into()));
    let error = failed.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(Failure::Missing(_))),
        "{error:?}"
    );
}

#[test]
fn flags_are_refused_by_their_names() {
    let desk = Desk::new();
    let vm = |memory_bytes, kernel: &str| {
        let vm = VmManifest::new("guest".into(), memory_bytes, kernel.into());
        single(vm, desk.0.path())
    };
    vm(1 << 20, "sector").check().unwrap();
    assert_one(
        &refused(vm(1 << 20, "absent").check()),
        "--kernel: \"absent\": ",
        "no file",
    );
    assert_one(
        &refused(vm(0, "sector").check()),
        "--memory: ",
        "outside 1 MiB",
    );
    assert_one(
        &refused(vm(2 << 20, "sector").check_memory(1 << 20)),
        "--memory: 2 MiB",
        "1 MiB",
    );
}

#[test]
fn a_manifest_that_is_not_there_is_refused_by_its_path() {
    let error = read(Path::new("/no/such.toml")).unwrap_err();
    assert_one(
        &refused(Err(error)),
        "/no/such.toml: the manifest cannot be read",
        "TOML",
    );
}
