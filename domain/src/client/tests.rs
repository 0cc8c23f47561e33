//! The rules of a client, as given / when / then.

use cqrs_es::test::TestFramework;
use uuid::Uuid;

use super::*;
use crate::{ClientId, RedirectUri, Scope, Timestamp, UserId};

const AT: Timestamp = Timestamp(1_000_000);

fn secret(byte: u8) -> SecretHash {
    SecretHash { pepper: 1, digest: [byte; 32] }
}

fn metadata() -> ClientMetadata {
    ClientMetadata {
        client_name: "App".to_owned(),
        client_uri: None,
        redirect_uris: vec![RedirectUri::register("https://app.example/cb", false).unwrap()],
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        response_types: vec![ResponseType::Code],
        scope: Scope::parse("profile").unwrap(),
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    }
}

fn public() -> ClientMetadata {
    ClientMetadata { token_endpoint_auth_method: TokenEndpointAuthMethod::None, ..metadata() }
}

fn registered() -> Vec<ClientEvent> {
    vec![ClientEvent::Registered {
        metadata: metadata(),
        secret: Some(secret(1)),
        owner: None,
        registration_access_token: None,
        by: Some(Author::Operator),
        at: AT,
    }]
}

fn register(metadata: ClientMetadata, secret: Option<SecretHash>) -> Result<Vec<ClientEvent>, ClientError> {
    TestFramework::<Client>::with(())
        .given_no_previous_events()
        .when(ClientCommand::Register {
            metadata,
            secret,
            owner: None,
            registration_access_token: None,
            widest: None,
            by: Author::Operator,
            at: AT,
        })
        .inspect_result()
}

fn given(events: Vec<ClientEvent>) -> cqrs_es::test::AggregateTestExecutor<Client> {
    TestFramework::with(()).given(events)
}

fn folded(events: Vec<ClientEvent>) -> Client {
    let mut client = Client::default();
    events.into_iter().for_each(|event| client.remember(event));
    client
}

#[test]
fn a_client_registers_once() {
    assert_eq!(register(metadata(), Some(secret(1))), Ok(registered()));
    given(registered())
        .when(ClientCommand::Register {
            metadata: metadata(),
            secret: Some(secret(2)),
            owner: None,
            registration_access_token: None,
            widest: None,
            by: Author::Operator,
            at: AT,
        })
        .then_expect_error(ClientError::AlreadyExists);
}

#[test]
fn a_secret_goes_with_confidential_clients_and_only_with_them() {
    assert_eq!(register(metadata(), None), Err(ClientError::SecretMissing));
    assert_eq!(register(public(), Some(secret(1))), Err(ClientError::SecretUnexpected));
    assert!(register(public(), None).is_ok());
    given(vec![ClientEvent::Registered {
        metadata: public(),
        secret: None,
        owner: None,
        registration_access_token: None,
        by: Some(Author::Operator),
        at: AT,
    }])
    .when(ClientCommand::RotateSecret { secret: secret(2), by: Author::Operator, at: AT })
    .then_expect_error(ClientError::SecretUnexpected);
}

#[test]
fn a_client_that_begins_to_sign_with_its_secret_needs_a_new_one() {
    let signing = ClientMetadata { token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretJwt, ..metadata() };
    let registered = |metadata: ClientMetadata| {
        given(vec![ClientEvent::Registered {
            metadata,
            secret: Some(secret(1)),
            owner: None,
            registration_access_token: None,
            by: Some(Author::Operator),
            at: AT,
        }])
    };
    let update = |secret| ClientCommand::Update {
        metadata: signing.clone(),
        secret,
        vouch: false,
        widest: None,
        by: Author::Operator,
        at: AT,
    };
    registered(metadata()).when(update(None)).then_expect_error(ClientError::SecretMissing);
    registered(metadata()).when(update(Some(secret(2)))).then_expect_events(vec![
        ClientEvent::Updated { metadata: signing.clone(), vouched: false, by: Some(Author::Operator), at: AT },
        ClientEvent::SecretRotated { secret: secret(2), by: Some(Author::Operator), at: AT },
    ]);
    registered(signing.clone()).when(update(None)).then_expect_events(vec![]);
}

