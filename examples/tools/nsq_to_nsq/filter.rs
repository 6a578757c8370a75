//! The flags `--require-json-field`, `--require-json-value` and `--whitelist-json-field`: which
//! messages are published, and which of their fields.

use actix_nsq::bytes::Bytes;

use crate::fields::{Field, fields};

/// Which messages pass, and what of them. By default all, unchanged.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) required: Option<Required>,
    /// Names of the fields that are kept; none: the body is not changed.
    pub(crate) kept: Vec<String>,
}

/// What a message must have to be published.
#[derive(Debug)]
pub(crate) struct Required {
    /// Name of a field.
    pub(crate) field: String,
    /// Its value, as a string or a number; `None`: any.
    pub(crate) value: Option<String>,
}

impl Filter {
    /// Returns the body to be published; `None` if the message is passed over. A body that must be
    /// a JSON object and is not is an error.
    pub(crate) fn apply(&self, body: &Bytes) -> Result<Option<Bytes>, String> {
        if self.required.is_none() && self.kept.is_empty() {
            return Ok(Some(body.clone()));
        }
        let fields = fields(body)?;
        let is_required = |required: &Required| required.is_met_by(&fields);
        if !self.required.as_ref().is_none_or(is_required) {
            return Ok(None);
        }
        Ok(Some(match self.kept.is_empty() {
            true => body.clone(),
            false => self.kept_of(&fields),
        }))
    }

    /// An object with the fields that are kept, in their order. Of fields with one name it has the
    /// last.
    fn kept_of(&self, fields: &[Field<'_>]) -> Bytes {
        let mut object = vec![b'{'];
        for (index, field) in fields.iter().enumerate() {
            let mut later = fields.iter().skip(index + 1);
            if !self.kept.contains(&field.name) || later.any(|it| it.name == field.name) {
                continue;
            }
            if object.len() > 1 {
                object.push(b',');
            }
            object.extend_from_slice(field.quoted);
            object.push(b':');
            object.extend_from_slice(field.value);
        }
        object.push(b'}');
        object.into()
    }
}

impl Required {
    /// Of fields with one name the last counts.
    fn is_met_by(&self, fields: &[Field<'_>]) -> bool {
        let mut from_last = fields.iter().rev();
        match (
            from_last.find(|field| field.name == self.field),
            &self.value,
        ) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(field), Some(value)) => is_equal(field.value, value),
        }
    }
}

/// Whether a JSON value is this string, or is a number that is equal to it.
fn is_equal(json: &[u8], value: &str) -> bool {
    if json.starts_with(b"\"") {
        return serde_json::from_slice::<String>(json).is_ok_and(|text| text == value);
    }
    let is_number = matches!(json, [b'-' | b'0'..=b'9', ..]);
    is_number && str::from_utf8(json).is_ok_and(|number| is_same_number(number, value))
}

/// Compares integers exactly, other numbers as floating-point numbers.
fn is_same_number(one: &str, other: &str) -> bool {
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return one == other;
    }
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one.is_finite() && one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(field: Option<&str>, value: Option<&str>, kept: &[&str]) -> Filter {
        Filter {
            required: field.map(|field| Required {
                field: field.into(),
                value: value.map(Into::into),
            }),
            kept: kept.iter().map(|&name| name.into()).collect(),
        }
    }

    /// The body that is published; `None`: the message is passed over.
    fn applied(filter: &Filter, body: &str) -> Option<String> {
        let body = filter.apply(&Bytes::copy_from_slice(body.as_bytes()));
        let body = body.unwrap();
        body.map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn without_flags_any_body_passes_unchanged() {
        let filter = Filter::default();
        for body in ["x", "{", r#"{"a": 1}"#] {
            assert_eq!(applied(&filter, body).as_deref(), Some(body));
        }
    }

    #[test]
    fn required_field_passes_the_body_unchanged() {
        let filter = filter(Some("a"), None, &[]);
        for body in [r#" {"a" : 1.50, "b":2} "#, r#"{"a":null}"#] {
            assert_eq!(applied(&filter, body).as_deref(), Some(body));
        }
        for body in [r#"{"b":1}"#, r#"{"b":{"a":1}}"#, r#"{"A":1}"#, "{}", "null"] {
            assert_eq!(applied(&filter, body), None, "{body}");
        }
    }

    #[test]
    fn required_value_is_a_string_or_a_number() {
        for (value, passes, is_passed_over) in [
            ("x", &[r#""x""#, r#""\u0078""#][..], &[r#""X""#, "1"][..]),
            (
                "5",
                &["5", "5.0", "50e-1", r#""5""#],
                &["6", r#""5.0""#, "[5]", "null"],
            ),
            ("-0.5", &["-0.5", "-5E-1"], &["0.5", r#""-.5""#]),
            ("true", &[r#""true""#], &["true"]),
            ("null", &[], &["null"]),
            ("inf", &[r#""inf""#], &["1e999"]),
            // Floating-point numbers could not tell them apart.
            (
                "9007199254740993",
                &["9007199254740993"],
                &["9007199254740992"],
            ),
        ] {
            let filter = filter(Some("a"), Some(value), &[]);
            let pass = |json: &&str| applied(&filter, &format!(r#"{{"a":{json}}}"#)).is_some();
            assert!(passes.iter().all(&pass), "{value}");
            assert!(!is_passed_over.iter().any(pass), "{value}");
            assert_eq!(applied(&filter, r#"{"b":5}"#), None);
        }
    }

    #[test]
    fn kept_fields_are_copied_and_the_others_are_dropped() {
        let filter = filter(None, None, &["a", "c", "missing"]);
        for (body, expected) in [
            (
                r#"{"c": 12345678901234567890123 , "b": 1, "a": [ 1.0, "\u00e9" ]}"#,
                r#"{"c":12345678901234567890123,"a":[ 1.0, "\u00e9" ]}"#,
            ),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"\u0061":1e2}"#, r#"{"\u0061":1e2}"#),
            (r#"{"b":1}"#, "{}"),
            ("null", "{}"),
        ] {
            assert_eq!(applied(&filter, body).as_deref(), Some(expected));
        }
    }

    #[test]
    fn required_field_need_not_be_kept() {
        let filter = filter(Some("a"), Some("1"), &["b"]);
        let body = r#"{"a":1,"b":2}"#;
        assert_eq!(applied(&filter, body).as_deref(), Some(r#"{"b":2}"#));
        assert_eq!(applied(&filter, r#"{"a":2,"b":2}"#), None);
    }

    #[test]
    fn body_that_is_not_an_object_is_an_error_with_each_flag() {
        for filter in [filter(Some("a"), None, &[]), filter(None, None, &["a"])] {
            for body in ["x", "[]", r#"{"a":1"#] {
                assert!(filter.apply(&Bytes::from_static(body.as_bytes())).is_err());
            }
        }
    }
}
