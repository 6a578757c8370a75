//! Discovery by nsqlookupd.

mod consumer;
mod errors;
mod requests;
mod rounds;
mod world;
