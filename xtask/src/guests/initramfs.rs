//! Initial RAM disks, made on the fly.
//!
//! Owns their content: `/init` and a console node; for a script a few folders, and busybox
//! under the names of its applets. Not compressed, because unpacking costs a guest more than
//! copying. Called by `guests`.

use std::io::Cursor;

use anyhow::{Context, Result};
use cpio::{NewcBuilder, write_cpio};

/// Runs a few commands and switches off. The VM's `name` comes from the command line: the
/// kernel hands words it does not know to `/init` as its environment.
pub const DEMO_INIT: &str = include_str!("demo-init.sh");

/// A shell on the console; leaving it switches off.
pub const INTERACTIVE_INIT: &str = include_str!("interactive-init.sh");

const FOLDERS: [&str; 5] = ["bin", "dev", "proc", "sys", "tmp"];

/// The applets that get a name of their own; `busybox NAME` runs any other.
const APPLETS: [&str; 26] = [
    "awk", "cat", "clear", "cut", "date", "dmesg", "echo", "free", "grep", "head", "ls", "mount",
    "nproc", "poweroff", "ps", "reboot", "sed", "setsid", "sh", "sleep", "stty", "top", "uname",
    "uptime", "vi", "wc",
];

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// The archive: the same bytes for the same busybox and script.
///
/// # Errors
/// The archive cannot be written.
pub fn build(busybox: &[u8], init: &str) -> Result<Vec<u8>> {
    let mut members = begin(&FOLDERS);
    members.push((member("bin/busybox", PROGRAM), busybox));
    for applet in APPLETS {
        members.push((member(&format!("bin/{applet}"), SYMLINK), b"busybox"));
    }
    members.push((member("init", PROGRAM), init.as_bytes()));
    write(members)
}

/// The archive with no more than this program in it.
///
/// # Errors
/// As [`build`].
pub fn only(init: &[u8]) -> Result<Vec<u8>> {
    let mut members = begin(&["dev"]);
    members.push((member("init", PROGRAM), init));
    write(members)
}

type Member<'a> = (NewcBuilder, &'a [u8]);

fn member(name: &str, mode: u32) -> NewcBuilder {
    NewcBuilder::new(name).mode(mode).nlink(1)
}

/// The folders and the console: the kernel opens it for `/init` before anything is mounted
/// on /dev.
fn begin<'a>(folders: &[&str]) -> Vec<Member<'a>> {
    let folders = folders.iter().map(|name| member(name, FOLDER));
    let console = member("dev/console", CHARACTER_DEVICE);
    let console = console.rdev_major(5).rdev_minor(1);
    let empty: &[u8] = &[];
    let all = folders.chain([console]);
    all.map(|member| (member, empty)).collect()
}

fn write(members: Vec<Member>) -> Result<Vec<u8>> {
    let inputs = members
        .into_iter()
        .map(|(member, bytes)| (member, Cursor::new(bytes)));
    write_cpio(inputs, Vec::new()).context("write the initial RAM disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(mut archive: &[u8]) -> Vec<(String, u32)> {
        let mut names = Vec::new();
        loop {
            let mut reader = cpio::NewcReader::new(archive).unwrap();
            if reader.entry().is_trailer() {
                return names;
            }
            names.push((reader.entry().name().to_string(), reader.entry().mode()));
            std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
            archive = reader.finish().unwrap();
        }
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_init_can_run() {
        let archive = build(b"\x7fELF", DEMO_INIT).unwrap();
        let names = names(&archive);
        let position = |name: &str| names.iter().position(|(found, _)| found == name).unwrap();
        assert!(position("bin") < position("bin/busybox"));
        assert!(position("dev") < position("dev/console"));
        assert_eq!(names[position("init")].1, PROGRAM);
        assert_eq!(names[position("bin/sh")].1, SYMLINK);
    }

    #[test]
    fn a_program_alone_gets_a_console() {
        let names = names(&only(b"\x7fELF").unwrap());
        let found: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, ["dev", "dev/console", "init"]);
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(build(b"b", "i").unwrap(), build(b"b", "i").unwrap());
    }
}
