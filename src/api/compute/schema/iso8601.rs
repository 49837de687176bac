//! Times as clients write them: the dialect of ISO 8601 that Python's iso8601 package reads.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use regex::Regex;
use std::sync::LazyLock;

#[expect(clippy::expect_used, reason = "the pattern is fixed at compile time; a test reads times with it")]
static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?P<year>[0-9]{4})(?:(?:-(?P<month>[0-9]{1,2})|(?P<month2>[0-9]{2}))",
        r"(?:(?:-(?P<day>[0-9]{1,2})|(?P<day2>[0-9]{2}))",
        r"(?:[ T](?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2}))?",
        r"(?::?(?P<second>[0-9]{1,2})(?:[.,](?P<fraction>[0-9]+))?)?",
        r"(?:Z|(?P<sign>[-+])(?P<offset_hour>[0-9]{2}):?(?P<offset_minute>[0-9]{2})?)?)?)?)?$",
    ))
    .expect("the pattern compiles")
});

/// The instant that `text` names; UTC where it names no offset.
pub fn parse(text: &str) -> Option<Timestamp> {
    let found = PATTERN.captures(text)?;
    let number = |names: &[&str], default: i16| -> Option<i16> {
        match names.iter().find_map(|name| found.name(name)) {
            Some(digits) => digits.as_str().parse().ok(),
            None => Some(default),
        }
    };
    let small = |names: &[&str], default: i16| -> Option<i8> { i8::try_from(number(names, default)?).ok() };
    let nanoseconds = match found.name("fraction") {
        Some(digits) => format!("{:0<9.9}", digits.as_str()).parse().ok()?,
        None => 0,
    };
    let civil = DateTime::new(
        number(&["year"], 1)?,
        small(&["month", "month2"], 1)?,
        small(&["day", "day2"], 1)?,
        small(&["hour"], 0)?,
        small(&["minute"], 0)?,
        small(&["second"], 0)?,
        nanoseconds,
    )
    .ok()?;
    let seconds =
        i32::from(number(&["offset_hour"], 0)?) * 3600 + i32::from(number(&["offset_minute"], 0)?) * 60;
    let behind = found.name("sign").is_some_and(|sign| sign.as_str() == "-");
    let offset = Offset::from_seconds(if behind { -seconds } else { seconds }).ok()?;
    offset.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::core::clock::micros_z;

    #[test]
    fn the_usual_forms() {
        let read = |text| parse(text).map(micros_z);
        let noon = Some("2026-01-02T12:00:00.000000Z".to_owned());
        for text in
            ["2026-01-02T12:00:00Z", "2026-01-02 12:00", "20260102T120000", "2026-01-02T14:00:00+02:00"]
        {
            assert_eq!(read(text), noon, "{text}");
        }
        assert_eq!(read("2026-01-02"), Some("2026-01-02T00:00:00.000000Z".to_owned()));
        assert_eq!(read("2026-01-02T12:00:00.5Z"), Some("2026-01-02T12:00:00.500000Z".to_owned()));
        for text in ["", "yesterday", "2026-13-01", "2026-01-02T25:00", "1389-12-40T00:00:00Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
