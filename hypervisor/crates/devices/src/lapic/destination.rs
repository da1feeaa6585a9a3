//! Who a message is for.
//!
//! Owns physical and logical addressing in both modes, broadcasts, and the arbitration of
//! lowest-priority messages `[SDM 3A, "Determining IPI Destination" and "Logical Destination
//! Mode in x2APIC Mode", ed. 085]`. Does not own where messages come from. The VMM calls
//! [`route`] for those of vCPUs, of the I/O APIC and of MSIs.

use core::ops::Deref;

use skerry_words::ApicPage;

use super::register::{DESTINATION_FORMAT, ID, LOGICAL_DESTINATION};
use super::{Ipi, IpiMode, LocalApic, Recipients};

/// The ID that means everybody.
const BROADCAST: u32 = u32::MAX;

/// How a destination is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DestinationMode {
    /// As an APIC ID.
    Physical,
    /// By each APIC's logical destination register.
    Logical,
}

/// A destination. FFFFFFFFh is everybody, in both modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// How to read `id`.
    pub mode: DestinationMode,
    /// Which APIC or APICs.
    pub id: u32,
}

impl Destination {
    /// A destination of 8 bits, as an APIC in xAPIC mode, an I/O APIC and an MSI have: its
    /// FFh is everybody.
    #[must_use]
    pub fn from_byte(mode: DestinationMode, id: u8) -> Self {
        let id = match id {
            u8::MAX => BROADCAST,
            id => u32::from(id),
        };
        Self { mode, id }
    }
}

impl<P: Deref<Target = ApicPage>> LocalApic<P> {
    /// Whether a message with this destination is for this APIC. One that is disabled by
    /// software is addressed all the same, one that is disabled globally never.
    #[must_use]
    pub fn is_addressed(&self, destination: Destination) -> bool {
        self.is_enabled()
            && (destination.id == BROADCAST
                || match destination.mode {
                    DestinationMode::Physical => self.has_id(destination.id),
                    DestinationMode::Logical => self.has_logical_id(destination.id),
                })
    }

    fn has_id(&self, id: u32) -> bool {
        let own = self.page.get(ID);
        id == if self.is_x2apic() { own } else { own >> 24 }
    }

    fn has_logical_id(&self, id: u32) -> bool {
        let own = self.page.get(LOGICAL_DESTINATION);
        if self.is_x2apic() {
            return own >> 16 == id >> 16 && own & id & 0xffff != 0;
        }
        let own = own >> 24;
        // A message of 8 bits, or one of 32 that no APIC in xAPIC mode can be meant by.
        id <= 0xff
            && match self.page.get(DESTINATION_FORMAT) >> 28 {
                0xf => own & id != 0,
                0 => own >> 4 == id >> 4 && own & id & 0xf != 0,
                _ => false,
            }
    }
}

/// The APICs a message goes to, by their index, 0 to 63.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Targets(u64);

impl Targets {
    /// Whether the APIC of this index is one.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn insert(&mut self, index: usize) {
        self.0 |= bit(index);
    }
}

impl Iterator for Targets {
    type Item = usize;

    /// The lowest index left.
    fn next(&mut self) -> Option<usize> {
        let index = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (index < u64::BITS).then_some(index as usize)
    }
}

fn bit(index: usize) -> u64 {
    u32::try_from(index).map_or(0, |index| 1_u64.unbounded_shl(index))
}

/// The APICs that `message` goes to, of those of a VM in the order of their vCPUs; those past
/// the 64th get nothing. `sender` is the index of the one that sends, and does not matter for
/// messages that are addressed.
///
/// A lowest-priority message goes to one that is enabled by software: the least busy, and of
/// those the first.
pub fn route<'a, P>(
    message: Ipi,
    sender: usize,
    apics: impl IntoIterator<Item = &'a LocalApic<P>>,
) -> Targets
where
    P: Deref<Target = ApicPage> + 'a,
{
    let mut targets = Targets::default();
    let mut least_busy: Option<(u8, usize)> = None;
    for (index, apic) in apics.into_iter().enumerate() {
        if !is_meant(message.to, index, sender, apic) {
            continue;
        }
        match message.mode {
            IpiMode::LowestPriority(_) => {
                let priority = apic.priority();
                if apic.takes_fixed() && least_busy.is_none_or(|(least, _)| priority < least) {
                    least_busy = Some((priority, index));
                }
            }
            IpiMode::Fixed(_)
            | IpiMode::Smi
            | IpiMode::Nmi
            | IpiMode::Init
            | IpiMode::StartUp(_) => targets.insert(index),
        }
    }
    if let Some((_, index)) = least_busy {
        targets.insert(index);
    }
    targets
}

fn is_meant<P: Deref<Target = ApicPage>>(
    to: Recipients,
    index: usize,
    sender: usize,
    apic: &LocalApic<P>,
) -> bool {
    match to {
        Recipients::Addressed(destination) => apic.is_addressed(destination),
        Recipients::Sender => index == sender && apic.is_enabled(),
        Recipients::All => apic.is_enabled(),
        Recipients::Others => index != sender && apic.is_enabled(),
    }
}
