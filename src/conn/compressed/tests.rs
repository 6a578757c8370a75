//! What the layers above may rely on, over a pipe in memory.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

/// Each method.
fn methods() -> Vec<Method> {
    vec![Method::Snappy, Method::Deflate(6)]
}

#[tokio::test]
async fn what_is_written_and_flushed_is_read_on_the_other_side() {
    for method in methods() {
        let (near, far) = duplex(64);
        let (mut near, mut far) = (Compressed::new(near, method), Compressed::new(far, method));
        let body: Vec<u8> = (0..200_000_u32)
            .map(|i| (i.wrapping_mul(i) >> 5) as u8)
            .collect();
        let write = async {
            near.write_all(&body).await.unwrap();
            near.flush().await.unwrap();
            let mut answer = [0; 2];
            near.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"OK");
        };
        let read = async {
            let mut came = vec![0; body.len()];
            far.read_exact(&mut came).await.unwrap();
            assert!(came == body, "{method:?}");
            far.write_all(b"OK").await.unwrap();
            far.flush().await.unwrap();
        };
        tokio::join!(write, read);
    }
}
