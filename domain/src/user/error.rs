//! Why a user refuses.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("the user exists already")]
    AlreadyExists,
    #[error("there is no such user")]
    NotFound,
    #[error("the user is erased")]
    Erased,
}
