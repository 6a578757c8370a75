//! Frames that nsqd sends: `[u32 size of the rest][u32 type][payload]`.

const RESPONSE: u32 = 0;
const ERROR: u32 = 1;
const MESSAGE: u32 = 2;

/// The response `OK`, as a whole frame.
pub(super) const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";
/// A heartbeat, as a whole frame.
pub(super) const HEARTBEAT: &[u8] = b"\0\0\0\x0f\0\0\0\0_heartbeat_";

/// Appends a response frame.
pub(super) fn response(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, RESPONSE, &[payload]);
}

/// Appends an error frame.
pub(super) fn error(out: &mut Vec<u8>, text: &[u8]) {
    frame(out, ERROR, &[text]);
}

/// Appends a message frame; its payload is `[i64 timestamp][u16 attempts][16 bytes id][body]`.
pub(super) fn message(out: &mut Vec<u8>, timestamp: i64, attempts: u16, id: u64, body: &[u8]) {
    frame(
        out,
        MESSAGE,
        &[
            &timestamp.to_be_bytes(),
            &attempts.to_be_bytes(),
            format!("{id:016x}").as_bytes(),
            body,
        ],
    );
}

fn frame(out: &mut Vec<u8>, kind: u32, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let size = u32::try_from(length + 4).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    for part in payload {
        out.extend_from_slice(part);
    }
}
