//! Hostile values for everything public: a typed error of one line that names what is wrong, nothing of it on the wire, and
//! nobody else is touched.

mod environment;
mod options;

use actix_nsq::ProducerHandle;

use crate::harness::{Network, in_virtual_time, publish, s};
use crate::support::spoken::ok_frame;

/// What an error says, whatever it is about: one line, not too long for a log, and nothing that could disguise it.
#[track_caller]
pub(crate) fn one_short_line(error: &dyn std::error::Error) -> String {
    for text in [error.to_string(), format!("{error:?}")] {
        // The longest is that of an unknown option, which names all that are known.
        assert!(text.len() < 1_200, "{} bytes: {text:.300}", text.len());
        let plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}');
        assert!(text.chars().all(plain), "{text:?}");
    }
    error.to_string()
}

/// Does hostile things to a producer between two good publishes. These are answered and are the peer's to read, byte by byte;
/// so nothing else is on the wire, and the peer would have seen it.
pub(crate) fn touches_nobody(hostile: impl AsyncFnOnce(&ProducerHandle)) {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config);
        let producer = handle.address();
        let mut nsqd = network.connected().await;
        let greeted = nsqd.script().received().len();
        let before = publish(producer, "before");
        hostile(&handle).await;
        let after = publish(producer, "after");
        nsqd.expect_pub("t", "before").await;
        nsqd.expect_pub("t", "after").await;
        nsqd.send(ok_frame().repeat(2)).await;
        before.await.unwrap();
        after.await.unwrap();
        nsqd.expect_silence(s(1)).await;
        assert_eq!(
            nsqd.script().received()[greeted..],
            b"PUB t\n\0\0\0\x06beforePUB t\n\0\0\0\x05after"[..]
        );
        network.expect_no_dial(s(1)).await;
    });
}
