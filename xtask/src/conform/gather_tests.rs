//! Tests of what is found where, in folders made for it.

use super::*;
use std::fs::create_dir;
use tempfile::TempDir;

/// An ELF file of 32 bits with one segment of `bytes` at 4 MiB, entered there.
fn elf(bytes: u32) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    for word in [0x40_0000_u32, 52, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [1, 84, 0x40_0000, 0x40_0000, 4, bytes, 7, 1] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0xf4; 4]);
    file
}

const CFG: &str = "\
[two]
file = b.flat
smp = 2
test_args = \"x y\"
timeout = 30
groups = slow
qemu_params = -m 64 -cpu qemu64
[old]
file = b.flat
arch = i386
[hidden]
file = b.flat
groups = nodefault other
[gone]
file = gone.flat
";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("unittests.cfg", CFG.as_bytes());
    for name in ["b.flat", "b.elf", "a.flat", "a.elf"] {
        write(name, &elf(4096));
    }
    write("notes.txt", b"nothing to run");
    write("b.o", &elf(4));
    folder
}

fn search(choice: &Choice, paths: &[&Path]) -> Gathered {
    let mut search = Search::new(choice);
    paths.iter().for_each(|path| search.path(path));
    search.finish()
}

fn names(gathered: &Gathered) -> Vec<&str> {
    let cases = gathered.cases.iter();
    cases.map(|case| case.name.as_str()).collect()
}

#[test]
fn a_folder_has_the_tests_of_its_list_and_the_images_that_are_not_in_it() {
    let folder = folder();
    let found = search(&Choice::default(), &[folder.path()]);
    assert_eq!(names(&found), ["two", "a.flat"]);
    let left_out: Vec<&str> = found
        .left_out
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(left_out, ["old", "hidden", "gone"]);
    assert_eq!(found.left_out[0].1, "i386 only");
    assert_eq!(found.refused, [""; 0]);
    let two = &found.cases[0];
    assert_eq!(
        (two.vcpus, two.memory_bytes, two.limit_s),
        (2, 64 << 20, 30)
    );
    assert_eq!((two.arguments.as_str(), two.wants.len()), ("x y", 1));
    assert_eq!(found.cases[1].memory_bytes, MEMORY_BYTES);
}

#[test]
fn without_a_list_every_form_of_a_kernel_is_an_image() {
    let folder = folder();
    fs::remove_file(folder.path().join("unittests.cfg")).unwrap();
    let found = search(&Choice::default(), &[folder.path()]);
    assert_eq!(names(&found), ["a.elf", "a.flat", "b.elf", "b.flat"]);
}

#[test]
fn what_the_command_line_says_wins() {
    let folder = folder();
    let choice = Choice {
        append: Some("z".into()),
        vcpus: Some(4),
        memory_bytes: Some(32 << 20),
        limit_s: Some(5),
        ..Choice::default()
    };
    let found = search(&choice, &[folder.path()]);
    let two = &found.cases[0];
    assert_eq!((two.vcpus, two.memory_bytes, two.limit_s), (4, 32 << 20, 5));
    assert_eq!(two.arguments, "z");
}

#[test]
fn tests_are_chosen_by_name_and_by_group() {
    let folder = folder();
    let only = |name: &str| Choice {
        only: vec![name.into()],
        ..Choice::default()
    };
    assert_eq!(
        names(&search(&only("hidden"), &[folder.path()])),
        ["hidden"]
    );
    assert_eq!(
        names(&search(&only("a.flat"), &[folder.path()])),
        ["a.flat"]
    );
    let group = Choice {
        groups: vec!["other".into(), "slow".into()],
        ..Choice::default()
    };
    assert_eq!(names(&search(&group, &[folder.path()])), ["two", "hidden"]);
    let unknown = search(&only("nobody"), &[folder.path()]);
    assert!(unknown.cases.is_empty());
    assert!(
        unknown
            .refused
            .iter()
            .any(|line| line.contains("--only nobody"))
    );
}

#[test]
fn a_file_named_by_itself_is_run_as_its_list_says_unless_it_gets_arguments() {
    let folder = folder();
    let file = folder.path().join("b.flat");
    let found = search(&Choice::default(), &[&file]);
    assert_eq!(names(&found), ["two"]);
    let choice = Choice {
        append: Some("z".into()),
        ..Choice::default()
    };
    assert_eq!(names(&search(&choice, &[&file])), ["b.flat"]);
}

#[test]
fn what_cannot_be_run_gets_a_line_each_and_the_rest_runs() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("empty.flat", b"");
    write("garbage.elf", b"not an image");
    write("large.flat", &elf(1 << 30));
    let mut other_class = elf(4096);
    other_class[18] = 40;
    write("arm.elf", &other_class);
    let missing = folder.path().join("missing.flat");
    let found = search(&Choice::default(), &[folder.path(), &missing]);
    assert_eq!(names(&found), ["two", "a.flat"]);
    assert_eq!(found.refused.len(), 5, "{:?}", found.refused);
    for (file, why) in [
        ("arm.elf", "machine 40"),
        ("empty.flat", "empty"),
        ("garbage.elf", "no bzImage"),
        ("large.flat", "raise `memory`"),
        ("missing.flat", "No such file"),
    ] {
        let said = |line: &String| line.contains(file) && line.contains(why);
        assert!(
            found.refused.iter().any(said),
            "{file}: {:?}",
            found.refused
        );
    }
}

#[test]
fn a_folder_without_images_says_so() {
    let folder = tempfile::tempdir().unwrap();
    create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("a.c"), "int main;").unwrap();
    let found = search(&Choice::default(), &[folder.path()]);
    assert_eq!(found.refused.len(), 1);
    assert!(found.refused[0].ends_with("this folder has no image"));
}

#[test]
fn images_of_one_name_are_told_apart_by_their_folders() {
    let [one, other] = [folder(), folder()];
    let found = search(&Choice::default(), &[one.path(), other.path()]);
    assert_eq!(found.cases.len(), 4);
    assert!(found.cases[0].name.starts_with("two (/"));
    assert_ne!(found.cases[0].name, found.cases[2].name);
}
