//! Tests of the rounds.
