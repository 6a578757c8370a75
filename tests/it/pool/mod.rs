//! The contract of a pool, line by line, against scripted nsqds.

mod end;
mod membership;
mod moved;
mod slow;
mod strategies;
