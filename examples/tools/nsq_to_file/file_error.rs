//! Failures of the disk.

use std::{error::Error, fmt, io, path::Path};

/// What failed, with the path, and the error of the operating system.
#[derive(Debug)]
pub(crate) struct FileError {
    what: String,
    source: io::Error,
}

impl FileError {
    pub(crate) fn new(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        Self { what, source }
    }

    /// Describes an error, for `map_err`: `action` is a verb such as `write`.
    pub(crate) fn at<'a>(action: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::new(format!("cannot {action} {}", path.display()), source)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl Error for FileError {}
