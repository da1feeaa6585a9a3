//! Why the machine is not run, or no longer.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use skerry_abi::Refused;

/// An error that ends the run: what it is about, and what is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    what: String,
    why: String,
}

impl Refusal {
    /// About `what`.
    pub fn new(what: &str, why: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            why: why.to_string(),
        }
    }

    /// About `what`, which ring 0 would not make.
    pub fn of_call(what: &str, refused: Refused) -> Self {
        Self::new(what, text(refused))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Why something could not be made.
pub fn text(refused: Refused) -> String {
    match refused {
        Refused::Exhausted => String::from("too little host memory for its tables and image"),
        Refused::NoSuchCall
        | Refused::BadHandle
        | Refused::WrongKind
        | Refused::NotPermitted
        | Refused::Revoked
        | Refused::BadArgument
        | Refused::BadAddress
        | Refused::WrongState => format!("ring 0 refuses a call: {refused}"),
    }
}
