//! The answers of Grantlog: read models folded from the event log, and the engine that keeps them.
