//! The one list of settings: key, kind, default, limit, unit and meaning.
//!
//! From it come the check of every value, the names in the environment, the names that an unknown key is compared
//! with, and `grantlog.example.toml`. A new setting is one entry here and one field in [`super::Settings`].

/// One setting, as it is written in the file: `section.key`, or `key` for those at the top.
pub struct Setting {
    pub key: &'static str,
    pub kind: Kind,
    /// What it does and why one would change it; sentences, without unit, default and limit (these are added).
    pub doc: &'static str,
}

/// What a setting may hold, its default, and its limit.
pub enum Kind {
    /// Text of at most [`TEXT_BYTES_MAX`] bytes. An empty text means "not set".
    Text { default: &'static str },
    /// `true` or `false`.
    Flag { default: bool },
    /// A whole number from `min` to `max`, in `unit`.
    Number { default: i64, min: i64, max: i64, unit: &'static str },
    /// One of the words in `of`.
    Choice { default: &'static str, of: &'static [&'static str] },
    /// A list of texts, at most `max` of them; empty by default. In the environment they are separated by commas.
    List { max: usize },
}

/// Longest text that a setting takes, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

const fn text(key: &'static str, default: &'static str, doc: &'static str) -> Setting {
    Setting { key, kind: Kind::Text { default }, doc }
}

const fn flag(key: &'static str, doc: &'static str) -> Setting {
    Setting { key, kind: Kind::Flag { default: false }, doc }
}

const fn choice(key: &'static str, of: &'static [&'static str], default: &'static str, doc: &'static str) -> Setting {
    Setting { key, kind: Kind::Choice { default, of }, doc }
}

/// `range` is default, smallest, largest.
const fn number(key: &'static str, range: [i64; 3], unit: &'static str, doc: &'static str) -> Setting {
    Setting { key, kind: Kind::Number { default: range[0], min: range[1], max: range[2], unit }, doc }
}

const DAY: i64 = 86_400;

/// Every setting, in the order of `grantlog.example.toml`: those at the top first, then one section after the other.
pub const SETTINGS: &[Setting] = &[
    text("listen", "127.0.0.1:5000", "Address and port to listen on. Port 0 takes a free one."),
    text(
        "issuer",
        "",
        "The URL under which clients reach this server: scheme, host, port, and a path if everything shall be below one \
         (`https://example.com/auth`; a proxy before it leaves the path as it is). It must be https unless its host is a \
         loopback address. Empty: made from `listen` when that is a loopback address.",
    ),
    text(
        "database",
        "sqlite:grantlog.db",
        "Where the event log lives: `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`. A demo that is told nothing \
         else uses `sqlite:grantlog-demo.db`. For a PostgreSQL on another machine add `?sslmode=verify-full`, and \
         `&sslrootcert=/etc/ssl/db-ca.pem` when its certificate is from an authority of your own: without it whoever is \
         on the way can read and change what goes over the network, and every start says so.",
    ),
    text(
        "pepper_file",
        "",
        "File with the keys under which tokens and secrets are stored (`grantlog pepper`); made at the first start, readable by its owner \
         only. It does not belong into the same backup as the database. Empty: `grantlog.pepper` beside the SQLite \
         file (`grantlog-demo.pepper` beside a `grantlog-demo.db`), or in the working directory for PostgreSQL. \
         GRANTLOG_PEPPER may hold its content instead.",
    ),
    flag(
        "demo",
        "Any user name signs in without a password, and a demo client exists. Refused unless `listen` and `issuer` \
         are loopback addresses, and on a database that was ever served without it; a demo's database is refused without it.",
    ),
    text("tls.cert_file", "", "PEM file with the certificate chain. Set together with `tls.key_file`."),
    text("tls.key_file", "", "PEM file with the private key of the certificate."),
    Setting {
        key: "http.trusted_proxies",
        kind: Kind::List { max: 64 },
        doc: "Addresses or networks (`10.0.0.7`, `10.0.0.0/24`) of the proxies in front, which may end TLS. Only from \
              them is believed who the caller is, and X-Request-Id.",
    },
    choice(
        "http.forwarded_header",
        &["x-forwarded-for", "forwarded"],
        "x-forwarded-for",
        "The header in which the proxies in front write who the caller is: `X-Forwarded-For`, or `Forwarded` (RFC 7239). The \
         other one is not read, because a proxy that does not write it passes on what the caller sent.",
    ),
    number("http.connections", [4096, 1, 65_536], "connections", "Open connections; further ones wait to be accepted."),
    number(
        "http.connections_per_address",
        [512, 1, 65_536],
        "connections",
        "Open connections of one address (of an IPv6 /64) that is no trusted proxy; further ones are closed.",
    ),
    number("http.header_bytes", [16_384, 4096, 262_144], "bytes", "Request line and headers; more is answered 431."),
    number("http.headers", [64, 16, 256], "header lines", "Header lines in a request; more is answered 431."),
    number(
        "http.header_read_timeout_seconds",
        [10, 1, 120],
        "seconds",
        "Time for the headers to arrive, and for an idle connection until it is closed.",
    ),
    number("http.body_bytes", [65_536, 1024, 1_048_576], "bytes", "Request body; more is answered 413."),
    number("http.parameters", [100, 10, 1000], "parameters", "Parameters in a query or a form; more is answered 400."),
    number(
        "http.request_timeout_seconds",
        [30, 1, 300],
        "seconds",
        "Time for one request, its body included; then it is answered 503. A command that was begun is finished.",
    ),
    number(
        "http.stop_timeout_seconds",
        [20, 0, 300],
        "seconds",
        "Time that requests in flight get to finish when the server is asked to stop.",
    ),
    text(
        "operations.listen",
        "",
        "Address and port of a listener of its own, by plain http, for `/metrics` and the checks of `/health/ready`, such as \
         127.0.0.1:5001: who reaches it reads them, and nobody reads them at `listen`, where `/health/ready` says whether and not \
         why. Port 0 takes a free one. Empty: they are at `listen`, for programs on this machine that come through no proxy.",
    ),
    text(
        "operations.token",
        "",
        "Whoever reads `/metrics` and the checks of `/health/ready`, wherever they are, shows this as `Authorization: Bearer`: at \
         least 32 characters, at random. It does not belong into a file that others read; the environment may hold it.",
    ),
    choice(
        "oauth.require_pkce",
        &["public", "all"],
        "public",
        "Which clients must send a code_challenge (RFC 7636): public clients, or all.",
    ),
    number("oauth.code_lifetime_seconds", [60, 1, 600], "seconds", "Life of an authorization code (RFC 6749 4.1.2)."),
    number("oauth.access_token_lifetime_seconds", [3600, 10, DAY], "seconds", "Life of an access token."),
    number(
        "oauth.id_token_lifetime_seconds",
        [3600, 10, DAY],
        "seconds",
        "Life of an ID token (OpenID Connect Core 2). It says who signed in; it opens nothing here.",
    ),
    number(
        "oauth.grant_lifetime_seconds",
        [30 * DAY, 60, 400 * DAY],
        "seconds",
        "Life of a grant from its beginning, however often it is refreshed. Its refresh token ends with it.",
    ),
    number(
        "oauth.refresh_grace_seconds",
        [0, 0, 60],
        "seconds",
        "How long the last refresh token may be shown again by a client that lost the answer. 0: a second use ends \
         the grant.",
    ),
    text(
        "oauth.access_token_audience",
        "",
        "`aud` of access tokens that are JSON Web Tokens (RFC 9068 3): the name under which the APIs know themselves. \
         Empty: the issuer.",
    ),
    choice(
        "oauth.access_token_signing_alg",
        &["RS256", "ES256", "EdDSA", "PS256"],
        "RS256",
        "How access tokens that are JSON Web Tokens are signed. APIs must be able to check RS256 (RFC 9068 2.1); ES256 and \
         EdDSA take less time.",
    ),
    flag("oauth.bearer_in_body", "Also take the access token from a form body (RFC 6750 2.2). Never from the query."),
    flag(
        "oauth.unsigned_id_tokens",
        "Let clients of the code flow register `id_token_signed_response_alg` `none` (OpenID Connect Core 3.1.3.7): their ID \
         tokens are as good as the connection they came over.",
    ),
    Setting {
        key: "oauth.scopes",
        kind: Kind::List { max: 64 },
        doc: "The scopes that exist beside those of OpenID Connect: no other is registered for a client, by an operator neither. \
              The metadata document lists them. Empty: any scope that an operator gives to a client exists.",
    },
    Setting {
        key: "oauth.user_scopes",
        kind: Kind::List { max: 64 },
        doc: "Scopes that are not for every user, as `SCOPE: NAME NAME`: whoever is not named is not given it, whatever \
              client asks, and the answer says what was given (RFC 6749 3.3).",
    },
    number(
        "keys.rotation_seconds",
        [90 * DAY, 0, 400 * DAY],
        "seconds",
        "Age at which a signing key gets a successor. 0: only `grantlog key rotate` makes one.",
    ),
    number(
        "keys.publish_seconds",
        [900, 1, 7 * DAY],
        "seconds",
        "How long a new signing key is published before it signs. Clients may keep the key set for 300 seconds.",
    ),
    number(
        "keys.retired_seconds",
        [30 * DAY, 10, 400 * DAY],
        "seconds",
        "How long a signing key that signs no more is still published, so that what it signed can be verified. Never \
         shorter than the life of an ID token or an access token.",
    ),
    flag(
        "remote.allow_private",
        "Documents of clients (jwks_uri, request_uri, sector_identifier_uri) and back-channel logout may also go to \
         addresses of this machine and of private networks, on this machine also by http. For tests, and for servers whose \
         clients are inside. A demo may ask this machine. Link-local and multicast addresses are never asked.",
    ),
    text(
        "remote.ca_file",
        "",
        "PEM file with certificates of authorities that are believed beside those of the system, when servers of clients are \
         asked: for clients inside, and for tests. Read at the start.",
    ),
    number(
        "remote.timeout_seconds",
        [5, 1, 30],
        "seconds",
        "Time for one question to a client's server: name, connection, TLS and the whole answer. Nothing is redirected.",
    ),
    number("remote.concurrent", [32, 4, 256], "questions", "Questions to clients' servers at once; further ones wait."),
    number(
        "logout.attempts",
        [10, 1, 50],
        "attempts",
        "How often a client is told of the end of a session (Back-Channel Logout) before it is given up.",
    ),
    number(
        "logout.retry_seconds",
        [5, 1, 3600],
        "seconds",
        "Pause after the first failure; each further one is three times as long, up to an hour.",
    ),
    number(
        "logout.window_seconds",
        [DAY, 60, 7 * DAY],
        "seconds",
        "How long after the end of a session clients are told.",
    ),
    choice(
        "clients.made_by",
        &["nobody", "users"],
        "nobody",
        "Who makes clients on the pages: nobody, so that they come from the command line or over HTTP (`registration.mode`), or \
         every user. In a demo users do, unless it is said here.",
    ),
    text(
        "clients.user_scope",
        "openid profile email address phone offline_access",
        "The widest scope of a client that a user makes, separated by blanks. Such a client has no client_credentials, no \
         passwords and no tokens that are JSON Web Tokens.",
    ),
    number("clients.per_user", [20, 1, 10_000], "clients", "That one user has at the same time."),
    number(
        "clients.per_user_hour",
        [20, 1, 100_000],
        "clients",
        "That one user makes or changes in one hour, counted by each node; more is answered 429.",
    ),
    choice(
        "registration.mode",
        &["off", "token", "open"],
        "off",
        "Who may register clients over HTTP (RFC 7591): nobody, who shows one of `registration.initial_access_tokens`, or \
         anybody. In a demo it is open.",
    ),
    Setting {
        key: "registration.initial_access_tokens",
        kind: Kind::List { max: 16 },
        doc: "For `token`: `NAME:TOKEN`, the token with at least 32 characters, at random. The events of a registration have \
              the name. Tokens do not belong into a file that others read; the environment may hold them.",
    },
    text(
        "registration.scope",
        "openid profile email address phone offline_access",
        "The widest scope that a client may have that registers itself, separated by blanks.",
    ),
    text(
        "registration.default_scope",
        "openid profile email",
        "The scope of a client that registers itself and names none (RFC 7591 2), as far as `registration.scope` has it. In a demo \
         all of that, unless it is said here.",
    ),
    number(
        "registration.per_address",
        [20, 1, 100_000],
        "registrations and changes",
        "In one hour from one address (an IPv6 /64), counted by each node; more is answered 429. In a demo 1000, unless it is \
         said here.",
    ),
    number(
        "registration.per_hour",
        [1000, 1, 100_000],
        "registrations and changes",
        "In one hour from all addresses, counted by each node; more is answered 429.",
    ),
    number(
        "registration.unused_days",
        [30, 0, 3650],
        "days",
        "Age at which a client that registered itself, with nobody's token, and never got a grant is deleted. 0: never.",
    ),
    number(
        "registration.clients_max",
        [10_000, 1, 1_000_000],
        "clients",
        "That registered themselves, with nobody's token, and are there at the same time; more is answered 503. Each takes memory: at \
         most about twice `http.body_bytes`.",
    ),
    choice(
        "registration.error_redirects",
        &["ask", "follow"],
        "ask",
        "What happens when the browser of somebody who has not allowed a client anything shall go to it, with an error or after \
         signing out, and no operator vouched for the client: it registered itself, or a user made it. `ask`: a page says where \
         the link leads, and the person goes on or does not. `follow`: they are sent there, as for any other client, so that \
         whoever registers one can make links to this server that lead anywhere (RFC 9700 4.11.2).",
    ),
    choice(
        "consent.operator_changes",
        &["ask", "keep"],
        "ask",
        "What becomes of what users allowed a client when an operator changes what they saw of it: its name, its links, its \
         redirect URIs, how it gets its answer. ask: they are asked again, as they are after every change by the client \
         itself or by the user who made it. keep: of clients that an operator made, only scope and claims are compared.",
    ),
    number("session.lifetime_seconds", [DAY / 2, 60, 30 * DAY], "seconds", "How long a browser stays signed in."),
    Setting {
        key: "session.end_grants",
        kind: Kind::Flag { default: true },
        doc: "With a session ends what was allowed in it with the scope openid and without offline_access (OpenID Connect \
              Back-Channel Logout 2.7): its refresh tokens and access tokens, and the consent, so whoever signs in again is \
              asked again. Otherwise that stands until it expires or is taken back, as everything else does in any case. A \
              session ends when somebody ends it: by signing out, by a new password, by the operator. One that grows too old \
              (`session.lifetime_seconds`) ends nothing, and no client is told.",
    },
    number(
        "sign_in.attempts_per_account",
        [10, 1, 1000],
        "attempts",
        "Failed sign-ins of one account before it is locked for `sign_in.lock_seconds`.",
    ),
    number(
        "sign_in.attempts_per_address",
        [50, 1, 100_000],
        "attempts",
        "Failed sign-ins from one address (an IPv6 /64) before it is locked for `sign_in.lock_seconds`: it hears so (429), \
         and none of its passwords is looked at.",
    ),
    number(
        "sign_in.attempts_per_client",
        [1000, 1, 1_000_000],
        "attempts",
        "Failed sign-ins through one client with the password grant before it is locked for `sign_in.lock_seconds`, from \
         whatever address. A client that has a secret and that an operator answers for asks for all its users from one address, so \
         that is not what counts; such a client should itself bound what one of its callers may try.",
    ),
    number("sign_in.lock_seconds", [900, 1, DAY], "seconds", "Length of a lock, and of the time failures are counted."),
    number(
        "sign_in.concurrent_password_checks",
        [4, 1, 64],
        "checks",
        "Password hashes computed at once; each takes 19 MiB. Further ones wait, at most 256, where addresses take turns: 64 \
         of one address (or client with the password grant), 16 for one account; more is answered 429, or 503 when all \
         together are too many.",
    ),
    choice(
        "events.source_address",
        &["whole", "truncated", "none"],
        "truncated",
        "How much of the caller's address an event keeps: all of it, the network (IPv4 /24, IPv6 /48), or nothing.",
    ),
    number("store.append_queue", [4096, 16, 65_536], "appends", "Appends waiting for the log; more is answered 503."),
    number("store.append_batch", [256, 1, 1000], "appends", "Most appends that are joined into one transaction."),
    number("store.append_lanes", [1, 1, 2], "lanes", "Connections that append at the same time (PostgreSQL)."),
    number("store.connections", [10, 2, 200], "connections", "Connections for reading and for projections."),
    number("store.connect_timeout_seconds", [5, 1, 60], "seconds", "Time to get a connection to the database."),
    number(
        "store.conflict_retries",
        [5, 0, 20],
        "retries",
        "How often a command that lost a race is decided anew before it is answered 503.",
    ),
    number(
        "store.partition_days",
        [7, 1, 92],
        "days",
        "Length of the partitions of the grants' events (PostgreSQL); they are archived one by one. Many partitions make \
         every read of the log dearer, so keep them below a hundred.",
    ),
    number(
        "store.max_staleness_ms",
        [1000, 50, 60_000],
        "milliseconds",
        "How old the state in memory may be; past it, questions go to the database, and are answered 503 without it.",
    ),
    choice("log.format", &["text", "json"], "text", "Lines for people, or one JSON object each."),
    text(
        "log.level",
        "info",
        "`error`, `warn`, `info`, `debug` or `trace`, also per part: `info,grantlog::http=debug` logs every request.",
    ),
];

/// The setting with that key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The name of a setting in the environment: `http.body_bytes` is `GRANTLOG_HTTP_BODY_BYTES`.
pub fn environment_name(key: &str) -> String {
    format!("GRANTLOG_{}", key.replace('.', "_").to_uppercase())
}
