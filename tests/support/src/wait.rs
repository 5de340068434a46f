//! Waiting for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// From one look to the next: short beside what a program takes to start, long beside what a look costs.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; false when it did not within `patience`. An error ends the waiting.
pub fn until(patience: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    loop {
        if condition()? {
            return Ok(true);
        }
        if start.elapsed() > patience {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_until_it_holds_or_time_is_over() -> Result<()> {
        let mut asked = 0;
        let third = || {
            asked += 1;
            Ok(asked == 3)
        };
        assert!(until(Duration::from_mins(1), third)?);
        assert_eq!(asked, 3);
        assert!(!until(Duration::ZERO, || Ok(false))?);
        assert!(until(Duration::ZERO, || anyhow::bail!("broken")).is_err());
        Ok(())
    }
}
