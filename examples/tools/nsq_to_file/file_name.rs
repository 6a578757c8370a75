//! Names of files: what stands for `<TOPIC>`, `<HOST>`, `<PID>`, `<DATETIME>` and `<REV>`.

/// What `<REV>` is replaced by depends on the files that exist.
const REVISION: &str = "<REV>";

const DATETIME: &str = "<DATETIME>";

/// The placeholders of `--filename-format`.
const PLACEHOLDERS: [&str; 5] = ["<TOPIC>", "<HOST>", "<PID>", DATETIME, REVISION];

/// The placeholders of `--host-identifier`; the value replaces `<HOST>`, so it may contain the
/// others, too.
const OF_HOST: [&str; 2] = ["<SHORT_HOST>", "<HOSTNAME>"];

/// What the names of all topics have in common.
#[derive(Debug, Clone)]
pub(crate) struct NameFormat {
    /// `<TOPIC>`, `<DATETIME>` and perhaps `<REV>` are left.
    pattern: String,
    is_gzip: bool,
}

/// Where a name comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameParts<'a> {
    /// `--filename-format`
    pub(crate) format: &'a str,
    /// `--host-identifier`; empty: the first label of the host's name.
    pub(crate) identifier: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) pid: u32,
    /// A file is never continued, or is moved: then the name must have a revision.
    pub(crate) has_revision: bool,
    pub(crate) is_gzip: bool,
}

impl NameFormat {
    /// Checks the formats.
    pub(crate) fn new(parts: NameParts<'_>) -> Result<Self, String> {
        let NameParts {
            format,
            identifier,
            hostname,
            pid,
            has_revision,
            is_gzip,
        } = parts;
        check_placeholders("filename-format", format, &PLACEHOLDERS)?;
        let of_host = [&OF_HOST[..], &PLACEHOLDERS[..]].concat();
        check_placeholders("host-identifier", identifier, &of_host)?;
        let format = match (has_revision, format.contains(REVISION)) {
            (true, false) => {
                return Err(format!(
                    "--filename-format {format:?} has no {REVISION}, which --gzip, --rotate-size, \
                     --rotate-interval and --work-dir need"
                ));
            }
            (true, true) => format.to_owned(),
            (false, _) => format.replace(REVISION, ""),
        };
        let short = hostname.split('.').next().unwrap_or_default();
        let host = match identifier {
            "" => short.to_owned(),
            text => text
                .replace("<SHORT_HOST>", short)
                .replace("<HOSTNAME>", hostname),
        };
        let pattern = format
            .replace("<HOST>", &host)
            .replace("<PID>", &pid.to_string());
        Ok(Self { pattern, is_gzip })
    }

    /// Returns the name of the files of a topic.
    ///
    /// `datetime` is an example, with which the name is checked.
    pub(crate) fn of_topic(&self, topic: &str, datetime: &str) -> Result<TopicName, String> {
        let mut pattern = self.pattern.replace("<TOPIC>", topic);
        if self.is_gzip && !pattern.ends_with(".gz") {
            pattern.push_str(".gz");
        }
        let name = TopicName(pattern);
        let example = with_revision(&name.at(datetime), 0);
        match example.rsplit('/').next() {
            Some("" | "." | "..") | None => Err(format!("{example:?} does not name a file")),
            _ if example.split('/').any(|part| part == "..") => {
                Err(format!("file name {example:?} contains \"..\""))
            }
            _ => Ok(name),
        }
    }
}

/// Rejects what looks like a placeholder and is none.
fn check_placeholders(flag: &str, format: &str, known: &[&str]) -> Result<(), String> {
    for (start, _) in format.match_indices('<') {
        let rest = format.get(start..).unwrap_or_default();
        let Some(end) = rest.find('>') else { continue };
        let placeholder = rest.get(..=end).unwrap_or_default();
        let word = rest.get(1..end).unwrap_or_default();
        let is_like_one = word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        if is_like_one && !known.contains(&placeholder) {
            let known = known.join(" ");
            return Err(format!(
                "--{flag} {format:?}: unknown placeholder {placeholder}; known are {known}"
            ));
        }
    }
    Ok(())
}

/// The name of the files of a topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicName(String);

impl TopicName {
    /// Returns the name at this time. It may have a place for the revision.
    pub(crate) fn at(&self, datetime: &str) -> String {
        self.0.replace(DATETIME, datetime)
    }
}

