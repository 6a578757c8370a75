//! What the transaction queue promises.
