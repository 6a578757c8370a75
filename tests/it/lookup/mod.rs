//! Discovery by nsqlookupd.

mod consumer;
mod errors;
mod https;
mod pool;
mod requests;
mod rounds;
mod world;