#[test]
fn metadata_that_does_not_fit_together_is_refused() {
    let cases = [
        (ClientMetadata { client_name: " ".to_owned(), ..metadata() }, ClientError::ClientName),
        (ClientMetadata { client_name: "a\0".to_owned(), ..metadata() }, ClientError::ClientName),
        (ClientMetadata { client_name: "a".repeat(101), ..metadata() }, ClientError::ClientName),
        (ClientMetadata { grant_types: vec![], ..metadata() }, ClientError::NoGrantType),
        (ClientMetadata { redirect_uris: vec![], ..metadata() }, ClientError::NoRedirectUri),
        (ClientMetadata { response_types: vec![], ..metadata() }, ClientError::ResponseTypes),
        (
            ClientMetadata { response_types: vec![ResponseType::Code, ResponseType::Token], ..metadata() },
            ClientError::ResponseTypes,
        ),
        (ClientMetadata { client_uri: Some("javascript:alert(1)".to_owned()), ..metadata() }, ClientError::ClientUri),
        (
            ClientMetadata {
                grant_types: vec![GrantType::ClientCredentials, GrantType::RefreshToken],
                response_types: vec![],
                ..metadata()
            },
            ClientError::NothingToRefresh,
        ),
    ];
    for (metadata, why) in cases {
        assert_eq!(register(metadata, Some(secret(1))), Err(why));
    }
}

#[test]
fn a_public_client_cannot_use_client_credentials() {
    let metadata =
        ClientMetadata { grant_types: vec![GrantType::ClientCredentials], response_types: vec![], ..public() };
    assert_eq!(register(metadata, None), Err(ClientError::PublicClientCredentials));
}

#[test]
fn only_an_operator_names_a_resource_server() {
    let api = ClientMetadata { resource_server: true, ..metadata() };
    let others = [Author::User, Author::Anonymous, Author::InitialAccessToken];
    for by in others.into_iter().chain([Author::Operator]) {
        let register = ClientCommand::Register {
            metadata: api.clone(),
            secret: Some(secret(1)),
            owner: None,
            registration_access_token: None,
            widest: None,
            by,
            at: AT,
        };
        let made = TestFramework::<Client>::with(()).given_no_previous_events().when(register).inspect_result();
        let client = folded(made.unwrap());
        let is_named = |client: &Client| client.registration().is_some_and(|held| held.metadata.resource_server);
        assert_eq!(is_named(&client), by == Author::Operator, "{by}");
        // Nor does anybody else end it.
        let update = |by| ClientCommand::Update {
            metadata: ClientMetadata { client_name: "Other".to_owned(), ..metadata() },
            secret: None,
            vouch: false,
            widest: None,
            by,
            at: AT,
        };
        let named = || {
            vec![ClientEvent::Registered {
                metadata: api.clone(),
                secret: Some(secret(1)),
                owner: None,
                registration_access_token: None,
                by: None,
                at: AT,
            }]
        };
        let changed = given(named()).when(update(by)).inspect_result().unwrap();
        assert_eq!(is_named(&folded([named(), changed].concat())), by != Author::Operator, "{by}");
    }
}

#[test]
fn a_resource_server_needs_a_secret_and_no_grant_type() {
    let bare =
        ClientMetadata { grant_types: Vec::new(), response_types: Vec::new(), redirect_uris: Vec::new(), ..metadata() };
    assert_eq!(register(bare.clone(), Some(secret(1))), Err(ClientError::NoGrantType));
    let named = ClientMetadata { resource_server: true, ..bare };
    assert!(register(named.clone(), Some(secret(1))).is_ok());
    let public = ClientMetadata { token_endpoint_auth_method: TokenEndpointAuthMethod::None, ..named };
    assert_eq!(register(public, None), Err(ClientError::PublicResourceServer));
}

