//! Points in time, to the microsecond: what every store here can keep without loss.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, UTC. Written as a number in stores; `Display` is RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down, as tokens carry them (RFC 7519 `NumericDate`).
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Time passed since `earlier`; zero when `earlier` is later, as clocks may step back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This time as the standard library has it.
    pub fn to_system_time(self) -> SystemTime {
        let distance = Duration::from_micros(self.0.unsigned_abs());
        if self.0 >= 0 { UNIX_EPOCH + distance } else { UNIX_EPOCH - distance }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => Self(i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros)),
        }
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339, UTC, with microseconds: `2026-11-20T18:17:00.000001Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0.div_euclid(86_400_000_000), self.0.rem_euclid(86_400_000_000));
        let (year, month, day) = civil_from_days(days);
        let (secs, micros) = (rest / 1_000_000, rest % 1_000_000);
        let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// The proleptic Gregorian date `days` after 1970-01-01. Years begin in March here, so that the leap day comes last and
/// month lengths follow one linear rule (153 days in five months).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339() {
        let show = |micros| Timestamp::from_micros(micros).to_string();
        assert_eq!(show(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(show(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(show(1_795_198_620_000_001), "2026-11-20T18:17:00.000001Z");
        assert_eq!(show(-1), "1969-12-31T23:59:59.999999Z");
    }

    /// Day by day, by the calendar as it is taught: across leap years, centuries and eras, before and after 1970.
    #[test]
    fn every_day_of_eight_centuries_has_its_date() {
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = |year: i64, month: i64| match month {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        // 1600-01-01 is this many days before 1970-01-01 (Julian days 2305448 and 2440588).
        let (mut days, mut date) = (2_305_448 - 2_440_588, (1600, 1, 1));
        while date.0 < 2401 {
            assert_eq!(civil_from_days(days), date);
            let (year, month, day) = date;
            date = match day < length(year, month) {
                true => (year, month, day + 1),
                false if month < 12 => (year, month + 1, 1),
                false => (year + 1, 1, 1),
            };
            days += 1;
        }
    }

    #[test]
    fn seconds_are_rounded_down_and_never_wrap() {
        let of = |micros| Timestamp::from_micros(micros).as_secs();
        assert_eq!([1_999_999, 0, -1, -1_000_000].map(of), [1, 0, -1, -1]);
        assert_eq!(Timestamp::from_millis(i64::MAX).as_micros(), i64::MAX);
        let (late, early) = (Timestamp::from_micros(i64::MAX), Timestamp::from_micros(i64::MIN));
        assert_eq!((late + Duration::MAX, early - Duration::MAX), (late, early));
        assert_eq!(late - Duration::from_micros(1), Timestamp::from_micros(i64::MAX - 1));
    }

    #[test]
    fn a_clock_that_steps_back_yields_no_time_passed() {
        let earlier = Timestamp::from_millis(5);
        assert_eq!(Timestamp::from_millis(3).since(earlier), Duration::ZERO);
        assert_eq!((earlier + Duration::from_millis(2)).since(earlier), Duration::from_millis(2));
    }

    #[test]
    fn system_time_there_and_back() {
        for micros in [-1_000_001, 0, 1_795_198_620_000_001] {
            let timestamp = Timestamp::from_micros(micros);
            assert_eq!(Timestamp::from(timestamp.to_system_time()), timestamp);
        }
    }
}
