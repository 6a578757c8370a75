//! The time in the name of a file.

use std::str::FromStr;

use jiff::{Error, ZonedDateTime, fmt::strtime};

/// The conversions of NSQ's own tool.
const CONVERSIONS: &str = "BbmAadHIMSYypZz%";

/// A format of `strftime` with these conversions only.
#[derive(Debug, Clone)]
pub(crate) struct DatetimeFormat(String);

impl FromStr for DatetimeFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                continue;
            }
            match characters.next() {
                Some(conversion) if CONVERSIONS.contains(conversion) => {}
                Some(other) => {
                    let known: Vec<_> = CONVERSIONS.chars().map(|it| format!("%{it}")).collect();
                    let known = known.join(" ");
                    return Err(format!("unknown conversion %{other}; known are {known}"));
                }
                None => return Err("ends with a single %; a percent sign is %%".into()),
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl DatetimeFormat {
    /// Returns this time as text.
    ///
    /// # Errors
    ///
    /// If the text cannot represent it: `%y` of a year after 2068.
    pub(crate) fn format(&self, time: &ZonedDateTime) -> Result<String, Error> {
        strtime::format(&self.0, time)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{civil::date, tz::TimeZone};

    use super::DatetimeFormat;

    #[test]
    fn datetime_has_each_conversion_of_nsqs_own_tool() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let evening = date(2026, 7, 5).at(21, 8, 9, 0);
        let evening = evening.to_zoned_datetime(berlin).unwrap();
        for (format, expected) in [
            ("%Y-%m-%d_%H", "2026-07-05_21"),
            ("%y%m%d-%I%M%S%p", "260705-090809PM"),
            ("%A %a %B %b", "Sunday Sun July Jul"),
            ("%Z%z", "CEST+0200"),
            ("100%%, 2006, Jan", "100%, 2006, Jan"),
            ("", ""),
        ] {
            let format: DatetimeFormat = format.parse().unwrap();
            assert_eq!(format.format(&evening).unwrap(), expected);
        }
    }

    #[test]
    fn unknown_conversion_is_rejected() {
        for (format, reason) in [
            ("%Y%j", "unknown conversion %j; known are %B %b"),
            ("%-d", "unknown conversion %-"),
            ("%ü", "unknown conversion %ü"),
            ("%H%", "ends with a single %"),
        ] {
            let rejected = format.parse::<DatetimeFormat>().unwrap_err();
            assert!(rejected.starts_with(reason), "{rejected}");
        }
    }
}
