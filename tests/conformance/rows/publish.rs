//! PUB: responses, errors and effects.

use crate::step::{OK, Row, Step::*};

const NOT_ENOUGH: crate::step::Step = Error(b"E_INVALID PUB insufficient number of parameters");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("message_is_stored_and_delivered", &[
        Send(b"PUB <t>\n\0\0\0\x05\0\xffx\n "), OK, Send(b"SUB <t> c\nRDY 1\n"), OK,
        Message('a', 1, b"\0\xffx\n "), Open,
    ]),
    ("carriage_return_ends_the_line", &[Send(b"PUB <t>\r\n\0\0\0\x01x"), OK, Open]),
    ("surplus_parameters_are_ignored", &[Send(b"PUB <t> and more\n\0\0\0\x01x"), OK, Open]),
    ("trailing_space_is_ignored", &[Send(b"PUB <t> \n\0\0\0\x01x"), OK, Open]),
    ("message_of_maximum_size_is_accepted", &[
        Fill(b"PUB <t>\n\0\0\x04\0", b'x', 1024, b""), OK, Open,
    ]),
    ("message_above_the_limit_is_rejected", &[
        Send(b"PUB <t>\n\0\0\x04\x01"), Error(b"E_BAD_MESSAGE PUB message too big 1025 > 1024"),
        Eof,
    ]),
    ("empty_message_is_rejected", &[
        Send(b"PUB <t>\n\0\0\0\0"), Error(b"E_BAD_MESSAGE PUB invalid message body size 0"), Eof,
    ]),
    ("negative_size_is_rejected", &[
        Send(b"PUB <t>\n\x80\0\0\0"),
        Error(b"E_BAD_MESSAGE PUB invalid message body size -2147483648"), Eof,
    ]),
    ("next_command_is_read_as_a_missing_size", &[
        Send(b"PUB <t>\nNOP\n"), Error(b"E_BAD_MESSAGE PUB message too big 1313820682 > 1024"), Eof,
    ]),
    ("incomplete_size_returns_error", &[
        Send(b"PUB <t>\n\0\0"), HalfClose,
        Error(b"E_BAD_MESSAGE PUB failed to read message body size"), Eof,
    ]),
    ("missing_size_returns_error", &[
        Send(b"PUB <t>\n"), HalfClose, Error(b"E_BAD_MESSAGE PUB failed to read message body size"),
        Eof,
    ]),
    ("incomplete_body_returns_error_and_is_not_stored", &[
        Send(b"PUB <t>\n\0\0\0\x02x"), HalfClose,
        Error(b"E_BAD_MESSAGE PUB failed to read message body"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK,
        Message('a', 1, b"y"), Open,
    ]),
    ("missing_topic_is_rejected", &[Send(b"PUB\n\0\0\0\x01x"), NOT_ENOUGH, Eof]),
    ("two_spaces_enclose_an_empty_topic", &[
        Send(b"PUB  <t>\n\0\0\0\x01x"), Error(br#"E_BAD_TOPIC PUB topic name "" is not valid"#),
        Eof,
    ]),
    ("topic_of_64_characters_is_accepted", &[Fill(b"PUB ", b'p', 64, b"\n\0\0\0\x01x"), OK, Open]),
    ("topic_of_65_characters_is_rejected", &[
        Send(b"PUB 12345678901234567890123456789012345678901234567890123456789012345\n"),
        Error(b"E_BAD_TOPIC PUB topic name \
            \"12345678901234567890123456789012345678901234567890123456789012345\" is not valid"),
        Eof,
    ]),
    ("every_valid_character_is_accepted", &[
        Send(b"PUB .-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\n"),
        Error(b"E_BAD_TOPIC PUB topic name \
            \".-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\" is not valid"),
        Eof,
        Use(1), Send(b"PUB .-_klmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\n\0\0\0\x01x"),
        OK, Open,
    ]),
    ("ephemeral_suffix_counts_towards_the_length", &[
        Send(b"PUB 123456789012345678901234567890123456789012345678901234#ephemeral\n\0\0\0\x01x"),
        OK,
        Send(b"PUB 1234567890123456789012345678901234567890123456789012345#ephemeral\n\0\0\0\x01x"),
        Error(b"E_BAD_TOPIC PUB topic name \
            \"1234567890123456789012345678901234567890123456789012345#ephemeral\" is not valid"),
        Eof,
    ]),
    ("suffix_alone_is_rejected", &[
        Send(b"PUB #ephemeral\n"),
        Error(br##"E_BAD_TOPIC PUB topic name "#ephemeral" is not valid"##), Eof,
    ]),
    ("other_suffix_is_rejected", &[
        Send(b"PUB t#temporary\n"),
        Error(br##"E_BAD_TOPIC PUB topic name "t#temporary" is not valid"##), Eof,
    ]),
    ("invalid_name_is_quoted_like_go", &[
        Send(b"PUB a\"\\\x00\x07\x1f\x7f\t\xff\xc3\xa9/\n"),
        Error(b"E_BAD_TOPIC PUB topic name \"a\\\"\\\\\\x00\\a\\x1f\\x7f\\t\\xff\xc3\xa9/\" is \
            not valid"),
        Eof,
    ]),
    ("pub_after_sub_is_allowed", &[Send(b"SUB <t> c\nPUB <t>\n\0\0\0\x01x"), OK, OK, Open]),
    ("pub_after_cls_is_allowed", &[
        Send(b"SUB <t> c\nCLS\nPUB <t>\n\0\0\0\x01x"), OK, Response("CLOSE_WAIT"), OK, Open,
    ]),
    ("rejected_pub_closes_the_connection_of_a_consumer", &[
        Send(b"SUB <t> c\nPUB <t>\n\0\0\0\0"), OK,
        Error(b"E_BAD_MESSAGE PUB invalid message body size 0"), Eof,
    ]),
];
