//! What was written is what is read.

use bytes::BytesMut;

use super::{decode_all, methods};

#[test]
fn each_flush_makes_all_that_was_written_readable() {
    for method in methods() {
        let (mut encoder, mut decoder) = (method.encoder(), method.decoder());
        let mut wire = BytesMut::new();
        for text in ["a first message", "", "a second one", "a second one"] {
            encoder.write(text.as_bytes(), &mut wire);
            encoder.flush(&mut wire);
            let plain = decode_all(&mut decoder, &mut wire, 1024).unwrap();
            assert_eq!(plain, text.as_bytes(), "{method:?}");
            assert!(wire.is_empty(), "{method:?}");
        }
    }
}
