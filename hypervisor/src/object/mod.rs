//! The objects of ring 0, and what a handle can be to.
//!
//! One file per kind. Who holds which handle with which rights is in each component's table
//! (`skerry_rights`); what calls do with them is in `calls`.

pub mod component;
pub mod guest;
pub mod memory;
mod meter;
pub mod vcpu;

use component::Component;
use guest::Guest;
use memory::Memory;
use skerry_rights::Id;
use vcpu::Vcpu;

/// What a handle is to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Pages.
    Memory(Id<Memory>),
    /// A VM's RAM.
    Guest(Id<Guest>),
    /// A vCPU.
    Vcpu(Id<Vcpu>),
    /// A component.
    Component(Id<Component>),
    /// Bits of a component's.
    Notification(Id<Component>, u64),
    /// I/O ports.
    Ports(Ports),
    /// An interrupt line, 0 to 15.
    Line(u8),
    /// Ring 0's log.
    Log,
    /// The right to make objects.
    Machine,
}

impl Target {
    /// The vCPU, if it is one.
    pub fn vcpu(self) -> Option<Id<Vcpu>> {
        match self {
            Self::Vcpu(id) => Some(id),
            _ => None,
        }
    }
}

/// A range of I/O ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// How many, 1 to 65536.
    pub count: u32,
}

impl Ports {
    /// Whether an access of so many bytes at `port` is wholly inside.
    pub fn contain(self, port: u64, width_bytes: u64) -> bool {
        let first = u64::from(self.first);
        port >= first && port + width_bytes <= first + u64::from(self.count)
    }
}
