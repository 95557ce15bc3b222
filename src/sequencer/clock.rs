//! Watches the wall clock for jumps against the boot-time clock, which counts through suspension.

use crate::env::Reading;
use crate::spec::ids::Timestamp;

/// How far the wall clock may move against the boot-time clock between two readings, in microseconds.
const MAX_JUMP: i64 = 10_000_000;
/// How far behind the last event the wall clock may be at start, in microseconds.
const MAX_BEHIND: i64 = 10_000_000;

/// Remembers how the two clocks stood to each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    offset: Option<i64>,
}

impl Watch {
    /// The time to record, or the jump in seconds. Slow corrections (NTP) are followed; a jump stays refused until the
    /// clock is back or the server is started again. `newest` is the newest recorded time of any ledger.
    pub(super) fn check(&mut self, reading: Reading, newest: Timestamp) -> Result<Timestamp, i64> {
        let offset = signed(reading.wall.0).saturating_sub(signed(reading.boot));
        let behind = signed(newest.0).saturating_sub(signed(reading.wall.0));
        if behind > MAX_BEHIND {
            return Err(-behind / 1_000_000);
        }
        let jump = offset.saturating_sub(self.offset.unwrap_or(offset));
        if jump.abs() > MAX_JUMP {
            return Err(jump / 1_000_000);
        }
        self.offset = Some(offset);
        Ok(reading.wall)
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(wall: u64, boot: u64) -> Reading {
        Reading {
            wall: Timestamp(wall * SECOND),
            boot: boot * SECOND,
        }
    }

    #[test]
    fn a_jump_either_way_is_refused_until_the_clock_is_back() {
        let mut watch = Watch::default();
        assert!(watch.check(at(1000, 10), Timestamp(0)).is_ok());
        assert_eq!(watch.check(at(5000, 11), Timestamp(0)), Err(3999));
        assert_eq!(watch.check(at(900, 12), Timestamp(0)), Err(-102));
        assert!(watch.check(at(1004, 13), Timestamp(0)).is_ok());
    }

    #[test]
    fn suspension_and_slow_correction_are_no_jumps() {
        let mut watch = Watch::default();
        assert!(watch.check(at(1000, 10), Timestamp(0)).is_ok());
        assert!(watch.check(at(90_000, 89_010), Timestamp(0)).is_ok());
        for step in 1..20 {
            assert!(watch.check(at(90_000 + 9 * step, 89_010), Timestamp(0)).is_ok());
        }
    }

    #[test]
    fn a_clock_behind_the_last_event_is_refused_at_start() {
        assert_eq!(
            Watch::default().check(at(1000, 10), Timestamp(2000 * SECOND)),
            Err(-1000)
        );
        assert!(Watch::default().check(at(1000, 10), Timestamp(1005 * SECOND)).is_ok());
    }
}
