//! The limit of open files (`ulimit -n`): every connection is one, and past it the database cannot be opened either.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the connections: database, log, listening socket, certificates, and room for what libraries open.
const OTHER_FILES: u64 = 256;

/// Raises this process's limit to what `connections` need, as far as the system allows. Warns when that is not enough.
pub fn allow(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    // None: without limit.
    let Some(current) = limit.current.filter(|current| *current < needed) else { return };
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed)).max(current);
    let done = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    let available = if done.is_ok() { raised } else { current };
    if available < needed {
        tracing::warn!(
            available,
            needed,
            "too few open files are allowed for http.connections: raise the limit (ulimit -n) or lower the setting"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_never_lowered() {
        let before = getrlimit(Resource::Nofile).current;
        allow(1);
        assert_eq!(getrlimit(Resource::Nofile).current, before);
    }
}
