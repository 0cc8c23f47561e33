//! The vault: what may not stand in the log. Passwords, personal data, private keys, and the counting of failed sign-ins.
//! Mutable rows, sealed; erasing a user destroys the key that everything of theirs is sealed with.
