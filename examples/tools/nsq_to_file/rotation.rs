//! When a file is closed and another one begins.

use std::{fmt, time::Duration};

/// The limits of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    /// Bytes, before compression, after which the next message begins another file.
    pub(crate) size: Option<u64>,
    /// Age after which another file begins.
    pub(crate) interval: Option<Duration>,
}

/// What the rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileState<'a> {
    /// Its name, without the revision.
    pub(crate) name: &'a str,
    /// The time since it was opened.
    pub(crate) age: Duration,
    /// Bytes before compression.
    pub(crate) size: u64,
}

/// Why a file is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The name has changed: an hour is over, for example.
    Name(String),
    Age {
        age: Duration,
        limit: Duration,
    },
    Size {
        size: u64,
        limit: u64,
    },
}

impl Rotation {
    /// Returns why the file is to be rotated, if so. `name` is the name that a file gets now.
    pub(crate) fn reason(&self, file: FileState<'_>, name: &str) -> Option<Reason> {
        if name != file.name {
            return Some(Reason::Name(name.to_owned()));
        }
        if let Some(limit) = self.interval
            && file.age > limit
        {
            let age = file.age;
            return Some(Reason::Age { age, limit });
        }
        self.is_too_large(file.size)
    }

    /// Returns the reason if a file of this size is not continued.
    pub(crate) fn is_too_large(&self, size: u64) -> Option<Reason> {
        let limit = self.size.filter(|limit| size > *limit)?;
        Some(Reason::Size { size, limit })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "new filename {name}"),
            Self::Age { age, limit } => write!(
                f,
                "{:.1} s since last open (> {} s)",
                age.as_secs_f64(),
                limit.as_secs_f64()
            ),
            Self::Size { size, limit } => write!(f, "currently {size} bytes (> {limit})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FileState, Reason, Rotation};

    const FILE: FileState<'_> = FileState {
        name: "t<REV>.21.log",
        age: Duration::from_secs(60),
        size: 1000,
    };

    fn reason(size: Option<u64>, seconds: Option<u64>, name: &str) -> Option<Reason> {
        let interval = seconds.map(Duration::from_secs);
        Rotation { size, interval }.reason(FILE, name)
    }

    #[test]
    fn file_is_rotated_by_its_name_whatever_the_limits() {
        assert_eq!(reason(None, None, FILE.name), None);
        let name = "t<REV>.22.log";
        let rotated = reason(Some(u64::MAX), None, name);
        assert_eq!(rotated, Some(Reason::Name(name.to_owned())));
    }

    #[test]
    fn file_is_rotated_above_its_limits_not_at_them() {
        assert_eq!(reason(Some(1000), Some(60), FILE.name), None);
        let too_large = reason(Some(999), None, FILE.name).unwrap();
        assert_eq!(too_large.to_string(), "currently 1000 bytes (> 999)");
        let too_old = reason(Some(999), Some(59), FILE.name).unwrap();
        assert_eq!(too_old.to_string(), "60.0 s since last open (> 59 s)");
    }
}
