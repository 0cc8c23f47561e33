//! A value that cannot be printed or serialized, and is wiped when dropped.

use std::fmt;

use zeroize::Zeroize;

/// Holds a secret. Has no `Display` and no `Serialize`; `Debug` says only that it is there. What is taken out with
/// [`Secret::expose`] is easy to find in a review.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a secret in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The secret itself: to be sent to its owner or fed to a cryptographic function, nothing else.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_hold_the_secret() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2".to_owned()))), "Some(Secret(..))");
    }
}
