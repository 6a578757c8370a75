//! The magic, command lines, unknown commands, and commands behind a rejected one.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("magic_may_arrive_in_pieces", &[Silent(0), Send(b" "), Send(b" V"), Send(b"2"), Open]),
    ("magic_and_command_may_arrive_together", &[
        Silent(0), Send(b"  V2PUB <t>\n\0\0\0\x01x"), Bytes(b"\0\0\0\x06\0\0\0\0OK"), Open,
    ]),
    ("other_protocol_version_is_rejected", &[
        Silent(0), Send(b"  V1"), Bytes(b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL"), Eof,
    ]),
    ("lower_case_magic_is_rejected", &[Silent(0), Send(b"  v2"), Error(b"E_BAD_PROTOCOL"), Eof]),
    ("http_is_rejected_after_four_bytes", &[
        Silent(0), Send(b"GET / HTTP/1.1\r\n\r\n"), Error(b"E_BAD_PROTOCOL"), Reset,
    ]),
    ("incomplete_magic_gets_no_response", &[Silent(0), Send(b"  V"), HalfClose, Eof]),
    ("empty_connection_gets_no_response", &[Silent(0), HalfClose, Eof]),
    ("magic_alone_gets_no_response", &[HalfClose, Eof]),
    ("empty_line_is_an_invalid_command", &[Send(b"\n"), Error(b"E_INVALID invalid command "), Eof]),
    ("carriage_return_alone_is_an_empty_line", &[
        Send(b"\r\n"), Error(b"E_INVALID invalid command "), Eof,
    ]),
    ("unknown_command_is_rejected", &[
        Send(b"PUSH <t>\n"), Error(b"E_INVALID invalid command PUSH"), Eof,
    ]),
    ("lower_case_command_is_rejected", &[
        Send(b"pub <t>\n"), Error(b"E_INVALID invalid command pub"), Eof,
    ]),
    ("leading_space_makes_the_command_empty", &[
        Send(b" NOP\n"), Error(b"E_INVALID invalid command "), Eof,
    ]),
    ("tab_does_not_end_a_command", &[
        Send(b"NOP\tx\n"), Error(b"E_INVALID invalid command NOP\tx"), Eof,
    ]),
    ("unknown_command_is_repeated_unchanged", &[
        Send(b"\xff\x00\xc3 x\n"), Error(b"E_INVALID invalid command \xff\x00\xc3"), Eof,
    ]),
    ("only_one_carriage_return_is_stripped", &[
        Send(b"NOP\r\r\n"), Error(b"E_INVALID invalid command NOP\r"), Eof,
    ]),
    ("incomplete_line_gets_no_response", &[Send(b"PUB <t>"), HalfClose, Eof]),
    ("line_of_16_kib_is_accepted", &[Fill(b"NOP ", b'x', 16 * 1024 - 5, b"\n"), Open]),
    ("longer_line_resets_the_connection", &[Fill(b"NOP ", b'x', 16 * 1024 - 4, b"\n"), Reset]),
    ("line_of_16_kib_without_line_feed_closes_the_connection", &[
        Fill(b"", b'x', 16 * 1024, b""), Eof,
    ]),
    ("commands_in_one_write_are_answered_in_order", &[
        Send(b"NOP\nPUB <t>\n\0\0\0\x011NOP\nMPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x012PUB $\n\
            \0\0\0\x013"),
        OK, OK, Error(br#"E_BAD_TOPIC PUB topic name "$" is not valid"#), Eof,
    ]),
    ("command_may_arrive_in_pieces", &[
        Send(b"PU"), Send(b"B <t>\n\0"), Send(b"\0\0\x02x"), Send(b"y"), OK, Open,
    ]),
    ("commands_behind_a_rejected_one_are_not_executed", &[
        Send(b"PUB <t>\n\0\0\0\x011PUB <t>\n\0\0\0\0PUB <t>\n\0\0\0\x013"), OK,
        Error(b"E_BAD_MESSAGE PUB invalid message body size 0"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x014"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK,
        Message('a', 1, b"1"), Message('b', 1, b"4"), Open,
    ]),
    ("many_bytes_behind_a_rejected_command_cause_a_reset", &[
        Fill(b"PUB $\n", b'x', 50_000, b""),
        Error(br#"E_BAD_TOPIC PUB topic name "$" is not valid"#), Reset,
    ]),
    ("messages_of_a_closed_connection_time_out", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), HalfClose, Eof,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 2, b"x"), Open,
    ]),
];
