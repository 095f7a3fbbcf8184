//! Times that people type: `2026-11-22`, `2026-11-22T08:30:00Z`.

use std::str::FromStr;

use adit_noise::Utc;

/// A second since the Unix epoch, typed as a date in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When(pub u32);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a time such as 2026-11-22 or 2026-11-22T08:30:00Z, in UTC");
        let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
        let time = time.strip_suffix('Z').ok_or_else(wrong)?;
        let ([year, month, day], [hour, minute, second]) = (
            numbers(date, '-').ok_or_else(wrong)?,
            numbers(time, ':').ok_or_else(wrong)?,
        );
        let seconds = (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
        // A day that the calendar does not have comes back as another one.
        let again = Utc(u64::try_from(seconds).map_err(|_| wrong())?).to_string();
        if again != format!("{date}T{time}Z") {
            return Err(wrong());
        }
        u32::try_from(seconds).map(Self).map_err(|_| wrong())
    }
}

fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text
        .split(between)
        .map(|part| part.parse::<u16>().ok().map(i64::from));
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Days from 1970-01-01; years are counted from March, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_typed_in_two_ways() {
        assert_eq!("1970-01-01".parse(), Ok(When(0)));
        assert_eq!("2022-08-24T16:23:56Z".parse(), Ok(When(1_661_358_236)));
        assert_eq!("2000-02-29".parse(), Ok(When(951_782_400)));
        for wrong in [
            "",
            "today",
            "2026-02-29",
            "2026-13-01",
            "2026-11-22T24:00:00Z",
            "2026-11-22T08:30:00",
            "1969-12-31",
            "2107-01-01",
            "2026-1-1",
            "2026-11-22-1",
        ] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_second_is_read_as_it_is_shown(second: u32) {
            prop_assert_eq!(Utc(second.into()).to_string().parse(), Ok(When(second)));
        }
    }
}