/// Returns the path of this revision, relative to the directory of the files.
pub(crate) fn with_revision(name: &str, revision: u32) -> String {
    let name = name.replace(REVISION, &format!("-{revision:06}"));
    name.trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{NameFormat, NameParts, with_revision};

    const DEFAULT: NameParts<'_> = NameParts {
        format: "<TOPIC>.<HOST><REV>.<DATETIME>.log",
        identifier: "",
        hostname: "host.example.org",
        pid: 42,
        has_revision: false,
        is_gzip: false,
    };

    fn name(parts: NameParts<'_>) -> Result<String, String> {
        let name = NameFormat::new(parts)?.of_topic("orders", "2026-07-05_21")?;
        Ok(with_revision(&name.at("2026-07-05_21"), 3))
    }

    #[test]
    fn revision_is_in_the_name_only_where_it_is_needed() {
        assert_eq!(name(DEFAULT).unwrap(), "orders.host.2026-07-05_21.log");
        let has_revision = NameParts {
            has_revision: true,
            ..DEFAULT
        };
        let expected = "orders.host-000003.2026-07-05_21.log";
        assert_eq!(name(has_revision).unwrap(), expected);
        let format = "<TOPIC>.log";
        let missing = name(NameParts {
            format,
            ..has_revision
        });
        assert!(
            missing
                .unwrap_err()
                .contains("\"<TOPIC>.log\" has no <REV>")
        );
        let unneeded = NameParts { format, ..DEFAULT };
        assert_eq!(name(unneeded).unwrap(), "orders.log");
    }

    #[test]
    fn name_of_a_compressed_file_ends_with_gz_once() {
        for (format, expected) in [
            ("<TOPIC><REV>.log", "orders-000003.log.gz"),
            ("<TOPIC><REV>.gz", "orders-000003.gz"),
        ] {
            let parts = NameParts {
                format,
                has_revision: true,
                is_gzip: true,
                ..DEFAULT
            };
            assert_eq!(name(parts).unwrap(), expected);
        }
    }

    #[test]
    fn identifier_replaces_the_name_of_the_host() {
        for (identifier, expected) in [
            ("", "host"),
            ("east", "east"),
            ("<SHORT_HOST>-<PID>", "host-42"),
            ("<HOSTNAME>", "host.example.org"),
        ] {
            let parts = NameParts {
                format: "<HOST>",
                identifier,
                ..DEFAULT
            };
            assert_eq!(name(parts).unwrap(), expected);
        }
    }

    #[test]
    fn name_may_contain_directories_below_the_given_one() {
        for (format, expected) in [
            ("/<TOPIC>/<DATETIME>", "orders/2026-07-05_21"),
            ("a/./b", "a/./b"),
            ("<topic> <", "<topic> <"),
        ] {
            assert_eq!(name(NameParts { format, ..DEFAULT }).unwrap(), expected);
        }
    }

    #[test]
    fn unusable_format_is_rejected_with_the_reason() {
        for (format, reason) in [
            ("", "\"\" does not name a file"),
            ("<TOPIC>/", "\"orders/\" does not name a file"),
            ("/<TOPIC>/..", "\"orders/..\" does not name a file"),
            ("../<TOPIC>", "file name \"../orders\" contains \"..\""),
            (
                "<DATE>.log",
                "unknown placeholder <DATE>; known are <TOPIC>",
            ),
            ("<<HOSTNAME>", "unknown placeholder <HOSTNAME>"),
        ] {
            let rejected = name(NameParts { format, ..DEFAULT }).unwrap_err();
            assert!(rejected.contains(reason), "{rejected}");
        }
        let rejected = name(NameParts {
            identifier: "<HOST_NAME>",
            ..DEFAULT
        });
        let reason = "--host-identifier \"<HOST_NAME>\": unknown placeholder <HOST_NAME>";
        assert!(rejected.unwrap_err().starts_with(reason));
    }

    #[test]
    fn topic_cannot_lead_out_of_the_directory() {
        let format = "<TOPIC>/<DATETIME>";
        let names = NameFormat::new(NameParts { format, ..DEFAULT }).unwrap();
        assert!(names.of_topic("..", "21").is_err());
        assert!(names.of_topic("...", "21").is_ok());
    }
}
