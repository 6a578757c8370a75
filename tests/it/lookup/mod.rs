//! Discovery by nsqlookupd.

mod rounds;
mod world;
