//! The rules of Grantlog: pure aggregates, commands and events. No I/O, no clock, no randomness, no SQL, no HTTP.