#[test]
fn too_many_redirect_uris_are_refused() {
    let uri = |n| RedirectUri::register(&format!("https://app.example/{n}"), false).unwrap();
    let metadata = ClientMetadata { redirect_uris: (0..=REDIRECT_URIS_MAX).map(uri).collect(), ..metadata() };
    assert_eq!(register(metadata, Some(secret(1))), Err(ClientError::TooManyRedirectUris));
}

#[test]
fn an_update_that_changes_nothing_leaves_no_event() {
    given(registered())
        .when(ClientCommand::Update {
            metadata: metadata(),
            secret: None,
            vouch: false,
            widest: None,
            by: Author::Operator,
            at: AT,
        })
        .then_expect_events(vec![]);
}

#[test]
fn a_client_that_becomes_confidential_gets_a_secret() {
    let was_public = vec![ClientEvent::Registered {
        metadata: public(),
        secret: None,
        owner: None,
        registration_access_token: None,
        by: Some(Author::Operator),
        at: AT,
    }];
    given(was_public.clone())
        .when(ClientCommand::Update {
            metadata: metadata(),
            secret: None,
            vouch: false,
            widest: None,
            by: Author::Operator,
            at: AT,
        })
        .then_expect_error(ClientError::SecretMissing);
    given(was_public)
        .when(ClientCommand::Update {
            metadata: metadata(),
            secret: Some(secret(3)),
            vouch: false,
            widest: None,
            by: Author::Operator,
            at: AT,
        })
        .then_expect_events(vec![
            ClientEvent::Updated { metadata: metadata(), vouched: false, by: Some(Author::Operator), at: AT },
            ClientEvent::SecretRotated { secret: secret(3), by: Some(Author::Operator), at: AT },
        ]);
}

#[test]
fn disabling_and_enabling_each_happen_once() {
    let disabled = [registered(), vec![ClientEvent::Disabled { by: Some(Author::Operator), at: AT }]].concat();
    given(registered())
        .when(ClientCommand::Disable { by: Author::Operator, at: AT })
        .then_expect_events(vec![ClientEvent::Disabled { by: Some(Author::Operator), at: AT }]);
    given(disabled.clone()).when(ClientCommand::Disable { by: Author::Operator, at: AT }).then_expect_events(vec![]);
    given(disabled)
        .when(ClientCommand::Enable { by: Author::Operator, at: AT })
        .then_expect_events(vec![ClientEvent::Enabled { by: Some(Author::Operator), at: AT }]);
    given(registered()).when(ClientCommand::Enable { by: Author::Operator, at: AT }).then_expect_events(vec![]);
}

#[test]
fn a_deleted_client_stays_deleted() {
    let deleted = [registered(), vec![ClientEvent::Deleted { by: Some(Author::Operator), at: AT }]].concat();
    given(deleted.clone()).when(ClientCommand::Delete { by: Author::Operator, at: AT }).then_expect_events(vec![]);
    given(deleted.clone())
        .when(ClientCommand::Enable { by: Author::Operator, at: AT })
        .then_expect_error(ClientError::Deleted);
    given(deleted)
        .when(ClientCommand::Register {
            metadata: metadata(),
            secret: Some(secret(1)),
            owner: None,
            registration_access_token: None,
            widest: None,
            by: Author::Operator,
            at: AT,
        })
        .then_expect_error(ClientError::AlreadyExists);
}

