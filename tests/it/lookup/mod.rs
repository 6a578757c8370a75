//! Discovery by nsqlookupd.

mod consumer;
mod errors;
mod https;
mod requests;
mod rounds;
mod world;
