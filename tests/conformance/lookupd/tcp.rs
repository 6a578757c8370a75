//! What nsqds send to the TCP port.

use super::step::{IDENTIFIED, OK, Row, Step::*};

const NODE: &str = r#"{"broadcast_address":"h","tcp_port":1,"http_port":2,"version":"v"}"#;
const NO_JSON: &str = "E_BAD_BODY IDENTIFY failed to decode JSON body";
const MISSING: &str = "E_BAD_BODY IDENTIFY missing fields";

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("other_protocol_is_rejected", &[
        Nsqd(0), Send(b"  V2"), Reply("E_BAD_PROTOCOL"), Eof,
        Nsqd(1), Send(b"GET /lookup?topic=t HTTP/1.1\r\n\r\n"), Reply("E_BAD_PROTOCOL"), Reset,
        Nsqd(2), Send(b"  V"), HalfClose, Eof,
    ]),
    ("ping_is_answered_before_identify", &[
        Nsqd(0), Send(b"  V1PING\n"), OK,
        Send(b"PING with parameters\n"), OK,
        Send(b" PING \r\n"), OK,
        Get("/nodes", 200, r#"{"producers":[]}"#),
    ]),
    ("command_before_identify_ends_the_connection", &[
        Nsqd(0), Send(b"  V1REGISTER t\n"), Reply("E_INVALID client must IDENTIFY"), Eof,
        Nsqd(1), Send(b"  V1UNREGISTER\n"), Reply("E_INVALID client must IDENTIFY"), Eof,
    ]),
    ("unknown_command_ends_the_connection", &[
        Nsqd(0), Send(b"  V1\n"), Reply("E_INVALID invalid command "), Eof,
        Nsqd(1), Send(b"  V1ping\n"), Reply("E_INVALID invalid command ping"), Eof,
        Nsqd(2), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"NO t\nPING\n"), Reply("E_INVALID invalid command NO"), Eof,
        Becomes("/nodes", 200, r#"{"producers":[]}"#),
    ]),
    ("second_identify_ends_the_connection", &[
        Nsqd(0), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"IDENTIFY\n"), Reply("E_INVALID cannot IDENTIFY again"), Eof,
    ]),
    ("identify_needs_json_with_all_fields", &[
        Nsqd(0), Send(b"  V1"), Identify(""), Reply(NO_JSON), Eof,
        Nsqd(1), Send(b"  V1"), Identify("{"), Reply(NO_JSON), Eof,
        Nsqd(2), Send(b"  V1"), Identify("[]"), Reply(NO_JSON), Eof,
        Nsqd(3), Send(b"  V1"), Identify("{}x"), Reply(NO_JSON), Eof,
        Nsqd(4), Send(b"  V1"), Identify("null"), Reply(MISSING), Eof,
        Nsqd(5), Send(b"  V1"), Identify("{}"), Reply(MISSING), Eof,
        Nsqd(6), Send(b"  V1"),
        Identify(r#"{"broadcast_address":"h","tcp_port":1,"http_port":0,"version":"v"}"#),
        Reply(MISSING), Eof,
        Nsqd(7), Send(b"  V1"),
        Identify(r#"{"broadcast_address":null,"tcp_port":1,"http_port":2,"version":"v"}"#),
        Reply(MISSING), Eof,
        Nsqd(8), Send(b"  V1"),
        Identify(r#"{"broadcast_address":"h","tcp_port":"1","http_port":2,"version":"v"}"#),
        Reply(NO_JSON), Eof,
        Nsqd(9), Send(b"  V1"),
        Identify(r#"{"broadcast_address":"h","tcp_port":1.5,"http_port":2,"version":"v"}"#),
        Reply(NO_JSON), Eof,
    ]),
    ("identify_validates_neither_ports_nor_addresses", &[
        Nsqd(0), Send(b"  V1"),
        Identify(concat!(r#"{"Broadcast_Address":"a b\n","tcp_port":70000,"http_port":-2,"#,
                         r#""VERSION":"v","x":{}} "#)),
        IDENTIFIED,
        Get("/nodes", 200, concat!(
            r#"{"producers":[{"remote_address":"<peer>","hostname":"","#,
            r#""broadcast_address":"a b\n","tcp_port":70000,"http_port":-2,"version":"v","#,
            r#""tombstones":[],"topics":[]}]}"#)),
    ]),
    ("incomplete_identify_is_answered_at_the_end", &[
        Nsqd(0), Send(b"  V1IDENTIFY\n\0\0\0\x05{}"), HalfClose,
        Reply("E_BAD_BODY IDENTIFY failed to read body"), Eof,
        Nsqd(1), Send(b"  V1IDENTIFY\n\0\0"), HalfClose,
        Reply("E_BAD_BODY IDENTIFY failed to read body size"), Eof,
        Nsqd(2), Send(b"  V1PIN"), HalfClose, Eof,
    ]),
    ("names_of_topics_and_channels_are_validated", &[
        Nsqd(0), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"REGISTER\n"), Reply("E_INVALID REGISTER insufficient number of params"), Eof,
        Nsqd(1), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"UNREGISTER \n"), Reply("E_INVALID UNREGISTER insufficient number of params"), Eof,
        Nsqd(2), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"REGISTER a!b\n"), Reply("E_BAD_TOPIC REGISTER topic name 'a!b' is not valid"), Eof,
        Nsqd(3), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"REGISTER  t\n"), Reply("E_BAD_TOPIC REGISTER topic name '' is not valid"), Eof,
        Nsqd(4), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"UNREGISTER t a!b\n"),
        Reply("E_BAD_CHANNEL UNREGISTER channel name 'a!b' is not valid"), Eof,
        Becomes("/topics", 200, r#"{"topics":[]}"#),
    ]),
    ("pipelined_commands_are_answered_in_order", &[
        Nsqd(0), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"REGISTER t c more\nREGISTER u  d\nPING\nUNREGISTER t\n"), OK, OK, OK, OK,
        Get("/channels?topic=t", 200, r#"{"channels":["c"]}"#),
        Get("/channels?topic=u", 200, r#"{"channels":[]}"#),
        Get("/lookup?topic=t", 200, r#"{"channels":["c"],"producers":[]}"#),
    ]),
    ("unregister_removes_only_ephemeral_names", &[
        Nsqd(0), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"REGISTER t c\nREGISTER t d#ephemeral\nREGISTER u#ephemeral\n"), OK, OK, OK,
        Send(b"UNREGISTER t c\nUNREGISTER t d#ephemeral\nUNREGISTER u#ephemeral\n"), OK, OK, OK,
        Get("/channels?topic=t", 200, r#"{"channels":["c"]}"#),
        Get("/topics", 200, r#"{"topics":["t"]}"#),
        Send(b"UNREGISTER unknown\nUNREGISTER t unknown\n"), OK, OK,
        Get("/topics", 200, r#"{"topics":["t"]}"#),
    ]),
    ("ephemeral_name_stays_while_another_nsqd_has_it", &[
        Nsqd(0), Send(b"  V1"), Identify(NODE), IDENTIFIED, Send(b"REGISTER t#ephemeral\n"), OK,
        Nsqd(1), Send(b"  V1"), Identify(NODE), IDENTIFIED, Send(b"REGISTER t#ephemeral\n"), OK,
        Send(b"UNREGISTER t#ephemeral\n"), OK,
        Get("/topics", 200, r#"{"topics":["t#ephemeral"]}"#),
        Nsqd(0), Send(b"UNREGISTER t#ephemeral\n"), OK,
        Get("/topics", 200, r#"{"topics":[]}"#),
    ]),
    ("end_of_a_connection_removes_the_nsqd_and_keeps_names", &[
        Nsqd(0), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"REGISTER t c\nREGISTER t#ephemeral d\n"), OK, OK,
        Close,
        Becomes("/nodes", 200, r#"{"producers":[]}"#),
        Get("/lookup?topic=t", 200, r#"{"channels":["c"],"producers":[]}"#),
        Get("/lookup?topic=t%23ephemeral", 200, r#"{"channels":["d"],"producers":[]}"#),
    ]),
];