#[test]
fn nothing_can_be_asked_of_a_client_that_is_not_there() {
    for command in [
        ClientCommand::Update {
            metadata: metadata(),
            secret: None,
            vouch: false,
            widest: None,
            by: Author::Operator,
            at: AT,
        },
        ClientCommand::RotateSecret { secret: secret(2), by: Author::Operator, at: AT },
        ClientCommand::Disable { by: Author::Operator, at: AT },
        ClientCommand::Enable { by: Author::Operator, at: AT },
        ClientCommand::Delete { by: Author::Operator, at: AT },
    ] {
        TestFramework::<Client>::with(())
            .given_no_previous_events()
            .when(command)
            .then_expect_error(ClientError::NotFound);
    }
}

#[test]
fn openid_metadata_must_fit_together() {
    let jwks = |keys: serde_json::Value| serde_json::json!({ "keys": keys }).as_object().cloned().map(JwkSet::from);
    let public_key =
        serde_json::json!([{ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }]);
    let private_key = serde_json::json!([{ "kty": "OKP", "crv": "Ed25519", "x": "11qY", "d": "nWGx" }]);
    let https = |uri: &str| Some(uri.to_owned());
    let none = OpenIdMetadata::default;
    let cases = [
        (OpenIdMetadata { logo_uri: https("javascript:alert(1)"), ..none() }, ClientError::WebUri("logo_uri")),
        (OpenIdMetadata { tos_uri: https("https://a:b@app.example/"), ..none() }, ClientError::WebUri("tos_uri")),
        (OpenIdMetadata { jwks_uri: https("http://app.example/jwks"), ..none() }, ClientError::SecureUri("jwks_uri")),
        (
            OpenIdMetadata { backchannel_logout_uri: https("https://app.example/out#now"), ..none() },
            ClientError::SecureUri("backchannel_logout_uri"),
        ),
        (
            OpenIdMetadata { initiate_login_uri: https("http://app.example/login"), ..none() },
            ClientError::SecureUri("initiate_login_uri"),
        ),
        (
            OpenIdMetadata { frontchannel_logout_uri: https("https://other.example/out"), ..none() },
            ClientError::FrontchannelLogoutUri,
        ),
        (OpenIdMetadata { contacts: vec!["a\nb".into()], ..none() }, ClientError::Text("contacts")),
        (
            OpenIdMetadata { jwks: jwks(public_key.clone()), jwks_uri: https("https://app.example/jwks"), ..none() },
            ClientError::JwksTwice,
        ),
        (OpenIdMetadata { jwks: jwks(private_key), ..none() }, ClientError::Jwks),
        (OpenIdMetadata { jwks: jwks(serde_json::json!([])), ..none() }, ClientError::Jwks),
        (OpenIdMetadata { request_object_signing_alg: Some(JwsAlgorithm::RS256), ..none() }, ClientError::NoKeys),
        (
            OpenIdMetadata { request_object_signing_alg: Some(JwsAlgorithm::HS256), ..none() },
            ClientError::SigningAlgorithm,
        ),
        (
            OpenIdMetadata { token_endpoint_auth_signing_alg: Some(JwsAlgorithm::None), ..none() },
            ClientError::SigningAlgorithm,
        ),
        (
            OpenIdMetadata { id_token_signed_response_alg: Some(JwsAlgorithm::HS256), ..none() },
            ClientError::SigningAlgorithm,
        ),
    ];
    for (openid, why) in cases {
        assert_eq!(register(ClientMetadata { openid: Box::new(openid), ..metadata() }, Some(secret(1))), Err(why));
    }
    let fits = OpenIdMetadata { jwks: jwks(public_key), ..none() };
    assert!(register(ClientMetadata { openid: Box::new(fits), ..metadata() }, Some(secret(1))).is_ok());
}

