//! What can be asked of a user.

use crate::Timestamp;

#[derive(Clone, Debug)]
pub enum UserCommand {
    Register { at: Timestamp },
    ChangeProfile { fields: Vec<String>, at: Timestamp },
    ChangeCredential { at: Timestamp },
    Disable { at: Timestamp },
    Enable { at: Timestamp },
    Erase { at: Timestamp },
}
