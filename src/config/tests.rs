//! A configuration in hand is valid.