#[test]
fn pairwise_subjects_need_one_sector() {
    let uris: Vec<_> = ["https://one.example/cb", "https://two.example/cb"]
        .into_iter()
        .map(|uri| RedirectUri::register(uri, false).unwrap())
        .collect();
    let pairwise = OpenIdMetadata { subject_type: Some(SubjectType::Pairwise), ..OpenIdMetadata::default() };
    let sector = Some("https://one.example/sector".to_owned());
    let named = OpenIdMetadata { sector_identifier_uri: sector, ..pairwise.clone() };
    let with = |openid: &OpenIdMetadata, redirect_uris: &[RedirectUri]| ClientMetadata {
        openid: Box::new(openid.clone()),
        redirect_uris: redirect_uris.to_vec(),
        ..metadata()
    };
    assert_eq!(register(with(&pairwise, &uris), Some(secret(1))), Err(ClientError::Sector));
    assert!(register(with(&pairwise, &uris[..1]), Some(secret(1))).is_ok());
    assert!(register(with(&named, &uris), Some(secret(1))).is_ok());
    let local = RedirectUri::register("http://127.0.0.1/cb", false).unwrap();
    assert!(register(with(&pairwise, std::slice::from_ref(&local)), Some(secret(1))).is_ok());
    assert_eq!(register(with(&pairwise, &[local, uris[0].clone()]), Some(secret(1))), Err(ClientError::Sector));
}

#[test]
fn a_client_that_signs_its_assertions_has_keys_and_no_secret() {
    let keys = |jwks_uri: Option<&str>| ClientMetadata {
        token_endpoint_auth_method: TokenEndpointAuthMethod::PrivateKeyJwt,
        openid: Box::new(OpenIdMetadata { jwks_uri: jwks_uri.map(str::to_owned), ..OpenIdMetadata::default() }),
        ..metadata()
    };
    let uri = Some("https://app.example/jwks");
    assert_eq!(register(keys(None), None), Err(ClientError::NoKeys));
    assert_eq!(register(keys(uri), Some(secret(1))), Err(ClientError::SecretUnexpected));
    assert!(register(keys(uri), None).is_ok());
}

#[test]
fn unsigned_id_tokens_come_from_the_token_endpoint_only() {
    let unsigned = |response_types: Vec<ResponseType>, grant_types: Vec<GrantType>| ClientMetadata {
        response_types,
        grant_types,
        openid: Box::new(OpenIdMetadata {
            id_token_signed_response_alg: Some(JwsAlgorithm::None),
            ..OpenIdMetadata::default()
        }),
        ..metadata()
    };
    let code = unsigned(vec![ResponseType::Code], vec![GrantType::AuthorizationCode]);
    assert_eq!(code.openid.id_token_alg(), None);
    assert!(register(code, Some(secret(1))).is_ok());
    let both = vec![GrantType::AuthorizationCode, GrantType::Implicit];
    let hybrid = unsigned(vec![ResponseType::CodeIdToken], both);
    assert_eq!(register(hybrid, Some(secret(1))), Err(ClientError::SigningAlgorithm));
}

#[test]
fn the_sector_of_pairwise_subjects_is_a_host() {
    let pairwise = OpenIdMetadata { subject_type: Some(SubjectType::Pairwise), ..OpenIdMetadata::default() };
    let (id, uris) = (ClientId(Uuid::nil()), metadata().redirect_uris);
    assert_eq!(pairwise.sector(id, &uris).as_deref(), Some("app.example"));
    let sector_identifier_uri = Some("https://Sector.example/uris".to_owned());
    let named = OpenIdMetadata { sector_identifier_uri, ..pairwise };
    assert_eq!(named.sector(id, &uris).as_deref(), Some("sector.example"));
    assert_eq!(OpenIdMetadata::default().sector(id, &uris), None);
}

