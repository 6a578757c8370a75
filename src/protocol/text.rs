//! Text from outside, made fit for one line of a log.

/// Appended where a text was cut.
const ELLIPSIS: char = '…';

/// Renders `text` on one line in at most `limit` bytes; what had to be left out is marked by an ellipsis.
///
/// What could break a line or disguise it (control characters, direction marks) is escaped as in a Rust string; quotes stay
/// as they are, because nsqd's own texts are full of them.
pub(crate) fn one_line(text: impl Iterator<Item = char>, limit: usize) -> String {
    let mut line = String::new();
    // Where the line is cut should it turn out too long: the last place that leaves room for the ellipsis.
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
    fn check(text: &str, limit: usize, expected: &str) {
        assert_eq!(one_line(text.chars(), limit), expected);
    }

    #[test]
    fn a_short_text_stays_as_it_is() {
        check("", 10, "");
        check("it's \"fine\"", 20, "it's \"fine\"");
        check("0123456789", 10, "0123456789");
        check("grüße", 10, "grüße");
    }

    #[test]
    fn what_could_break_a_line_is_escaped() {
        check("a\nb\r\0", 20, "a\\nb\\r\\0");
        check("\u{202e}", 20, "\\u{202e}");
        check("\\n", 20, "\\\\n");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        check("01234567890", 10, "0123456…");
        check("éééééé", 10, "ééé…");
        check("12345678\n\n", 10, "1234567…");
    }
}
