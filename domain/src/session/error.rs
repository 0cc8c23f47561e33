//! Why a session refuses.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("the session exists already")]
    AlreadyExists,
    #[error("there is no such session")]
    NotFound,
    #[error("the session has ended")]
    Ended,
    #[error("the session has expired")]
    Expired,
    #[error("the session belongs to another user")]
    WrongUser,
}
