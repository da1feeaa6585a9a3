//! A VMCS as ring 0 has told it: names of fields, each with its value.
//!
//! Owns which are asked for. Does not own the call: `root` makes it.

use skerry_abi::FieldValue;
use skerry_manual::vmx::caps::Capabilities;
use skerry_words::MsrIndex;

use crate::field::{self, Field, VmcsRead};
use crate::{Failure, Machine, failed};

/// With the index of an MSR it makes the name of a capability word.
const CAPABILITY: u64 = 1 << 63;
const CAPABILITIES: core::ops::RangeInclusive<u32> = 0x480..=0x493;

/// There are at most so many names.
pub const MOST_ASKED: usize = 192;

/// All that the checks look at, with values to be filled in.
#[must_use]
pub fn asked() -> [FieldValue; MOST_ASKED] {
    let mut fields = [FieldValue::default(); MOST_ASKED];
    for (field, name) in fields.iter_mut().zip(names()) {
        field.name = name;
    }
    fields
}

/// The encodings of fields, and the indices of capability MSRs with bit 63.
pub(crate) fn names() -> impl Iterator<Item = u64> {
    let fields = field::all().map(|field| u64::from(field.encoding()));
    let words = CAPABILITIES.map(|index| u64::from(index) | CAPABILITY);
    fields.chain(words)
}

/// Values by name; 0 for what is not among them.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What ring 0 has told.
    pub values: &'a [FieldValue],
    /// EAX of CPUID leaf 80000008h: the widths of physical and linear addresses.
    pub widths: u32,
}

impl Told<'_> {
    fn value(&self, name: u64) -> u64 {
        let found = self.values.iter().find(|field| field.name == name);
        found.map_or(0, |field| field.value)
    }

    /// Calls `tell` for each rule that is broken, in the order of the manual.
    pub fn each_failure(&self, tell: impl FnMut(Failure)) {
        let word = |index: MsrIndex| self.value(u64::from(index.0) | CAPABILITY);
        let machine = Machine {
            capabilities: &Capabilities::read(word),
            physical_bits: self.widths & 0xff,
            linear_bits: (self.widths >> 8) & 0xff,
        };
        failed(self, machine).for_each(tell);
    }
}

impl VmcsRead for Told<'_> {
    fn read(&self, field: Field) -> u64 {
        self.value(u64::from(field.encoding()))
    }
}
