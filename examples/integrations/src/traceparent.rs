//! Trace context of W3C: <https://www.w3.org/TR/trace-context/#traceparent-header>.

use std::{error::Error, fmt, str::FromStr};

/// Position in a trace: the field `traceparent` of W3C Trace Context, version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    trace_id: u128,
    parent_id: u64,
    is_sampled: bool,
}

impl Traceparent {
    /// Begins a new trace.
    pub fn new_trace() -> Self {
        Self {
            trace_id: fastrand::u128(1..),
            parent_id: fastrand::u64(1..),
            is_sampled: true,
        }
    }

    /// Returns the context of a new span below this one.
    pub fn child(self) -> Self {
        let parent_id = fastrand::u64(1..);
        Self { parent_id, ..self }
    }

    /// Returns the trace id as 32 hexadecimal digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// Returns the id of the span as 16 hexadecimal digits.
    pub fn span_id(self) -> String {
        format!("{:016x}", self.parent_id)
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, parent_id) = (self.trace_id, self.parent_id);
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

/// Text that is not a valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTraceparent;

impl fmt::Display for InvalidTraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid traceparent; it must be like 00-{32 hex}-{16 hex}-{2 hex}")
    }
}

impl Error for InvalidTraceparent {}

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    /// Parses version 00 exactly. A later version may have more fields behind those of version 00.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let mut fields = text.split('-');
        let mut next = |digits| hex(fields.next(), digits).ok_or(InvalidTraceparent);
        let (version, trace_id, parent_id, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let has_more = fields.next().is_some();
        let is_valid = match version {
            0 => !has_more,
            0xff => false,
            _ => true,
        };
        if !is_valid || trace_id == 0 || parent_id == 0 {
            return Err(InvalidTraceparent);
        }
        Ok(Self {
            trace_id,
            parent_id: u64::try_from(parent_id).map_err(|_| InvalidTraceparent)?,
            // The other flags are reserved.
            is_sampled: flags & 1 == 1,
        })
    }
}

/// Parses a field of this number of digits in lower case.
fn hex(field: Option<&str>, digits: usize) -> Option<u128> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let field = field.filter(|field| field.len() == digits && field.bytes().all(is_digit))?;
    u128::from_str_radix(field, 16).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::{InvalidTraceparent, Traceparent};

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn valid_text_is_parsed_and_displayed() {
        let parsed: Traceparent = TEXT.parse().unwrap();
        assert_eq!(parsed.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parsed.span_id(), "00f067aa0ba902b7");
        assert!(parsed.is_sampled);
        assert_eq!(parsed.to_string(), TEXT);
    }

    #[test]
    fn only_the_sampled_flag_is_kept() {
        let kept = |flags: &str| {
            let text = TEXT.replace("-01", flags);
            text.parse::<Traceparent>().unwrap().to_string()
        };
        assert!(kept("-00").ends_with("-00"));
        assert!(kept("-fe").ends_with("-00"));
        assert!(kept("-ff").ends_with("-01"));
    }

    #[test]
    fn later_version_may_have_more_fields() {
        for text in [
            TEXT.replacen("00", "01", 1),
            TEXT.replacen("00", "cc", 1) + "-more",
        ] {
            let parsed: Traceparent = text.parse().unwrap();
            assert_eq!(parsed.to_string(), TEXT);
        }
    }

    #[test]
    fn invalid_text_is_rejected() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bx-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(
                text.parse::<Traceparent>(),
                Err(InvalidTraceparent),
                "{text}"
            );
        }
    }

    #[test]
    fn child_is_in_the_same_trace_with_another_id() {
        let parent = Traceparent::new_trace();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
        assert_eq!(parent.to_string().parse(), Ok(parent));
    }
}
