//! Objects of ring 0 that end with their owner.
//!
//! Owns the way back: whatever `root` makes is ended, and its handle closed, when the value
//! goes out of scope, on the way of an error too. So nothing piles up over restarts.

use skerry_abi::{ComponentRecord, ComponentState, Handle, Refused};
use skerry_component::calls;

/// An object, by the handle with all rights.
#[derive(Debug)]
pub struct Object(Handle);

impl Object {
    /// Takes charge of what a call has just made.
    pub const fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Its handle.
    pub const fn handle(&self) -> Handle {
        self.0
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // Refused where it has ended already with what it was part of; the handle goes anyway.
        let _ = calls::object_end(self.0);
        let _ = calls::handle_close(self.0);
    }
}

/// A component, which is ended before its object is.
#[derive(Debug)]
pub struct Component(Object);

impl Component {
    /// Makes one with an empty address space.
    ///
    /// # Errors
    /// What ring 0 refuses.
    pub fn create(machine: Handle, weight: u32) -> Result<Self, Refused> {
        let handle = calls::component_create(machine, weight)?;
        Ok(Self(Object::new(handle)))
    }

    /// Its handle.
    pub const fn handle(&self) -> Handle {
        self.0.handle()
    }

    /// Ends it, if it has not ended.
    pub fn end(&self) {
        // It cannot be refused: we have made it, and hold all rights.
        let _ = calls::component_end(self.handle());
    }

    /// What ring 0 tells of it.
    pub fn record(&self) -> ComponentRecord {
        calls::component_read(self.handle()).unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.record().state == ComponentState::Ended as u32
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.end();
    }
}
