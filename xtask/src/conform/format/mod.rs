//! How results are printed: for people, or for a program that collects them.
//!
//! Owns the choice. Called by `conform`.

mod junit;
mod table;
mod tap;

use anyhow::Result;
use clap::ValueEnum;

use super::result::Results;

/// A format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people: a line for each image, a column for each engine
    #[default]
    Table,
    /// Test Anything Protocol, version 13
    Tap,
    /// JUnit XML, a suite for each engine
    Junit,
}

impl Format {
    /// The whole report.
    ///
    /// # Errors
    /// It cannot be written as XML.
    pub(super) fn render(self, results: &Results) -> Result<String> {
        match self {
            Self::Table => Ok(table::render(results)),
            Self::Tap => Ok(tap::render(results)),
            Self::Junit => junit::render(results),
        }
    }
}