#[test]
fn who_cannot_own_a_host_is_a_sector_of_its_own() {
    let pairwise = OpenIdMetadata { subject_type: Some(SubjectType::Pairwise), ..OpenIdMetadata::default() };
    let sector = |id: u128, uri: &str| {
        let uris = [RedirectUri::register(uri, true).expect("a redirect URI")];
        pairwise.sector(ClientId(Uuid::from_u128(id)), &uris).expect("a sector")
    };
    let own = sector(1, "com.example.app://app.example/cb");
    assert!(!own.contains("app.example"), "{own}");
    for uri in ["http://127.0.0.1/cb", "http://localhost:3000/cb", "https://localhost/cb", "com.example.app:/cb"] {
        assert_eq!((sector(1, uri) == own, sector(2, uri) == own), (true, false), "{uri}");
    }
    assert_eq!(sector(1, "https://app.example/cb"), sector(2, "https://app.example/other"));
}

#[test]
fn every_uri_of_a_client_is_taken_as_it_is_read() {
    let register_with = |name: &str, uri: &str| {
        let uri = match name {
            "request_uris" | "post_logout_redirect_uris" => serde_json::json!([uri]),
            _ => serde_json::json!(uri),
        };
        let mut json = serde_json::to_value(metadata()).expect("JSON");
        json[name] = uri;
        register(serde_json::from_value(json).expect("metadata"), Some(secret(1)))
    };
    for name in [
        "client_uri",
        "logo_uri",
        "policy_uri",
        "tos_uri",
        "jwks_uri",
        "initiate_login_uri",
        "sector_identifier_uri",
        "backchannel_logout_uri",
        "frontchannel_logout_uri",
        "request_uris",
        "post_logout_redirect_uris",
    ] {
        assert!(register_with(name, "https://app.example/x").is_ok(), "{name}");
        for wrong in ["\u{1b}[2J", "\n", " ", "\\", "\"", "\u{e9}", "../x"] {
            let uri = format!("https://app.example/{wrong}");
            assert!(register_with(name, &uri).is_err(), "{name} {uri:?}");
        }
        for uri in ["https://a@app.example/x", "https://@app.example/x", "https:\\\\app.example/x"] {
            assert!(register_with(name, uri).is_err(), "{name} {uri}");
        }
    }
}

fn by_user() -> ClientEvent {
    ClientEvent::Registered {
        metadata: metadata(),
        secret: Some(secret(1)),
        owner: Some(UserId(Uuid::from_u128(1))),
        registration_access_token: None,
        by: None,
        at: AT,
    }
}

/// The registration that these events leave.
fn registration(events: Vec<ClientEvent>) -> Registration {
    let mut client = Client::default();
    events.into_iter().for_each(|event| client.remember(event));
    client.registration().expect("registered").clone()
}

#[test]
fn who_registered_an_old_client_follows_from_what_it_has() {
    let old = |owner: bool, token: bool| {
        let ClientEvent::Registered { metadata, secret, owner: is, at, .. } = by_user() else { unreachable!() };
        let registration_access_token = token.then_some(secret.unwrap());
        let owner = is.filter(|_| owner);
        let event = ClientEvent::Registered { metadata, secret, owner, registration_access_token, by: None, at };
        let registration = registration(vec![event]);
        (registration.author, registration.is_vouched())
    };
    assert_eq!(old(true, false), (Author::User, false));
    assert_eq!(old(false, true), (Author::Anonymous, false));
    assert_eq!(old(false, false), (Author::Operator, true));
}

