//! PUB.

use crate::step::{OK, Row, Step::*};

const NOT_ENOUGH: crate::step::Step = Error(b"E_INVALID PUB insufficient number of parameters");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_is_stored_and_delivered", &[
        Send(b"PUB <t>\n\0\0\0\x05\0\xffx\n "), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"\0\xffx\n "), Open,
    ]),
    ("a_return_may_end_the_line", &[Send(b"PUB <t>\r\n\0\0\0\x01x"), OK, Open]),
    ("surplus_parameters_do_not_matter", &[Send(b"PUB <t> and more\n\0\0\0\x01x"), OK, Open]),
    ("a_trailing_space_does_not_matter", &[Send(b"PUB <t> \n\0\0\0\x01x"), OK, Open]),
    ("a_message_may_be_as_large_as_allowed", &[Fill(b"PUB <t>\n\0\0\x04\0", b'x', 1024, b""), OK, Open]),
    ("a_larger_one_is_refused", &[Send(b"PUB <t>\n\0\0\x04\x01"), Error(b"E_BAD_MESSAGE PUB message too big 1025 > 1024"), Eof]),
    ("an_empty_one_is_refused", &[Send(b"PUB <t>\n\0\0\0\0"), Error(b"E_BAD_MESSAGE PUB invalid message body size 0"), Eof]),
    ("a_negative_size_is_refused", &[
        Send(b"PUB <t>\n\x80\0\0\0"), Error(b"E_BAD_MESSAGE PUB invalid message body size -2147483648"), Eof,
    ]),
    ("without_its_size_it_swallows_what_comes", &[
        Send(b"PUB <t>\nNOP\n"), Error(b"E_BAD_MESSAGE PUB message too big 1313820682 > 1024"), Eof,
    ]),
    ("half_a_size_is_told", &[
        Send(b"PUB <t>\n\0\0"), HalfClose, Error(b"E_BAD_MESSAGE PUB failed to read message body size"), Eof,
    ]),
    ("no_size_is_told", &[
        Send(b"PUB <t>\n"), HalfClose, Error(b"E_BAD_MESSAGE PUB failed to read message body size"), Eof,
    ]),
    ("half_a_body_is_told_and_not_stored", &[
        Send(b"PUB <t>\n\0\0\0\x02x"), HalfClose, Error(b"E_BAD_MESSAGE PUB failed to read message body"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"y"), Open,
    ]),
    ("it_needs_a_topic", &[Send(b"PUB\n\0\0\0\x01x"), NOT_ENOUGH, Eof]),
    ("two_spaces_make_an_empty_topic", &[
        Send(b"PUB  <t>\n\0\0\0\x01x"), Error(br#"E_BAD_TOPIC PUB topic name "" is not valid"#), Eof,
    ]),
    ("a_topic_may_have_64_characters", &[Fill(b"PUB ", b'p', 64, b"\n\0\0\0\x01x"), OK, Open]),
    ("a_topic_of_65_is_refused", &[
        Send(b"PUB 12345678901234567890123456789012345678901234567890123456789012345\n"),
        Error(br#"E_BAD_TOPIC PUB topic name "12345678901234567890123456789012345678901234567890123456789012345" is not valid"#),
        Eof,
    ]),
    ("every_legal_character_is_legal", &[
        Send(b"PUB .-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\n"),
        Error(br#"E_BAD_TOPIC PUB topic name ".-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" is not valid"#),
        Eof,
        Use(1), Send(b"PUB .-_klmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\n\0\0\0\x01x"), OK, Open,
    ]),
    ("an_ephemeral_suffix_counts_among_the_64", &[
        Send(b"PUB 123456789012345678901234567890123456789012345678901234#ephemeral\n\0\0\0\x01x"), OK,
        Send(b"PUB 1234567890123456789012345678901234567890123456789012345#ephemeral\n\0\0\0\x01x"),
        Error(br#"E_BAD_TOPIC PUB topic name "1234567890123456789012345678901234567890123456789012345#ephemeral" is not valid"#),
        Eof,
    ]),
    ("a_suffix_alone_is_no_topic", &[
        Send(b"PUB #ephemeral\n"), Error(br##"E_BAD_TOPIC PUB topic name "#ephemeral" is not valid"##), Eof,
    ]),
    ("another_suffix_is_refused", &[
        Send(b"PUB t#temporary\n"), Error(br##"E_BAD_TOPIC PUB topic name "t#temporary" is not valid"##), Eof,
    ]),
    ("a_refused_name_is_quoted_as_go_does", &[
        Send(b"PUB a\"\\\x00\x07\x1f\x7f\t\xff\xc3\xa9/\n"),
        Error(b"E_BAD_TOPIC PUB topic name \"a\\\"\\\\\\x00\\a\\x1f\\x7f\\t\\xff\xc3\xa9/\" is not valid"), Eof,
    ]),
    ("it_is_legal_subscribed", &[Send(b"SUB <t> c\nPUB <t>\n\0\0\0\x01x"), OK, OK, Open]),
    ("it_is_legal_closing", &[Send(b"SUB <t> c\nCLS\nPUB <t>\n\0\0\0\x01x"), OK, Response("CLOSE_WAIT"), OK, Open]),
    ("a_refused_one_ends_a_consumer_too", &[
        Send(b"SUB <t> c\nPUB <t>\n\0\0\0\0"), OK, Error(b"E_BAD_MESSAGE PUB invalid message body size 0"), Eof,
    ]),
];
