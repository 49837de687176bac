//! What can be done to servers, on real guests, seen from outside and from inside.

mod full_disk;
mod power;
mod rebuild;
mod rescue;
