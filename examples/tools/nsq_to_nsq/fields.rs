//! The fields of a JSON object, as parts of its text.

use std::collections::HashMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Deserializer;

/// A field of an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: String,
    /// The name as it is written, with its quotation marks.
    pub(crate) quoted: &'a [u8],
    /// The value as it is written.
    pub(crate) value: &'a [u8],
}

/// Returns the fields of an object in their order. `null` has none. A text that is not an object
/// is an error, which says why and where.
pub(crate) fn fields(text: &[u8]) -> Result<Vec<Field<'_>>, String> {
    Scanner(text).fields().ok_or_else(|| {
        let object = serde_json::from_slice::<HashMap<String, IgnoredAny>>(text);
        object.map_or_else(|error| error.to_string(), |_| "not an object".to_owned())
    })
}

/// The text that is not read yet.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    /// `None` if the text is not an object.
    fn fields(mut self) -> Option<Vec<Field<'a>>> {
        let mut fields = Vec::new();
        if !self.skip(b'{') {
            let (None::<IgnoredAny>, _) = self.take()? else {
                return None;
            };
        } else if !self.skip(b'}') {
            loop {
                let (name, quoted) = self.take()?;
                if !self.skip(b':') {
                    return None;
                }
                let (IgnoredAny, value) = self.take()?;
                let field = Field {
                    name,
                    quoted,
                    value,
                };
                fields.push(field);
                if self.skip(b'}') {
                    break;
                }
                if !self.skip(b',') {
                    return None;
                }
            }
        }
        self.skip_whitespace();
        self.0.is_empty().then_some(fields)
    }

    /// Skips whitespace, and this byte behind it. Returns whether it is there.
    fn skip(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_whitespace(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    /// Takes a value and its text, which begins without whitespace.
    fn take<T: DeserializeOwned>(&mut self) -> Option<(T, &'a [u8])> {
        self.skip_whitespace();
        let mut values = Deserializer::from_slice(self.0).into_iter();
        let value = values.next()?.ok()?;
        let (text, rest) = self.0.split_at(values.byte_offset());
        self.0 = rest;
        Some((value, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and value of each field.
    fn parsed(text: &str) -> Result<Vec<(String, String)>, String> {
        let fields = fields(text.as_bytes())?.into_iter().map(|field| {
            let value = String::from_utf8(field.value.to_vec()).unwrap();
            (field.name, value)
        });
        Ok(fields.collect())
    }

    #[test]
    fn value_is_the_text_as_it_is_written() {
        let values = [
            "1",
            "-0.10",
            "1e999",
            "123456789012345678901234567890",
            r#""\u00e9 \" }""#,
            "true",
            "null",
            r#"{ "b": [1, {}] }"#,
            "[]",
        ];
        for value in values {
            for space in ["", " ", "\r\n\t"] {
                let text = format!(
                    r#"{space}{{{space}"a"{space}:{space}{value}{space},"\u0062":0{space}}}{space}"#
                );
                let expected = [("a", value), ("b", "0")].map(|it| (it.0.into(), it.1.into()));
                assert_eq!(parsed(&text).unwrap(), expected, "{text}");
            }
        }
        let text = br#"{"\u0061":1}"#;
        assert_eq!(fields(text).unwrap()[0].quoted, br#""\u0061""#);
    }

    #[test]
    fn object_without_fields_and_null_have_none() {
        for text in ["{}", " { } ", "null", "\nnull "] {
            assert_eq!(parsed(text).unwrap(), [], "{text}");
        }
    }

    #[test]
    fn text_that_is_not_an_object_is_an_error() {
        for text in [
            "",
            " ",
            "x",
            "[]",
            "1",
            "\"a\"",
            "{",
            "{}}",
            "{} {}",
            "{a:1}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":tru}"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":[}"#,
            r#"{1:2}"#,
            "\u{c}{}",
            "\u{feff}{}",
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(" at line "), "{text:?}: {error}");
        }
        assert!(fields(b"{\"\xff\":1}").is_err());
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let depth = 1_000_000;
        let text = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(parsed(&text).unwrap()[0].1.len(), 2 * depth);
    }
}
