//! Untrusted text, made safe for one line of a log.

/// Marks omitted text.
const ELLIPSIS: char = '…';

/// Renders `text` on one line of at most `limit` bytes; an ellipsis marks omitted text.
///
/// Characters that could break or disguise a line (control characters, direction marks) are
/// escaped as in a Rust string. Quotes are not, because nsqd's texts contain many of them.
pub(crate) fn one_line(text: impl Iterator<Item = char>, limit: usize) -> String {
    let mut line = String::new();
    // The last position from which the ellipsis still fits: where a line too long is cut.
    let mut cut = 0;
    for character in text {
        if line.len() + ELLIPSIS.len_utf8() <= limit {
            cut = line.len();
        }
        match character {
            '"' | '\'' => line.push(character),
            other => line.extend(other.escape_debug()),
        }
        if line.len() > limit {
            line.truncate(cut);
            line.push(ELLIPSIS);
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[track_caller]
    fn assert_line(text: &str, limit: usize, expected: &str) {
        assert_eq!(one_line(text.chars(), limit), expected);
    }

    #[test]
    fn short_text_is_unchanged() {
        assert_line("", 10, "");
        assert_line("it's \"fine\"", 20, "it's \"fine\"");
        assert_line("0123456789", 10, "0123456789");
        assert_line("grüße", 10, "grüße");
    }

    #[test]
    fn control_and_direction_characters_are_escaped() {
        assert_line("a\nb\r\0", 20, "a\\nb\\r\\0");
        assert_line("\u{202e}", 20, "\\u{202e}");
        assert_line("\\n", 20, "\\\\n");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_line("01234567890", 10, "0123456…");
        assert_line("éééééé", 10, "ééé…");
        assert_line("12345678\n\n", 10, "1234567…");
    }
}
