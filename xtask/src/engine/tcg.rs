//! QEMU's translator (TCG): AMD-V and nested paging in software.
//!
//! It runs anywhere, boots by PVH without a boot loader, and takes a debugger. Called as an
//! [`Engine`]; what it is started with is `qemu/qemu-tcg.toml`.

use anyhow::Result;

use super::Engine;
use crate::packages::Need;
use crate::recipe::Recipe;

#[derive(Debug)]
pub(super) struct Tcg {
    recipe: Recipe,
}

impl Tcg {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            recipe: Recipe::read("qemu-tcg")?,
        })
    }
}

impl Engine for Tcg {
    fn name(&self) -> &'static str {
        "qemu-tcg"
    }

    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn recipe_mut(&mut self) -> &mut Recipe {
        &mut self.recipe
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Qemu]
    }
}
