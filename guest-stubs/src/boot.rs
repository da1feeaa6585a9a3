//! What the boot loader told: command line and memory map.
//!
//! `hvm_start_info` `[Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h]`: command
//! line at 24, memory map at 40, its length at 48 (from version 1 on).

use crate::memory;
use core::ops::Range;

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;
const MAX_RANGES: usize = 16;
const MAX_COMMAND_LINE: usize = 256;

/// A copy of the start structure's contents.
#[derive(Debug)]
pub struct Boot {
    command_line: [u8; MAX_COMMAND_LINE],
    ram: [Range<u64>; MAX_RANGES],
    /// The lowest and highest address of what the loader left in memory, to be kept out of
    /// claims about fresh memory.
    loader: [Range<u64>; 3],
}

impl Boot {
    pub(crate) fn read(start: u64) -> Self {
        let mut boot = Self {
            command_line: [0; MAX_COMMAND_LINE],
            ram: [const { 0..0 }; MAX_RANGES],
            loader: [const { 0..0 }; 3],
        };
        if memory::read32(start) == MAGIC {
            boot.loader[0] = start..start + 56;
            boot.read_command_line(memory::read64(start + 24));
            if memory::read32(start + 4) >= 1 {
                boot.read_map(
                    memory::read64(start + 40),
                    memory::read32(start + 48).into(),
                );
            }
        }
        boot
    }

    fn read_command_line(&mut self, at: u64) {
        if at == 0 {
            return;
        }
        for (byte, address) in self.command_line.iter_mut().zip(at..) {
            match memory::read8(address) {
                0 => break,
                letter => *byte = letter,
            }
        }
        self.loader[1] = at..at + MAX_COMMAND_LINE as u64;
    }

    fn read_map(&mut self, at: u64, entries: u64) {
        let ram = (0..entries)
            .map(|entry| at + entry * 24)
            .filter_map(ram_range);
        for (slot, range) in self.ram.iter_mut().zip(ram) {
            *slot = range;
        }
        self.loader[2] = at..at + entries * 24;
    }

    /// The command line.
    #[must_use]
    pub fn command_line(&self) -> &str {
        let text = core::str::from_utf8(&self.command_line).unwrap_or("");
        text.trim_end_matches('\0')
    }

    /// Whether this word is on the command line.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.command_line()
            .split_ascii_whitespace()
            .any(|found| found == word)
    }

    /// The value of `key=value` on the command line.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut words = self.command_line().split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The value of `key=number`, decimal or with 0x, else `default`.
    #[must_use]
    pub fn number(&self, key: &str, default: u64) -> u64 {
        let parse = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        self.value(key).and_then(parse).unwrap_or(default)
    }

    /// The ranges of RAM the loader's map names.
    pub fn ram(&self) -> impl Iterator<Item = Range<u64>> {
        self.ram.iter().filter(|range| !range.is_empty()).cloned()
    }

    /// The RAM above 2 MiB in the range that holds the image, or 2 to 4 MiB without a map.
    #[must_use]
    pub fn free(&self) -> Range<u64> {
        let image = memory::image();
        let mut holding = self.ram().filter(|range| range.contains(&image.end));
        let end = holding.next().map_or(0x40_0000, |range| range.end);
        memory::SCRATCH.max(image.end.next_multiple_of(4096))
            ..end.min(memory::MAPPED_BYTES) & !0xfff
    }

    /// Whether the loader left something in this page.
    #[must_use]
    pub fn is_loaders(&self, page: u64) -> bool {
        self.loader
            .iter()
            .any(|range| range.start < page + 4096 && page < range.end)
    }
}

fn ram_range(entry: u64) -> Option<Range<u64>> {
    let start = memory::read64(entry);
    let end = start.checked_add(memory::read64(entry + 8))?;
    (memory::read32(entry + 16) == RAM).then_some(start..end)
}
