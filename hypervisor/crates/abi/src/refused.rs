//! Why a call was refused.

/// A refusal, as the negative number in RAX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum Refused {
    /// No call has this number.
    NoSuchCall = -1,
    /// The caller's table has no such handle.
    BadHandle = -2,
    /// The handle is to an object of another kind.
    WrongKind = -3,
    /// The handle lacks a right that the call needs.
    NotPermitted = -4,
    /// The object behind the handle has ended.
    Revoked = -5,
    /// A value is out of its range.
    BadArgument = -6,
    /// A pointer is not, or not wholly, to memory of the caller's with the right to it.
    BadAddress = -7,
    /// Ring 0 has no memory, or no room in a table, left.
    Exhausted = -8,
    /// It cannot be done in the state the object is in.
    WrongState = -9,
}

impl Refused {
    const ALL: [Self; 9] = [
        Self::NoSuchCall,
        Self::BadHandle,
        Self::WrongKind,
        Self::NotPermitted,
        Self::Revoked,
        Self::BadArgument,
        Self::BadAddress,
        Self::Exhausted,
        Self::WrongState,
    ];

    /// The refusal as it stands in RAX.
    #[must_use]
    pub const fn code(self) -> u64 {
        (self as i64).cast_unsigned()
    }

    /// Reads RAX: the result, or why there is none.
    ///
    /// # Errors
    /// The refusal that RAX holds; [`Refused::NoSuchCall`] for a negative value of none.
    #[inline]
    pub fn read(rax: u64) -> Result<u64, Self> {
        let signed = rax.cast_signed();
        if signed >= 0 {
            return Ok(rax);
        }
        let found = Self::ALL.into_iter().find(|one| *one as i64 == signed);
        Err(found.unwrap_or(Self::NoSuchCall))
    }

    /// What it means, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSuchCall => "no such call",
            Self::BadHandle => "no such handle",
            Self::WrongKind => "a handle of another kind",
            Self::NotPermitted => "a right is missing",
            Self::Revoked => "the object has ended",
            Self::BadArgument => "a value is out of range",
            Self::BadAddress => "no memory of the caller's",
            Self::Exhausted => "host memory or a table is exhausted",
            Self::WrongState => "not in this state",
        }
    }
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_the_register_and_results_are_not_refusals() {
        for refusal in Refused::ALL {
            assert_eq!(Refused::read(refusal.code()), Err(refusal));
        }
        assert_eq!(Refused::read(7), Ok(7));
        assert_eq!(Refused::read(u64::MAX << 32), Err(Refused::NoSuchCall));
    }
}
