//! The reason that the kernel refused a program, in one line.
//!
//! The verifier answers with all that it went through, thousands of lines of
//! which the last says why. `Debug` shows everything.

use std::fmt;

use aya::programs::ProgramError;

/// A program that could not be loaded or attached.
#[derive(Debug)]
pub struct Refusal(Box<ProgramError>);

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProgramError::LoadError {
            io_error,
            verifier_log,
        } = &*self.0
        else {
            return self.0.fmt(f);
        };
        io_error.fmt(f)?;
        match reason(&verifier_log.to_string()) {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// The last line that is not one of the verifier's statistics
/// (`print_verification_stats`, `kernel/bpf/verifier.c`).
fn reason(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 4] = ["verification time", "stack depth", "processed ", "insns "];
    log.lines().map(str::trim).rfind(|line| {
        !line.is_empty()
            && !STATISTICS
                .iter()
                .any(|statistic| line.starts_with(statistic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_last_word_is_the_reason() {
        let log = "1210: (bf) r1 = r8\n1211: (0f) r1 += r6\n\
                   value -2147483648 makes map_value pointer be out of bounds\n\
                   verification time 1787734 usec\nstack depth 248+0\n\
                   processed 108805 insns (limit 1000000) max_states_per_insn 13\n";
        assert_eq!(
            reason(log),
            Some("value -2147483648 makes map_value pointer be out of bounds")
        );
        assert_eq!(reason(""), None);
    }

    #[test]
    fn what_is_no_load_speaks_for_itself() {
        let refusal = Refusal::from(ProgramError::NotLoaded);
        assert_eq!(refusal.to_string(), ProgramError::NotLoaded.to_string());
    }
}
