//! The list.

use grantlog_domain::client::{AccessTokenFormat, JwsAlgorithm, SubjectType};
use grantlog_domain::signing_key::Algorithm;

use super::{Field, Kind};

/// `names`: on the wire and as a flag.
const fn field(names: [&'static str; 2], kind: Kind, title: &'static str, hint: &'static str) -> Field {
    Field { name: names[0], flag: names[1], kind, title, hint }
}

/// What this server signs with.
const OWN: Kind = Kind::Choice(|| Algorithm::ALL.iter().map(|alg| alg.as_str()).collect());
/// The same, or nothing.
const OWN_OR_NONE: Kind = Kind::Choice(|| {
    let signed = Algorithm::ALL.iter().map(|alg| alg.as_str());
    signed.chain([JwsAlgorithm::None.as_str()]).collect()
});
/// What clients sign with.
const CLIENTS: Kind = Kind::Choice(|| JwsAlgorithm::ALL.iter().map(|alg| alg.as_str()).collect());
const SUBJECTS: Kind = Kind::Choice(|| SubjectType::ALL.iter().map(|kind| kind.as_str()).collect());
const FORMATS: Kind = Kind::Choice(|| AccessTokenFormat::ALL.iter().map(|format| format.as_str()).collect());

/// Every field beyond those that each client has, in the order of the form.
pub const FIELDS: &[Field] = &[
    field(
        ["logo_uri", "logo-uri"],
        Kind::Text,
        "Logo",
        "Address of an image that people see when they are asked; their browser loads it, over https only.",
    ),
    field(["policy_uri", "policy-uri"], Kind::Text, "Privacy policy", "People find a link to it when they are asked."),
    field(["tos_uri", "tos-uri"], Kind::Text, "Terms of service", "People find a link to them when they are asked."),
    field(
        ["contacts", "contact"],
        Kind::Texts,
        "Contacts",
        "How to reach the people behind the client, such as e-mail addresses.",
    ),
    field(["software_id", "software-id"], Kind::Text, "Software id", "The same for every copy of the software."),
    field(["software_version", "software-version"], Kind::Text, "Software version", "Of this copy."),
    field(
        ["initiate_login_uri", "initiate-login-uri"],
        Kind::Text,
        "Start of a login",
        "Where others send people who shall sign in to the client (OpenID Connect Core 4).",
    ),
    field(
        ["post_logout_redirect_uris", "post-logout-redirect-uri"],
        Kind::Texts,
        "After signing out",
        "Where browsers may go after signing out; exact.",
    ),
    field(
        ["frontchannel_logout_uri", "frontchannel-logout-uri"],
        Kind::Text,
        "Front-channel logout",
        "Loaded in a frame when a session ends; at the origin of a redirect URI.",
    ),
    field(
        ["frontchannel_logout_session_required", "frontchannel-logout-session-required"],
        Kind::Flag,
        "Front-channel logout with the session",
        "It is told iss and sid.",
    ),
    field(
        ["backchannel_logout_uri", "backchannel-logout-uri"],
        Kind::Text,
        "Back-channel logout",
        "Gets a logout token when a session ends.",
    ),
    field(
        ["backchannel_logout_session_required", "backchannel-logout-session-required"],
        Kind::Flag,
        "Back-channel logout with the session",
        "The logout token has a sid.",
    ),
    field(
        ["default_max_age", "default-max-age"],
        Kind::Number,
        "Longest since signing in",
        "In seconds; after it people sign in again.",
    ),
    field(
        ["require_auth_time", "require-auth-time"],
        Kind::Flag,
        "Time of signing in",
        "ID tokens have it in any case.",
    ),
    field(
        ["default_acr_values", "default-acr-value"],
        Kind::Texts,
        "Kinds of signing in",
        "Values of acr, the best first.",
    ),
    field(
        ["subject_type", "subject-type"],
        SUBJECTS,
        "Subject type",
        "pairwise: people have another identifier at every sector.",
    ),
    field(
        ["sector_identifier_uri", "sector-identifier-uri"],
        Kind::Text,
        "Sector",
        "A JSON list of the redirect URIs of all clients that shall know people by the same identifier.",
    ),
    field(
        ["id_token_signed_response_alg", "id-token-signed-response-alg"],
        OWN_OR_NONE,
        "ID tokens",
        "How they are signed; RS256 when it is not said. none only where a setting allows it.",
    ),
    field(
        ["userinfo_signed_response_alg", "userinfo-signed-response-alg"],
        OWN,
        "UserInfo",
        "How it is signed; plain JSON when it is not said.",
    ),
    field(
        ["access_token_format", "access-token-format"],
        FORMATS,
        "Access tokens",
        "opaque, or JSON Web Tokens that an API can read (jwt).",
    ),
    field(["jwks", "jwks"], Kind::Object, "Public keys", "The client's JSON Web Key Set."),
    field(["jwks_uri", "jwks-uri"], Kind::Text, "Address of the public keys", "Instead of the keys themselves."),
    field(
        ["token_endpoint_auth_signing_alg", "token-endpoint-auth-signing-alg"],
        CLIENTS,
        "Client assertions",
        "How the client signs them; any that fits its method when it is not said.",
    ),
    field(
        ["request_object_signing_alg", "request-object-signing-alg"],
        CLIENTS,
        "Request objects",
        "How the client signs them; any but none when it is not said.",
    ),
    field(
        ["request_uris", "request-uri"],
        Kind::Texts,
        "Addresses of request objects",
        "Those that may be fetched from the client.",
    ),
];
