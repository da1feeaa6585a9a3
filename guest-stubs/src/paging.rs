//! A second set of page tables in free memory, where a test may break the map.
//!
//! The boot tables lie in the image and stay whole. These map the first GiB only, and the two
//! megabytes from [`memory::SCRATCH`] on in 4 KiB pages that can be taken away one by one.

use crate::{cpu, memory};

const PRESENT_WRITE_USER: u64 = 7;

/// Page tables of our own, in use until dropped.
#[derive(Debug)]
pub struct SmallPages {
    boot_cr3: u64,
    table: u64,
}

impl SmallPages {
    /// Builds the tables in the four pages at `free` (page aligned, outside what the test
    /// unmaps) and switches to them.
    #[must_use]
    pub fn enter(free: u64) -> Self {
        let [map, pointers, directory, table] = [0, 1, 2, 3].map(|page| free + page * 4096);
        memory::fill(free..free + 4 * 4096, 0);
        memory::write64(map, pointers | PRESENT_WRITE_USER);
        memory::write64(pointers, directory | PRESENT_WRITE_USER);
        for entry in 0..512 {
            memory::write64(
                directory + 8 * entry,
                entry << 21 | 0x80 | PRESENT_WRITE_USER,
            );
            let page = memory::SCRATCH + entry * 4096;
            memory::write64(table + 8 * entry, page | PRESENT_WRITE_USER);
        }
        memory::write64(
            directory + 8 * (memory::SCRATCH >> 21),
            table | PRESENT_WRITE_USER,
        );
        let boot_cr3 = cpu::cr3();
        cpu::set_cr3(map);
        Self { boot_cr3, table }
    }

    /// Takes the page at `address`, within 2 MiB from [`memory::SCRATCH`], off the map.
    pub fn unmap(&self, address: u64) {
        memory::write64(self.table + 8 * ((address - memory::SCRATCH) >> 12), 0);
        cpu::set_cr3(cpu::cr3());
    }
}

impl Drop for SmallPages {
    fn drop(&mut self) {
        cpu::set_cr3(self.boot_cr3);
    }
}
