//! FIN.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_is_not_answered_and_makes_room", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"FIN <a>\n"), Message('b', 1, b"2"), Open,
    ]),
    ("a_return_and_surplus_parameters_do_not_matter", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"FIN <a> x\r\n"), Message('b', 1, b"2"), Open,
    ]),
    ("a_second_one_fails_and_the_connection_lives", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"FIN <a>\nFIN <a>\n"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("an_unknown_id_fails", &[
        Send(b"SUB <t> c\nFIN 0123456789abcdef\n"), OK, Error(b"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight"), Open,
    ]),
    ("sixteen_bytes_of_anything_are_an_id", &[
        Send(b"SUB <t> c\nFIN \xff\0\xc3!\"%sABCDEFGHI\n"), OK,
        Error(b"E_FIN_FAILED FIN \xff\0\xc3!\"%sABCDEFGHI failed ID not in flight"), Open,
    ]),
    ("a_plus_sign_makes_no_number_of_an_id", &[
        Send(b"SUB <t> c\nFIN +000000000000001\n"), OK, Error(b"E_FIN_FAILED FIN +000000000000001 failed ID not in flight"), Open,
    ]),
    ("anothers_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> c\nFIN <a>\n"), OK, Error(b"E_FIN_FAILED FIN <a> failed client does not own message"), Open,
        Use(0), Send(b"FIN <a>\nFIN <a>\n"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("another_channels_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> d\nFIN <a>\n"), OK, Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("a_requeued_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"RDY 0\nREQ <a> 0\nFIN <a>\n"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("a_message_that_has_timed_out_belongs_to_its_next_consumer", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Send(b"RDY 0\n"),
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 2, b"x"),
        Use(0), Send(b"FIN <a>\nTOUCH <a>\nREQ <a> 0\n"),
        Error(b"E_FIN_FAILED FIN <a> failed client does not own message"),
        Error(b"E_TOUCH_FAILED TOUCH <a> failed client does not own message"),
        Error(b"E_REQ_FAILED REQ <a> failed client does not own message"), Open,
        Use(1), Send(b"FIN <a>\n"), Open,
    ]),
    ("a_message_that_has_timed_out_comes_again_and_can_be_finished", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Message('a', 2, b"x"), Send(b"FIN <a>\nFIN <a>\n"),
        Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("the_first_identify_sets_the_time_out", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK, Identify(r#"{"msg_timeout":900000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Message('a', 2, b"x"), Open,
    ]),
    ("it_needs_an_id", &[Send(b"SUB <t> c\nFIN\n"), OK, Error(b"E_INVALID FIN insufficient number of params"), Eof]),
    ("a_short_id_is_fatal", &[Send(b"SUB <t> c\nFIN 0123456789abcde\n"), OK, Error(b"E_INVALID invalid message ID"), Eof]),
    ("a_long_id_is_fatal", &[Send(b"SUB <t> c\nFIN 0123456789abcdef0\n"), OK, Error(b"E_INVALID invalid message ID"), Eof]),
    ("an_empty_id_is_fatal", &[Send(b"SUB <t> c\nFIN  0123456789abcdef\n"), OK, Error(b"E_INVALID invalid message ID"), Eof]),
    ("before_sub_it_is_refused", &[Send(b"FIN 0123456789abcdef\n"), Error(b"E_INVALID cannot FIN in current state"), Eof]),
    ("before_sub_it_is_refused_whatever_its_id", &[Send(b"FIN\n"), Error(b"E_INVALID cannot FIN in current state"), Eof]),
    ("it_is_legal_closing", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"CLS\nFIN <a>\nFIN <a>\n"), Response("CLOSE_WAIT"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
];
