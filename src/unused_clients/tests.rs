//! Who is deleted for want of use, and who is not.

use grantlog_domain::client::{
    ApplicationType, ClientMetadata, GrantType, ResponseType, Stage, TokenEndpointAuthMethod,
};
use grantlog_domain::grant::{Grant, GrantCommand, NewAccessToken, OpenGrant};
use grantlog_domain::user::{User, UserCommand};
use grantlog_domain::{GrantId, RedirectUri, Scope, UserId};

use super::*;
use crate::secrets::Kind;
use crate::standing::tests::{by_system, node};

async fn registered(app: &App, by: Author, days_ago: i64) -> ClientId {
    let id = ClientId(app.new_id());
    let metadata = ClientMetadata {
        client_name: "Test".into(),
        client_uri: None,
        redirect_uris: vec![RedirectUri::register("https://app.example/cb", false).expect("a URI")],
        grant_types: vec![GrantType::Implicit],
        response_types: vec![ResponseType::Token],
        scope: Scope::parse("profile").expect("a scope"),
        token_endpoint_auth_method: TokenEndpointAuthMethod::None,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    };
    let command = ClientCommand::Register {
        metadata,
        secret: None,
        owner: None,
        registration_access_token: None,
        widest: None,
        by,
        at: app.now().plus_seconds(-days_ago * DAY),
    };
    app.store.execute::<Client>(&id.to_string(), command, &by_system()).await.expect("registered");
    id
}

async fn grant(app: &App, client_id: ClientId) {
    let (user, grant, at) = (UserId(app.new_id()), GrantId(app.new_id()), app.now());
    app.store.execute::<User>(&user.to_string(), UserCommand::Register { at }, &by_system()).await.expect("a user");
    let later = at.plus_seconds(600);
    let hash = app.secrets.mint(Kind::AccessToken, grant.0).1;
    let open = OpenGrant {
        grant_type: GrantType::Implicit,
        client_id,
        user_id: Some(user),
        session_id: None,
        scope: Scope::parse("profile").expect("a scope"),
        access_token: NewAccessToken { hash, expires_at: later },
        refresh_token: None,
        expires_at: later,
        at,
        authentication: None,
        consent: None,
    };
    app.store.create::<Grant>(&grant.to_string(), GrantCommand::Open(open), &by_system()).await.expect("opened");
}

#[tokio::test]
async fn only_what_nobody_vouched_for_and_nobody_used_is_deleted() {
    let (app, _folder) = node(Duration::from_secs(3600)).await;
    let unused = registered(&app, Author::Anonymous, 31).await;
    let used = registered(&app, Author::Anonymous, 31).await;
    grant(&app, used).await;
    let others = [
        registered(&app, Author::Anonymous, 29).await,
        registered(&app, Author::InitialAccessToken, 31).await,
        registered(&app, Author::Operator, 31).await,
        registered(&app, Author::User, 31).await,
    ];
    grantlog_projections::prepare(app.store.log()).await.expect("tables");
    app.live.load(app.store.log(), app.now()).await.expect("loaded");
    assert_eq!(app.live.registered_themselves(), 3);
    round(&app, &mut HashSet::new()).await.expect("a round");
    let is_deleted = async |id: ClientId| {
        let client = app.store.load::<Client>(&id.to_string()).await.expect("read").aggregate;
        matches!(client.stage(), Stage::Deleted)
    };
    assert!(is_deleted(unused).await);
    for id in others.into_iter().chain([used]) {
        assert!(!is_deleted(id).await, "{id}");
    }
    // Its grant leaves the table some day; that there was one does not.
    assert_eq!(remembered(&app, &[used, unused]).await.expect("read"), [used]);
}
