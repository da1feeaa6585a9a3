//! What a file looks like before anybody reads all of it.
//!
//! Owns the guess whether a file of a folder ought to be an image. A wrong guess costs a line
//! too many or too few, never a wrong result: whether it is one is the loader's to say.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Endings that images have.
const IMAGES: [&str; 7] = ["flat", "elf", "elf32", "elf64", "bin", "rom", "mb"];
/// Endings of what a compiler leaves beside them.
const LEFT_OVERS: [&str; 5] = ["o", "a", "d", "so", "efi"];
/// More than any image has.
const MOST_BYTES: u64 = 256 << 20;
/// An ELF file's type that can be started at its own address [System V ABI, "ELF Header"].
const EXECUTABLE: [u8; 2] = [2, 0];

/// Whether a look inside may be worth it.
pub(super) fn is_worth_reading(path: &Path) -> bool {
    let left_over = ending(path).is_some_and(|ending| LEFT_OVERS.contains(&ending));
    !left_over && fs::metadata(path).is_ok_and(|meta| meta.len() <= MOST_BYTES)
}

/// Whether it says that it is an image, by its name or by its first bytes.
pub(super) fn looks_like_image(path: &Path) -> bool {
    ending(path).is_some_and(|ending| IMAGES.contains(&ending)) || is_executable_elf(path)
}

fn ending(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

fn is_executable_elf(path: &Path) -> bool {
    let mut start = [0; 18];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start.starts_with(b"\x7fELF") && start.ends_with(&EXECUTABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(name: &str, bytes: &[u8]) -> [bool; 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        [is_worth_reading(&path), looks_like_image(&path)]
    }

    #[test]
    fn names_and_first_bytes_tell() {
        let elf = |kind: u8| {
            [
                b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".as_slice(),
                &[kind, 0],
            ]
            .concat()
        };
        assert_eq!(looks("a.flat", b""), [true, true]);
        assert_eq!(looks("kernel", &elf(2)), [true, true]);
        // A program of the host, an object file, a source.
        assert_eq!(looks("tool", &elf(3)), [true, false]);
        assert_eq!(looks("a.o", &elf(1)), [false, false]);
        assert_eq!(looks("a.c", b"int main;"), [true, false]);
    }
}
