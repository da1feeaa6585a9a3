//! How an image's run came to its end.
//!
//! Owns the kinds of end, and which one the hypervisor's words for a VM's end mean. How an
//! engine tells the end of an image that runs straight on it is `engine::native`'s. Judging
//! is `verdict`'s.

/// What an image ends with, however it was run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It wrote this value to the exit port, or gave it in another way made for that.
    Value(u32),
    /// It switched the machine off.
    PowerOff,
    /// It halted its CPU for good.
    Halted,
    /// It asked for a reset.
    Reset,
    /// Its CPU shut down.
    TripleFault,
    /// It ran out of time.
    Limit,
    /// It went on after its protocol had ended, until somebody ended it.
    Dismissed,
    /// What ran it ended it, for this reason.
    Stopped(String),
    /// What ran it broke, in this way; nothing is known about the image.
    Broke(String),
}

/// How the hypervisor's words for an end with a status begin.
const VALUES: [&str; 2] = ["debug exit with value ", "shutdown with status "];

impl End {
    /// The end that the hypervisor tells of in these words.
    pub(super) fn of_words(words: &str) -> Self {
        let value = VALUES.iter().find_map(|start| words.strip_prefix(start));
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            return Self::Value(value);
        }
        match words {
            "halted with interrupts off" => Self::Halted,
            "triple fault" => Self::TripleFault,
            "reset asked for" => Self::Reset,
            "powered off" => Self::PowerOff,
            other => Self::Stopped(other.into()),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Value(value) => write!(f, "exit value {value}"),
            Self::PowerOff => write!(f, "switched off"),
            Self::Halted => write!(f, "halted with interrupts off"),
            Self::Reset => write!(f, "reset"),
            Self::TripleFault => write!(f, "triple fault"),
            Self::Limit => write!(f, "out of time"),
            Self::Dismissed => write!(f, "ran on after its last word"),
            Self::Stopped(why) | Self::Broke(why) => write!(f, "{why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_verdict::StopReason;

    #[test]
    fn the_words_are_those_the_hypervisor_says() {
        let ends = [
            (StopReason::DebugExit(38), End::Value(38)),
            (StopReason::Shutdown(1), End::Value(1)),
            (StopReason::PoweredOff, End::PowerOff),
            (StopReason::Halted, End::Halted),
            (StopReason::TripleFault, End::TripleFault),
            (StopReason::ResetAsked, End::Reset),
        ];
        for (reason, end) in ends {
            assert_eq!(End::of_words(&reason.to_string()), end, "{reason}");
        }
    }

    #[test]
    fn an_end_that_is_nobodys_success_keeps_its_words() {
        for reason in [StopReason::Emulation(0x1000), StopReason::OutOfMemory] {
            let words = reason.to_string();
            assert_eq!(End::of_words(&words), End::Stopped(words));
        }
        let odd = "debug exit with value many";
        assert_eq!(End::of_words(odd), End::Stopped(odd.into()));
    }
}
