//! What can be done to servers, on real guests.

mod power;
