//! Names of topics and channels: accepted exactly as nsqd's own expression accepts them, `^[.a-zA-Z0-9_-]+(#ephemeral)?$`
//! and 1 to 64 bytes.

use actix_nsq::{Channel, Delivery, ErrorKind, NameError, ProducerHandle, PublishError, Topic};
use proptest::prelude::*;

use crate::config::{one_short_line, touches_nobody};

/// nsqd's expression, read from its end.
fn nsqd_accepts(name: &str) -> bool {
    let stem = name.strip_suffix("#ephemeral").unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=64).contains(&name.len()) && !stem.is_empty() && stem.bytes().all(allowed)
}

/// Every way from a text to a name.
#[track_caller]
fn judge(name: &str) {
    let topics: [Result<Topic, NameError>; 4] = [
        Topic::new(name),
        name.parse(),
        name.try_into(),
        name.to_owned().try_into(),
    ];
    let channels: [Result<Channel, NameError>; 4] = [
        Channel::new(name),
        name.parse(),
        name.try_into(),
        name.to_owned().try_into(),
    ];
    let topics = topics.map(|topic| topic.map(|topic| topic.to_string()));
    let channels = channels.map(|channel| channel.map(|channel| channel.to_string()));
    for (kind, judged) in [("topic", topics), ("channel", channels)] {
        for parsed in judged {
            assert_eq!(parsed.is_ok(), nsqd_accepts(name), "{kind} {name:?}");
            match parsed {
                Ok(parsed) => assert_eq!(parsed, name),
                Err(refused) => {
                    let error = PublishError::from(refused);
                    let is = (error.kind(), error.delivery(), error.is_retryable());
                    let expected = (ErrorKind::InvalidName, Delivery::NotWritten, false);
                    assert_eq!(is, expected, "{error}");
                    let text = one_short_line(&error);
                    assert!(text.starts_with(kind), "{text}");
                }
            }
        }
    }
}

/// A good name with something done to it: a character put in, taken out, or in place of another.
fn near_miss() -> impl Strategy<Value = String> {
    let good = "[.a-zA-Z0-9_-]{1,60}(#ephemeral)?";
    let odd = prop_oneof![
        any::<char>(),
        "[\\x00-\\x7f]".prop_map(|s| s.chars().next().unwrap())
    ];
    (good, any::<prop::sample::Index>(), odd, 0..3).prop_map(|(name, place, odd, how)| {
        let mut characters: Vec<char> = name.chars().collect();
        let place = place.index(characters.len());
        match how {
            0 => characters.insert(place, odd),
            1 => characters[place] = odd,
            _ => drop(characters.remove(place)),
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn a_name_is_taken_exactly_as_nsqd_takes_it(
        name in prop_oneof![near_miss(), any::<String>(), "[.a-zA-Z0-9_-]{0,70}", "[a-z]{0,3}#[a-z#]{0,12}"]
    ) {
        judge(&name);
    }
}

/// fault: P26
#[test]
fn names_of_every_length_and_with_every_byte_are_taken_exactly_as_nsqd_takes_them() {
    for length in 0..=70 {
        judge(&"x".repeat(length));
        judge(&format!("{}#ephemeral", "x".repeat(length)));
    }
    for character in (0..=0x24f).filter_map(char::from_u32) {
        judge(&character.to_string());
        judge(&format!("a{character}b"));
        judge(&format!("a{character}"));
        judge(&format!("a#ephemeral{character}"));
    }
    judge(&"\n".repeat(100_000));
    judge(&"\u{10ffff}".repeat(1_000));
}

/// fault: P26
#[test]
fn a_handle_that_is_given_a_bad_name_writes_nothing() {
    let long = "x".repeat(65);
    let bad = [
        "",
        " ",
        "a b",
        "a\nPUB b\n\0\0\0\x01x",
        "a\0",
        "#ephemeral",
        "a#",
        "ü",
        &long,
    ];
    touches_nobody(async |handle| {
        for name in bad {
            let by_three = [
                handle.publish(name, "x").await,
                handle.multi_publish(name, ["x", "y"]).await,
                handle
                    .deferred_publish(name, std::time::Duration::ZERO, "x")
                    .await,
            ];
            for answer in by_three {
                let error = answer.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidName, "{name:?}: {error}");
                assert_eq!(error.delivery(), Delivery::NotWritten);
                one_short_line(&error);
            }
        }
    });
}
