//! REQ.

use crate::step::{OK, Row, Step, Step::*};

const FAILS: Step = Error(b"E_REQ_FAILED REQ <a> failed ID not in flight");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_comes_again_with_one_more_attempt", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 0\n"), Message('a', 2, b"x"), Send(b"REQ <a> 0\n"), Message('a', 3, b"x"), Open,
    ]),
    ("it_comes_again_behind_what_waits", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"REQ <a> 0\n"), Message('b', 1, b"2"),
        Send(b"FIN <b>\n"), Message('a', 2, b"1"), Open,
    ]),
    ("it_comes_again_after_its_delay", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 300\n"), Open, Message('a', 2, b"x"), Open,
    ]),
    ("it_may_go_to_another_consumer", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Use(0), Send(b"RDY 0\nREQ <a> 0\n"),
        Use(1), Message('a', 2, b"x"), Send(b"FIN <a>\n"), Open,
    ]),
    ("too_long_a_delay_is_shortened_without_a_word", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 3600001\nREQ <a> 0\n"), FAILS, Open,
    ]),
    ("a_delay_that_go_takes_for_negative_is_none", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 9223372036855\n"), Message('a', 2, b"x"), Open,
    ]),
    ("a_delay_of_64_bits_wraps", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 18446744073709551616\n"), Message('a', 2, b"x"), Open,
    ]),
    ("an_empty_delay_is_none", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> \n"), Message('a', 2, b"x"), Open,
    ]),
    ("surplus_parameters_do_not_matter", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 0 x\r\n"), Message('a', 2, b"x"), Open,
    ]),
    ("a_second_one_fails_and_the_connection_lives", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"RDY 0\nREQ <a> 0\nREQ <a> 0\n"), FAILS, Open,
    ]),
    ("a_finished_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"FIN <a>\nREQ <a> 100\n"), FAILS, Open,
    ]),
    ("an_unknown_id_fails", &[
        Send(b"SUB <t> c\nREQ 0123456789abcdef 0\n"), OK, Error(b"E_REQ_FAILED REQ 0123456789abcdef failed ID not in flight"), Open,
    ]),
    ("anothers_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> c\nREQ <a> 0\n"), OK, Error(b"E_REQ_FAILED REQ <a> failed client does not own message"), Open,
    ]),
    ("a_negative_delay_is_fatal", &[
        Send(b"SUB <t> c\nREQ 0123456789abcdef -1\n"), OK, Error(b"E_INVALID REQ could not parse timeout -1"), Eof,
    ]),
    ("a_delay_is_digits_only", &[
        Send(b"SUB <t> c\nREQ 0123456789abcdef 1s\xff\n"), OK, Error(b"E_INVALID REQ could not parse timeout 1s\xff"), Eof,
    ]),
    ("it_needs_an_id_and_a_delay", &[
        Send(b"SUB <t> c\nREQ\n"), OK, Error(b"E_INVALID REQ insufficient number of params"), Eof,
        Use(1), Send(b"SUB <t> c\nREQ 0123456789abcdef\n"), OK, Error(b"E_INVALID REQ insufficient number of params"), Eof,
    ]),
    ("the_id_is_looked_at_first", &[Send(b"SUB <t> c\nREQ short -1\n"), OK, Error(b"E_INVALID invalid message ID"), Eof]),
    ("before_sub_it_is_refused", &[Send(b"REQ 0123456789abcdef 0\n"), Error(b"E_INVALID cannot REQ in current state"), Eof]),
    ("it_is_legal_closing", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"CLS\nREQ <a> 0\nREQ <a> 0\n"), Response("CLOSE_WAIT"), FAILS, Open,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 2, b"x"), Open,
    ]),
];