#[test]
fn an_operator_answers_for_a_client_until_somebody_else_changes_it() {
    let update =
        |vouch, by| ClientCommand::Update { metadata: metadata(), secret: None, vouch, widest: None, by, at: AT };
    let vouched = ClientEvent::Updated { metadata: metadata(), vouched: true, by: Some(Author::Operator), at: AT };
    let renamed = ClientMetadata { client_name: "Other".to_owned(), ..metadata() };
    let changed = |by| ClientEvent::Updated { metadata: renamed.clone(), vouched: false, by, at: AT };
    given(vec![by_user()]).when(update(true, Author::Operator)).then_expect_events(vec![vouched.clone()]);
    given(vec![by_user(), vouched.clone()]).when(update(true, Author::Operator)).then_expect_events(vec![]);
    // Nobody else can.
    given(vec![by_user()]).when(update(true, Author::User)).then_expect_events(vec![]);
    let is_vouched = |event| registration(vec![by_user(), vouched.clone(), event]).is_vouched();
    assert!(registration(vec![by_user(), vouched.clone()]).is_vouched());
    assert!(is_vouched(changed(Some(Author::Operator))) && is_vouched(changed(None)));
    assert!(!is_vouched(changed(Some(Author::User))) && !is_vouched(changed(Some(Author::Anonymous))));
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn update(metadata: ClientMetadata, by: Author) -> ClientCommand {
    let widest = (by != Author::Operator).then(|| scope("openid profile"));
    ClientCommand::Update { metadata, secret: None, vouch: false, widest, by, at: AT }
}

fn changed(metadata: ClientMetadata, by: Author) -> ClientEvent {
    ClientEvent::Updated { metadata, vouched: false, by: Some(by), at: AT }
}

/// With another scope, one more grant type, or tokens that are JSON Web Tokens.
fn with_powers() -> [(ClientMetadata, ClientError); 4] {
    let granted = |grant_type| ClientMetadata {
        grant_types: [metadata().grant_types, vec![grant_type]].concat(),
        ..metadata().normalized()
    };
    let jwt = OpenIdMetadata { access_token_format: Some(AccessTokenFormat::Jwt), ..OpenIdMetadata::default() };
    [
        (ClientMetadata { scope: scope("profile admin"), ..metadata() }, ClientError::Scope),
        (granted(GrantType::ClientCredentials).normalized(), ClientError::NotVouched("grant_types")),
        (granted(GrantType::Password).normalized(), ClientError::NotVouched("grant_types")),
        (ClientMetadata { openid: Box::new(jwt), ..metadata() }, ClientError::NotVouched("access_token_format")),
    ]
}

#[test]
fn for_whom_no_operator_answers_gets_no_powers_when_it_registers_or_changes() {
    for (metadata, why) in with_powers() {
        for by in [Author::User, Author::Anonymous] {
            let register = |widest| ClientCommand::Register {
                metadata: metadata.clone(),
                secret: Some(secret(1)),
                owner: None,
                registration_access_token: None,
                widest,
                by,
                at: AT,
            };
            let first = TestFramework::<Client>::with(()).given_no_previous_events();
            first.when(register(Some(scope("openid profile")))).then_expect_error(why);
            given(vec![by_user()]).when(update(metadata.clone(), by)).then_expect_error(why);
        }
        // An operator can, and then the owner may keep it.
        let set = changed(metadata.clone(), Author::Operator);
        given(vec![by_user()]).when(update(metadata.clone(), Author::Operator)).then_expect_events(vec![set.clone()]);
        let renamed = ClientMetadata { client_name: "Other".to_owned(), ..metadata.clone() };
        let kept = changed(renamed.clone(), Author::User);
        given(vec![by_user(), set]).when(update(renamed, Author::User)).then_expect_events(vec![kept]);
    }
}

#[test]
fn who_shows_an_operators_token_gets_grants_but_no_more_scope() {
    for (metadata, why) in with_powers() {
        let command = ClientCommand::Register {
            metadata,
            secret: Some(secret(1)),
            owner: None,
            registration_access_token: Some(secret(2)),
            widest: Some(scope("openid profile")),
            by: Author::InitialAccessToken,
            at: AT,
        };
        let result = TestFramework::<Client>::with(()).given_no_previous_events().when(command).inspect_result();
        assert_eq!(result.is_ok(), why != ClientError::Scope, "{why}");
    }
}

#[test]
fn what_an_operator_narrowed_only_an_operator_widens() {
    let before = ClientMetadata {
        scope: scope("openid profile"),
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        ..metadata()
    };
    let registered = ClientEvent::Registered {
        metadata: before.clone(),
        secret: Some(secret(1)),
        owner: None,
        registration_access_token: Some(secret(2)),
        by: Some(Author::Anonymous),
        at: AT,
    };
    let pairwise = OpenIdMetadata { subject_type: Some(SubjectType::Pairwise), ..OpenIdMetadata::default() };
    let narrowed = [
        ("scope", ClientMetadata { scope: scope("openid"), ..before.clone() }),
        ("grant_types", ClientMetadata { grant_types: vec![GrantType::AuthorizationCode], ..before.clone() }),
        ("require_pkce", ClientMetadata { require_pkce: true, ..before.clone() }),
        ("subject_type", ClientMetadata { openid: Box::new(pairwise), ..before.clone() }),
    ];
    for (name, metadata) in narrowed {
        let history = vec![registered.clone(), changed(metadata.clone(), Author::Operator)];
        for by in [Author::User, Author::Anonymous] {
            given(history.clone()).when(update(before.clone(), by)).then_expect_error(ClientError::Ceiling(name));
        }
        // What the operator did not touch is still the owner's, and an operator widens it again.
        let renamed = ClientMetadata { client_name: "Other".to_owned(), ..metadata };
        let events = vec![changed(renamed.clone(), Author::Anonymous)];
        given(history.clone()).when(update(renamed, Author::Anonymous)).then_expect_events(events);
        let widened = vec![changed(before.clone(), Author::Operator)];
        given(history).when(update(before.clone(), Author::Operator)).then_expect_events(widened);
    }
    // From before authors were kept: nobody but an operator can undo it.
    let old = ClientEvent::Updated {
        metadata: ClientMetadata { scope: scope("openid"), ..before.clone() },
        vouched: false,
        by: None,
        at: AT,
    };
    given(vec![registered, old]).when(update(before, Author::User)).then_expect_error(ClientError::Ceiling("scope"));
}

#[test]
fn what_an_operator_answers_for_goes_no_further() {
    let vouched = ClientEvent::Updated { metadata: metadata(), vouched: true, by: Some(Author::Operator), at: AT };
    let wider = ClientMetadata { scope: scope("openid profile"), ..metadata() };
    given(vec![by_user()])
        .when(update(wider.clone(), Author::User))
        .then_expect_events(vec![changed(wider.clone(), Author::User)]);
    given(vec![by_user(), vouched]).when(update(wider, Author::User)).then_expect_error(ClientError::Ceiling("scope"));
}

#[test]
fn what_an_operator_disabled_only_an_operator_enables() {
    let disabled = |by| ClientEvent::Disabled { by, at: AT };
    let enabled = |by| ClientEvent::Enabled { by: Some(by), at: AT };
    let enable = |by| ClientCommand::Enable { by, at: AT };
    let (operator, user) = (Some(Author::Operator), Some(Author::User));
    // From before authors were kept, too.
    for by in [operator, None] {
        for who in [Author::User, Author::Anonymous, Author::InitialAccessToken] {
            given(vec![by_user(), disabled(by)]).when(enable(who)).then_expect_error(ClientError::DisabledByOperator);
        }
        let events = vec![enabled(Author::Operator)];
        given(vec![by_user(), disabled(by)]).when(enable(Author::Operator)).then_expect_events(events);
    }
    let events = vec![enabled(Author::User)];
    given(vec![by_user(), disabled(user)]).when(enable(Author::User)).then_expect_events(events);
    // An operator disables what its owner had disabled, and the owner does not make it his own again.
    let disable = |by| ClientCommand::Disable { by, at: AT };
    let both = vec![by_user(), disabled(user), disabled(operator)];
    given(both[..2].to_vec()).when(disable(Author::Operator)).then_expect_events(both[2..].to_vec());
    given(both.clone()).when(disable(Author::User)).then_expect_events(vec![]);
    given(both).when(enable(Author::User)).then_expect_error(ClientError::DisabledByOperator);
}
