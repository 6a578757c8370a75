//! Requests to the HTTP port.

use super::step::{IDENTIFIED, OK, Row, Step::*};

const NOT_FOUND: &str = r#"{"message":"NOT_FOUND"}"#;
const TOPIC_NOT_FOUND: &str = r#"{"message":"TOPIC_NOT_FOUND"}"#;
const MISSING_ARG_TOPIC: &str = r#"{"message":"MISSING_ARG_TOPIC"}"#;
const INVALID_ARG_TOPIC: &str = r#"{"message":"INVALID_ARG_TOPIC"}"#;
const INVALID_REQUEST: &str = r#"{"message":"INVALID_REQUEST"}"#;
const NODE: &str = r#"{"broadcast_address":"h","tcp_port":1,"http_port":2,"version":"v"}"#;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("ping_and_info_are_answered", &[
        Ask("GET /ping HTTP/1.1",
            "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Type: text/plain; charset=utf-8", "OK"),
        Get("/info", 200, r#"{"version":"<v>"}"#),
    ]),
    ("empty_lookupd_lists_nothing", &[
        Get("/topics", 200, r#"{"topics":[]}"#),
        Get("/nodes", 200, r#"{"producers":[]}"#),
        Get("/channels?topic=t", 200, r#"{"channels":[]}"#),
        Get("/lookup?topic=t", 404, TOPIC_NOT_FOUND),
    ]),
    ("lookup_without_a_topic_that_exists_is_404", &[
        Get("/lookup?topic=", 404, TOPIC_NOT_FOUND),
        Get("/lookup?topic=a%20b", 404, TOPIC_NOT_FOUND),
        Get("/lookup?topic=%23ephemeral", 404, TOPIC_NOT_FOUND),
        Get("/lookup?topic=t#ephemeral", 404, TOPIC_NOT_FOUND),
        Get("/lookup", 400, MISSING_ARG_TOPIC),
        Get("/lookup?topics=t", 400, MISSING_ARG_TOPIC),
        Get("/channels", 400, MISSING_ARG_TOPIC),
    ]),
    ("query_that_go_cannot_parse_is_400", &[
        Get("/lookup?topic=%zz", 400, INVALID_REQUEST),
        Get("/lookup?topic=a;b", 400, INVALID_REQUEST),
        Get("/channels?topic=%", 400, INVALID_REQUEST),
        Post("/topic/create?topic=%1", 400, INVALID_REQUEST),
    ]),
    ("path_is_decoded_and_a_plus_is_a_space", &[
        Post("/topic/create?topic=t", 200, ""),
        Get("/l%6fokup?topic=%74", 200, r#"{"channels":[],"producers":[]}"#),
        Get("/lookup?topic=t+", 404, TOPIC_NOT_FOUND),
        Get("/lookup?a=b&topic=t&topic=u", 200, r#"{"channels":[],"producers":[]}"#),
    ]),
    ("created_topics_and_channels_are_listed_without_nsqd", &[
        Post("/topic/create?topic=t", 200, ""),
        Get("/lookup?topic=t", 200, r#"{"channels":[],"producers":[]}"#),
        Post("/channel/create?topic=t&channel=c", 200, ""),
        Get("/lookup?topic=t", 200, r#"{"channels":["c"],"producers":[]}"#),
        Get("/topics", 200, r#"{"topics":["t"]}"#),
        Get("/channels?topic=t", 200, r#"{"channels":["c"]}"#),
        Post("/channel/delete?topic=t&channel=c", 200, ""),
        Get("/channels?topic=t", 200, r#"{"channels":[]}"#),
        Post("/topic/delete?topic=t", 200, ""),
        Get("/lookup?topic=t", 404, TOPIC_NOT_FOUND),
        Post("/channel/create?topic=u%23ephemeral&channel=d", 200, ""),
        Get("/topics", 200, r#"{"topics":["u#ephemeral"]}"#),
    ]),
    ("post_validates_its_parameters", &[
        Post("/topic/create", 400, MISSING_ARG_TOPIC),
        Post("/topic/create?topic=", 400, INVALID_ARG_TOPIC),
        Post("/topic/create?topic=a%20b", 400, INVALID_ARG_TOPIC),
        Post("/topic/delete", 400, MISSING_ARG_TOPIC),
        Post("/topic/delete?topic=a%20b", 200, ""),
        Post("/topic/tombstone", 400, MISSING_ARG_TOPIC),
        Post("/topic/tombstone?topic=t", 400, r#"{"message":"MISSING_ARG_NODE"}"#),
        Post("/topic/tombstone?topic=t&node=h:2", 200, ""),
        Post("/channel/create", 400, MISSING_ARG_TOPIC),
        Post("/channel/create?topic=a%20b", 400, INVALID_ARG_TOPIC),
        Post("/channel/create?topic=t", 400, r#"{"message":"MISSING_ARG_CHANNEL"}"#),
        Post("/channel/create?topic=t&channel=", 400, r#"{"message":"INVALID_ARG_CHANNEL"}"#),
        Post("/channel/delete?topic=t&channel=a%20b", 400,
             r#"{"message":"INVALID_ARG_CHANNEL"}"#),
        Post("/channel/delete?topic=t&channel=c", 404, r#"{"message":"CHANNEL_NOT_FOUND"}"#),
    ]),
    ("node_is_listed_with_its_fields_and_tombstones", &[
        Nsqd(0), Send(b"  V1"),
        Identify(concat!(r#"{"broadcast_address":"h<&>","hostname":"n\u00e9","#,
                         r#""tcp_port":1,"http_port":2,"version":"v"}"#)),
        IDENTIFIED,
        Get("/nodes", 200,
            r#"{"producers":[{<special>,"tombstones":[],"topics":[]}]}"#),
        Send(b"REGISTER t c\n"), OK,
        Get("/lookup?topic=t", 200,
            r#"{"channels":["c"],"producers":[{<special>}]}"#),
        Post("/topic/tombstone?topic=t&node=h%3C%26%3E:2", 200, ""),
        Get("/lookup?topic=t", 200, r#"{"channels":["c"],"producers":[]}"#),
        Get("/nodes", 200,
            r#"{"producers":[{<special>,"tombstones":[true],"topics":["t"]}]}"#),
    ]),
    ("topic_deleted_by_request_is_registered_again_by_nsqd", &[
        Nsqd(0), Send(b"  V1"), Identify(NODE), IDENTIFIED,
        Send(b"REGISTER t c\n"), OK,
        Post("/topic/tombstone?topic=t&node=h:2", 200, ""),
        Post("/topic/delete?topic=t", 200, ""),
        Get("/lookup?topic=t", 404, TOPIC_NOT_FOUND),
        Send(b"PING\n"), OK,
        Get("/lookup?topic=t", 404, TOPIC_NOT_FOUND),
        Send(b"REGISTER t\n"), OK,
        Get("/lookup?topic=t", 200,
            r#"{"channels":[],"producers":[{<node>}]}"#),
    ]),
    ("body_above_2048_bytes_is_one_chunk", &[
        Nsqds(30, "t"),
        Chunked("/lookup?topic=t", "\"broadcast_address\":\"host-29\""),
        Chunked("/nodes", "\"topics\":[\"t\"]"),
    ]),
    ("router_redirects_to_the_clean_path", &[
        Ask("GET //lookup?topic=t&a=b HTTP/1.1",
            "HTTP/1.1 301 Moved Permanently\nContent-Length: 58\n\
             Content-Type: text/html; charset=utf-8\nLocation: /lookup?topic=t&a=b",
            "<a href=\"/lookup?topic=t&amp;a=b\">Moved Permanently</a>.\n\n"),
        Ask("GET /lookup/ HTTP/1.1",
            "HTTP/1.1 301 Moved Permanently\nContent-Length: 42\n\
             Content-Type: text/html; charset=utf-8\nLocation: /lookup",
            "<a href=\"/lookup\">Moved Permanently</a>.\n\n"),
        Ask("GET /a/../LOOKUP HTTP/1.1",
            "HTTP/1.1 301 Moved Permanently\nContent-Length: 42\n\
             Content-Type: text/html; charset=utf-8\nLocation: /lookup",
            "<a href=\"/lookup\">Moved Permanently</a>.\n\n"),
    ]),
    ("unknown_path_is_404", &[
        Get("/", 404, NOT_FOUND),
        Get("/nothing", 404, NOT_FOUND),
        Get("/nothing/", 404, NOT_FOUND),
        Get("/topic", 404, NOT_FOUND),
        Post("/lookup/", 404, NOT_FOUND),
    ]),
    ("other_method_is_405_and_names_the_methods", &[
        Ask("HEAD /lookup?topic=t HTTP/1.1",
            "HTTP/1.1 405 Method Not Allowed\nAllow: GET, OPTIONS\nContent-Length: 32\n\
             Content-Type: application/json; charset=utf-8\nX-Nsq-Content-Type: nsq; version=1.0",
            ""),
        Ask("GET /topic/create HTTP/1.1",
            "HTTP/1.1 405 Method Not Allowed\nAllow: OPTIONS, POST\nContent-Length: 32\n\
             Content-Type: application/json; charset=utf-8\nX-Nsq-Content-Type: nsq; version=1.0",
            r#"{"message":"METHOD_NOT_ALLOWED"}"#),
        Ask("OPTIONS /lookup HTTP/1.1",
            "HTTP/1.1 200 OK\nAllow: GET, OPTIONS\nContent-Length: 0", ""),
        Ask("FOO /nodes HTTP/1.1",
            "HTTP/1.1 405 Method Not Allowed\nAllow: GET, OPTIONS\nContent-Length: 32\n\
             Content-Type: application/json; charset=utf-8\nX-Nsq-Content-Type: nsq; version=1.0",
            r#"{"message":"METHOD_NOT_ALLOWED"}"#),
    ]),
    ("connection_stays_open_until_a_request_closes_it", &[
        RawHttp("GET /lookup?topic=t HTTP/1.1\r\nHost: h\r\n\r\n\
                 POST /topic/create?topic=t HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
                 GET /topics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                "HTTP/1.1 404 Not Found\r\nContent-Type: application/json; charset=utf-8\r\n\
                 X-Nsq-Content-Type: nsq; version=1.0\r\nContent-Length: 29\r\n\r\n\
                 {\"message\":\"TOPIC_NOT_FOUND\"}\
                 HTTP/1.1 200 OK\r\nX-Nsq-Content-Type: nsq; version=1.0\r\n\
                 Content-Length: 0\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\
                 X-Nsq-Content-Type: nsq; version=1.0\r\nContent-Length: 16\r\n\
                 Connection: close\r\n\r\n{\"topics\":[\"t\"]}"),
    ]),
    ("http_1_0_closes_unless_it_asks_to_stay", &[
        Ask("GET /topics HTTP/1.0",
            "HTTP/1.0 200 OK\nContent-Length: 13\nContent-Type: application/json; charset=utf-8\n\
             X-Nsq-Content-Type: nsq; version=1.0", r#"{"topics":[]}"#),
        RawHttp("GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /ping HTTP/1.0\r\n\r\n",
                "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: 2\r\nConnection: keep-alive\r\n\r\nOK\
                 HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: 2\r\n\r\nOK"),
    ]),
    ("invalid_request_is_400_and_ends_the_connection", &[
        RawHttp("GET /ping HTTP/1.1\r\n\r\n",
                "HTTP/1.1 400 Bad Request: missing required Host header\r\n\
                 Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                 400 Bad Request: missing required Host header"),
        RawHttp("GET /ping HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Connection: close\r\n\r\n400 Bad Request"),
        RawHttp("GET /ping HTTP/2.0\r\nHost: h\r\n\r\n",
                "HTTP/1.1 505 HTTP Version Not Supported: unsupported protocol version\r\n\
                 Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                 505 HTTP Version Not Supported: unsupported protocol version"),
        RawHttp("  V2IDENTIFY\n",
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Connection: close\r\n\r\n400 Bad Request"),
    ]),
];
