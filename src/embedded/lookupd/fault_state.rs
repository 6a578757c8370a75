//! The faults that are active.

use std::time::Duration;

/// The faults as the connections see them; `LookupdFaults` sets them.
#[derive(Debug, Default)]
pub(super) struct FaultState {
    pub(super) refuse_connections: bool,
    pub(super) freeze: bool,
    rules: Vec<Rule>,
}

/// A fault of the answers to some requests.
#[derive(Debug)]
struct Rule {
    /// `None`: of all endpoints.
    path: Option<String>,
    /// `None`: until it is removed.
    remaining: Option<u64>,
    effect: Effect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Delay(Duration),
    /// Bytes per chunk.
    Chunks(usize),
    /// Keep this many bytes of the body.
    CutBody(usize),
    /// Keep this many bytes of the whole response.
    CutResponse(usize),
    /// Number of spaces behind the body.
    Pad(usize),
    Replace(Replacement),
}

/// What is sent instead of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Replacement {
    Answer {
        status: u16,
        body: Vec<u8>,
    },
    Redirect(String),
    /// Bytes that need not be HTTP. Then the connection is closed.
    Raw(Vec<u8>),
    Close,
    Silence,
}

/// The faults of one answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AnswerFaults {
    pub(super) delay: Duration,
    pub(super) chunks: Option<usize>,
    pub(super) cut_body: Option<usize>,
    pub(super) cut_response: Option<usize>,
    pub(super) pad: usize,
    pub(super) replacement: Option<Replacement>,
}

impl FaultState {
    /// Adds a fault. A permanent one replaces that of the same kind for the same path.
    pub(super) fn add(&mut self, path: Option<String>, remaining: Option<u64>, effect: Effect) {
        let kind = std::mem::discriminant(&effect);
        if remaining.is_none() {
            self.rules
                .retain(|rule| rule.path != path || std::mem::discriminant(&rule.effect) != kind);
        }
        if remaining != Some(0) {
            self.rules.push(Rule {
                path,
                remaining,
                effect,
            });
        }
    }

    /// Removes the faults of a path, or all.
    pub(super) fn clear(&mut self, path: Option<&str>) {
        self.rules
            .retain(|rule| path.is_some() && rule.path.as_deref() != path);
    }

    /// Returns the faults of the answer to a request with this path, and counts it. A later fault
    /// overrides an earlier one of the same kind, and one of this path one of all.
    pub(super) fn take(&mut self, path: &str) -> AnswerFaults {
        let mut faults = AnswerFaults::default();
        for of_all in [true, false] {
            for rule in &mut self.rules {
                let concerns = match &rule.path {
                    None => of_all,
                    Some(its_path) => !of_all && its_path == path,
                };
                if !concerns {
                    continue;
                }
                if let Some(remaining) = &mut rule.remaining {
                    *remaining -= 1;
                }
                match rule.effect.clone() {
                    Effect::Delay(delay) => faults.delay = delay,
                    Effect::Chunks(size) => faults.chunks = Some(size),
                    Effect::CutBody(length) => faults.cut_body = Some(length),
                    Effect::CutResponse(length) => faults.cut_response = Some(length),
                    Effect::Pad(spaces) => faults.pad = spaces,
                    Effect::Replace(replacement) => faults.replacement = Some(replacement),
                }
            }
        }
        self.rules.retain(|rule| rule.remaining != Some(0));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(faults: &AnswerFaults) -> Option<u16> {
        match &faults.replacement {
            Some(Replacement::Answer { status, .. }) => Some(*status),
            _ => None,
        }
    }

    fn fail(status: u16) -> Effect {
        let body = Vec::new();
        Effect::Replace(Replacement::Answer { status, body })
    }

    #[test]
    fn fault_of_a_path_overrides_that_of_all_until_its_count() {
        let mut faults = FaultState::default();
        faults.add(Some("/lookup".into()), Some(2), fail(404));
        faults.add(None, None, fail(500));
        faults.add(None, None, fail(503));
        faults.add(None, Some(0), fail(400));
        let seen = ["/lookup", "/nodes", "/lookup", "/lookup"].map(|path| faults.take(path));
        assert_eq!(seen.each_ref().map(status), [404, 503, 404, 503].map(Some));
        faults.clear(Some("/nodes"));
        assert_eq!(status(&faults.take("/nodes")), Some(503));
        faults.clear(None);
        assert_eq!(faults.take("/nodes"), AnswerFaults::default());
    }
}
