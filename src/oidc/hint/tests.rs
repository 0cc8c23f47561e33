use std::time::Duration;

use grantlog_domain::client::{
    ApplicationType, Author, Client, ClientCommand, ClientMetadata, GrantType, OpenIdMetadata, ResponseType,
    SubjectType, TokenEndpointAuthMethod,
};
use grantlog_domain::signing_key::{Algorithm, SigningKey, SigningKeyCommand};
use grantlog_domain::{Actor, RedirectUri, Scope};
use serde_json::json;

use super::*;
use crate::oidc::keys::Keys;
use crate::secrets::Kind;
use crate::standing::tests::{by_system, node};

#[tokio::test]
async fn a_stale_node_knows_whose_pairwise_subject_it_is() {
    // OpenID Connect Core 3.1.2.1, 8.1: as the client that the log has knows its users.
    let (app, _folder) = node(Duration::ZERO).await;
    let (store, vault, clock) = (app.store.clone(), app.vault.clone(), app.clock.clone());
    let keys = Keys { store, vault, clock, actor: Actor::System };
    let kid = keys.make_next(Algorithm::ES256).await.expect("made");
    keys.activate(&kid).await.expect("active");
    let (client_id, user_id) = (ClientId(app.new_id()), UserId(app.new_id()));
    let metadata = ClientMetadata {
        client_name: "Test".into(),
        client_uri: None,
        redirect_uris: vec![RedirectUri::register("https://app.example/cb", false).expect("registered")],
        grant_types: vec![GrantType::AuthorizationCode],
        response_types: vec![ResponseType::Code],
        scope: Scope::parse("openid").expect("a scope"),
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::new(OpenIdMetadata { subject_type: Some(SubjectType::Pairwise), ..OpenIdMetadata::default() }),
    };
    let sub = subject(&app, client_id, &metadata, user_id);
    let secret = Some(app.secrets.mint(Kind::ClientSecret, app.new_id()).1);
    let at = app.now();
    let register = ClientCommand::Register {
        metadata,
        secret,
        owner: None,
        registration_access_token: None,
        widest: None,
        by: Author::Operator,
        at,
    };
    app.store.execute::<Client>(&client_id.to_string(), register, &by_system()).await.expect("registered");
    let claims = json!({ "iss": app.settings.issuer.as_str(), "aud": client_id, "sub": sub, "exp": at.0 });
    let token = app.signing().sign(&app, Algorithm::ES256, "JWT", &claims).await.expect("signed");

    // The second time with a key that is ready.
    for _ in 0..2 {
        let hint = read(&app, &token).await.expect("ours");
        assert!(hint.is_of(&app, user_id));
        assert!(!hint.is_of(&app, UserId(app.new_id())));
    }
    keys.retire(&kid).await.expect("retired");
    assert!(read(&app, &token).await.is_ok(), "still published");
    let revoke = SigningKeyCommand::Revoke { at };
    app.store.execute::<SigningKey>(&kid.0, revoke, &by_system()).await.expect("revoked");
    assert!(
        matches!(read(&app, &token).await, Err(BadHint::NotOurs)),
        "a key that is ready and not published any more"
    );
}
