//! What happens after a failure: the flags `--on-failure` and `--on-invalid`.

use actix_nsq::Delivery;
use clap::ValueEnum;

use crate::record::Failure;

/// What to do about a record that nsqd cannot take at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailure {
    /// Wait and publish it again; the input waits
    Retry,
    /// End with exit code 1
    Stop,
    /// Count it as failed, and read on
    Skip,
}

/// What to do about a record that can never succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnInvalid {
    /// Count it as failed, and read on
    Skip,
    /// End with exit code 1
    Stop,
}

/// The flags that decide about failures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) on_failure: OnFailure,
    pub(crate) on_invalid: OnInvalid,
    /// `retry_maybe_written`: a record that may be stored may be sent again.
    pub(crate) at_least_once: bool,
}

/// What happens after the failure of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The record is published again, and the records behind it after it.
    Retry,
    /// The record has failed; those behind it are published.
    GoOn,
    /// The record has failed, and the program ends.
    Stop,
}

impl Policy {
    pub(crate) fn after(&self, failure: &Failure) -> Next {
        let error = match failure {
            // With `--on-invalid stop` the input ends with this record.
            Failure::Invalid(_) => return Next::GoOn,
            Failure::Publish(error) => error,
        };
        if failure.is_invalid_record() {
            return match self.on_invalid {
                OnInvalid::Skip => Next::GoOn,
                OnInvalid::Stop => Next::Stop,
            };
        }
        let is_certain = error.delivery() == Delivery::NotWritten;
        match self.on_failure {
            OnFailure::Skip => Next::GoOn,
            OnFailure::Stop => Next::Stop,
            OnFailure::Retry if error.is_retryable() && (is_certain || self.at_least_once) => {
                Next::Retry
            }
            OnFailure::Retry if !is_certain => Next::GoOn,
            // All further records would fail in the same way, for example because the topic is not
            // authorized.
            OnFailure::Retry => Next::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_nsq::{ErrorKind, protocol::ErrorCode, testing::publish_error};

    use super::*;

    #[test]
    fn policy_decides_by_what_the_failure_concerns() {
        use Next::{GoOn, Retry, Stop};
        let rejected = ErrorKind::Rejected;
        // With retry, with retry and retry_maybe_written, with stop, with skip.
        for (kind, expected) in [
            (ErrorKind::Timeout, [Retry, Retry, Stop, GoOn]),
            (rejected(ErrorCode::PubFailed), [Retry, Retry, Stop, GoOn]),
            (ErrorKind::ConnectionLost, [GoOn, Retry, Stop, GoOn]),
            (rejected(ErrorCode::MpubFailed), [GoOn, Retry, Stop, GoOn]),
            (rejected(ErrorCode::Unknown), [GoOn, GoOn, Stop, GoOn]),
            (rejected(ErrorCode::Unauthorized), [Stop, Stop, Stop, GoOn]),
            (rejected(ErrorCode::Invalid), [Stop, Stop, Stop, GoOn]),
            (rejected(ErrorCode::BadMessage), [GoOn, GoOn, GoOn, GoOn]),
        ] {
            let failure = Failure::Publish(publish_error(kind));
            let after = |on_failure, at_least_once| {
                let on_invalid = OnInvalid::Skip;
                let policy = Policy {
                    on_failure,
                    on_invalid,
                    at_least_once,
                };
                policy.after(&failure)
            };
            let decided = [
                after(OnFailure::Retry, false),
                after(OnFailure::Retry, true),
                after(OnFailure::Stop, false),
                after(OnFailure::Skip, false),
            ];
            assert_eq!(decided, expected, "{kind}");
        }
    }
}
