//! The text of a connection that failed.

use std::error::Error;

/// Returns the text of the error with the address, which it may have already.
pub(crate) fn failure(address: &str, error: &dyn Error) -> String {
    let text = error.to_string();
    if text.contains(address) {
        text
    } else {
        format!("{address}: {text}")
    }
}
