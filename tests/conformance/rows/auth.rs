//! AUTH, where it is not enabled.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_is_disabled", &[Send(b"AUTH\n\0\0\0\x06secret"), Error(b"E_AUTH_DISABLED AUTH disabled"), Eof]),
    ("it_has_no_parameters", &[Send(b"AUTH x\n"), Error(b"E_INVALID AUTH invalid number of parameters"), Eof]),
    ("a_trailing_space_is_a_parameter", &[Send(b"AUTH \n"), Error(b"E_INVALID AUTH invalid number of parameters"), Eof]),
    ("an_empty_secret_is_refused", &[Send(b"AUTH\n\0\0\0\0"), Error(b"E_BAD_BODY AUTH invalid body size 0"), Eof]),
    ("a_negative_size_is_refused", &[Send(b"AUTH\n\xff\xff\xff\xfe"), Error(b"E_BAD_BODY AUTH invalid body size -2"), Eof]),
    ("too_long_a_secret_is_refused", &[Send(b"AUTH\n\0\0\x08\x01"), Error(b"E_BAD_BODY AUTH body too big 2049 > 2048"), Eof]),
    ("half_a_size_is_told", &[Send(b"AUTH\n\0\0"), HalfClose, Error(b"E_BAD_BODY AUTH failed to read body size"), Eof]),
    ("half_a_secret_is_told", &[Send(b"AUTH\n\0\0\0\x06sec"), HalfClose, Error(b"E_BAD_BODY AUTH failed to read body"), Eof]),
    ("it_comes_before_sub", &[Send(b"SUB <t> c\nAUTH x\n"), OK, Error(b"E_INVALID cannot AUTH in current state"), Eof]),
    ("it_comes_before_cls", &[
        Send(b"SUB <t> c\nCLS\nAUTH\n\0\0\0\x01x"), OK, Response("CLOSE_WAIT"), Error(b"E_INVALID cannot AUTH in current state"), Eof,
    ]),
];
