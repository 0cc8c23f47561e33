//! Where, and to whom, the server says how it is.

use super::layers::{ConfigError, Values};
use super::registration::bearer_token;
use super::{OperationsSettings, parsed, text};
use crate::secrets::Secret;

const LISTEN: &str = "operations.listen";
const TOKEN: &str = "operations.token";

pub(super) fn read(values: &Values) -> Result<OperationsSettings, ConfigError> {
    let listen = match text(values, LISTEN) {
        "" => None,
        _ => Some(parsed(values, LISTEN, "an address and a port, such as 127.0.0.1:5001")?),
    };
    let token = match text(values, TOKEN) {
        "" => None,
        token => Some(Secret::new(bearer_token(token).map_err(|why| values.refuse(TOKEN, why))?.to_owned())),
    };
    Ok(OperationsSettings { listen, token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_listener_and_a_token_are_what_they_must_be() {
        let settings = |flags: &[(&str, &str)]| Settings::with(flags).map(|settings| settings.operations);
        let none = settings(&[]).unwrap();
        assert!(none.listen.is_none() && none.token.is_none());
        let both = settings(&[(LISTEN, "127.0.0.1:9000"), (TOKEN, "0123456789abcdef0123456789abcdef")]).unwrap();
        assert!(both.listen.is_some() && both.token.is_some());
        assert!(!format!("{both:?}").contains("0123456789"));
        for (key, wrong) in
            [(LISTEN, "9000"), (LISTEN, "localhost"), (TOKEN, "short"), (TOKEN, "0123456789abcdef 0123456789abcdef")]
        {
            let refused = settings(&[(key, wrong)]).unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
            assert!(key == LISTEN || !refused.contains(wrong), "{refused}");
        }
    }
}
