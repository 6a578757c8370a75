//! The magic, lines, unknown commands, and what stands behind a refusal.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("the_magic_may_come_in_pieces", &[Silent(0), Send(b" "), Send(b" V"), Send(b"2"), Open]),
    ("the_magic_and_a_command_may_come_together", &[
        Silent(0), Send(b"  V2PUB <t>\n\0\0\0\x01x"), Bytes(b"\0\0\0\x06\0\0\0\0OK"), Open,
    ]),
    ("another_version_is_refused", &[Silent(0), Send(b"  V1"), Bytes(b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL"), Eof]),
    ("the_magic_is_in_upper_case", &[Silent(0), Send(b"  v2"), Error(b"E_BAD_PROTOCOL"), Eof]),
    ("http_is_refused_at_its_fourth_byte", &[
        Silent(0), Send(b"GET / HTTP/1.1\r\n\r\n"), Error(b"E_BAD_PROTOCOL"), Reset,
    ]),
    ("half_a_magic_gets_no_answer", &[Silent(0), Send(b"  V"), HalfClose, Eof]),
    ("nothing_gets_no_answer", &[Silent(0), HalfClose, Eof]),
    ("nothing_behind_the_magic_gets_no_answer", &[HalfClose, Eof]),
    ("an_empty_line_is_an_invalid_command", &[Send(b"\n"), Error(b"E_INVALID invalid command "), Eof]),
    ("a_bare_return_is_an_empty_line", &[Send(b"\r\n"), Error(b"E_INVALID invalid command "), Eof]),
    ("an_unknown_command_is_refused", &[Send(b"PUSH <t>\n"), Error(b"E_INVALID invalid command PUSH"), Eof]),
    ("commands_are_in_upper_case", &[Send(b"pub <t>\n"), Error(b"E_INVALID invalid command pub"), Eof]),
    ("a_leading_space_makes_the_command_empty", &[Send(b" NOP\n"), Error(b"E_INVALID invalid command "), Eof]),
    ("a_tab_does_not_end_a_command", &[Send(b"NOP\tx\n"), Error(b"E_INVALID invalid command NOP\tx"), Eof]),
    ("a_command_is_repeated_as_it_came", &[
        Send(b"\xff\x00\xc3 x\n"), Error(b"E_INVALID invalid command \xff\x00\xc3"), Eof,
    ]),
    ("only_one_return_belongs_to_the_line_end", &[Send(b"NOP\r\r\n"), Error(b"E_INVALID invalid command NOP\r"), Eof]),
    ("half_a_line_gets_no_answer", &[Send(b"PUB <t>"), HalfClose, Eof]),
    ("a_line_may_be_16_kib_long", &[Fill(b"NOP ", b'x', 16 * 1024 - 5, b"\n"), Open]),
    ("a_longer_line_is_cut_off_without_a_word", &[Fill(b"NOP ", b'x', 16 * 1024 - 4, b"\n"), Reset]),
    ("16_kib_without_an_end_are_cut_off_without_a_word", &[Fill(b"", b'x', 16 * 1024, b""), Eof]),
    ("commands_in_one_write_are_answered_in_order", &[
        Send(b"NOP\nPUB <t>\n\0\0\0\x011NOP\nMPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x012PUB $\n\0\0\0\x013"),
        OK, OK, Error(br#"E_BAD_TOPIC PUB topic name "$" is not valid"#), Eof,
    ]),
    ("a_command_may_come_in_pieces", &[Send(b"PU"), Send(b"B <t>\n\0"), Send(b"\0\0\x02x"), Send(b"y"), OK, Open]),
    ("what_stands_behind_a_refusal_is_not_executed", &[
        Send(b"PUB <t>\n\0\0\0\x011PUB <t>\n\0\0\0\0PUB <t>\n\0\0\0\x013"),
        OK, Error(b"E_BAD_MESSAGE PUB invalid message body size 0"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x014"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"4"), Open,
    ]),
    ("much_behind_a_refusal_makes_it_a_reset", &[
        Fill(b"PUB $\n", b'x', 50_000, b""), Error(br#"E_BAD_TOPIC PUB topic name "$" is not valid"#), Reset,
    ]),
    ("what_a_closed_connection_had_in_flight_comes_again_when_it_has_timed_out", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), HalfClose, Eof,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 2, b"x"), Open,
    ]),
];
