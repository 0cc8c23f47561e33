//! A database that an earlier release made and filled (`tests/fixtures/`) goes on with this one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{
    Browser, CALLBACK, Client, Server, Signer, Site, Store, Tokens, User,
    assertion::parameters,
    browser::query_of,
    poll, random, secrets,
    signer::hs256,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![a_database_of_release_0_1_goes_on]];

/// What the clients and users of the release kept.
struct Kept(Value);

impl Kept {
    fn of(store: Store) -> Kept {
        let file = Site::fixture("release-0.1").join(format!("{store}.json"));
        let text = std::fs::read_to_string(file).expect("the fixture");
        let kept = Kept(serde_json::from_str(&text).expect("JSON"));
        register(&kept.0);
        kept
    }

    fn text(&self, path: &str) -> &str {
        self.0.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} in the fixture"))
    }

    fn user(&self, name: &str) -> User {
        let text = |what: &str| self.text(&format!("/users/{name}/{what}")).to_owned();
        User { username: text("username"), password: text("password") }
    }

    fn client(&self, name: &str) -> Client {
        let text = |what: &str| self.text(&format!("/clients/{name}/{what}")).to_owned();
        Client { id: text("id"), secret: text("secret"), auth_method: text("auth_method"), signer: None }
    }

    fn access(&self, grant: &str) -> &str {
        self.text(&format!("/grants/{grant}/access_token"))
    }

    fn refresh(&self, grant: &str) -> &str {
        self.text(&format!("/grants/{grant}/refresh_token"))
    }

    fn browser(&self, server: &Server, session: &str) -> Browser {
        let mut browser = Browser::new(server);
        let cookies = self.0["sessions"][session].as_object().expect("cookies");
        browser.cookies = cookies.iter().map(|(name, value)| (name.clone(), text_of(value))).collect();
        browser
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Nothing of it may be left anywhere, as nothing of what the tests are given.
fn register(kept: &Value) {
    match kept {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if name.contains("secret") || name.contains("token") || name == "password" => {
                secrets::register(text);
            }
            value => register(value),
        }),
        Value::Array(items) => items.iter().for_each(register),
        _ => {}
    }
}

async fn a_database_of_release_0_1_goes_on(store: Store) {
    let kept = Kept::of(store);
    let site = Site::restored(store, "release-0.1", &[("ISSUER", kept.text("/issuer"))]).await;
    let server = Server::on(&site, &[]).await;
    what_was_given_holds(&server, &kept).await;
    what_was_taken_back_stays_so(&server, &kept).await;
    clients_prove_who_they_are(&server, &kept).await;
    users_sign_in(&server, &kept).await;
    users_are_asked_once_more(&server, &kept).await;
    published_keys_stay(&server, &kept).await;
    // What the release appended and what was appended now make the same read models, over a restart too.
    server.stop();
    let server = Server::on(&site, &[]).await;
    assert!(server.is_active(&kept.client("post"), kept.access("post")).await);
    site.run_well(&["projections", "check"]).await;
    site.run_well(&["projections", "rebuild"]).await;
    // A demo was never served from it, so it is a real one.
    server.stop();
    let refused = site.run(&["serve", "--demo", "--issuer", "http://127.0.0.1:5000"]).await;
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
}

async fn what_was_given_holds(server: &Server, kept: &Kept) {
    // The shortest life first.
    let basic = kept.client("basic");
    let code = ["code", "code_verifier", "redirect_uri"].map(|name| (name, kept.text(&format!("/codes/basic/{name}"))));
    let form = [&[("grant_type", "authorization_code")], &code[..]].concat();
    let redeemed = Tokens::of(server.token_as(&basic, &form).await);
    assert!(server.is_active(&basic, &redeemed.access).await);
    for name in ["post", "public", "password", "users", "self", "jwt"] {
        let client = kept.client(name);
        if client.auth_method != "none" {
            let told = server.introspect_as(&client, kept.access(name)).await;
            assert_eq!((&told["active"], told["client_id"].as_str()), (&json!(true), Some(&*client.id)), "{name}");
        }
        let refreshed = Tokens::of(server.refresh(&client, kept.refresh(name)).await);
        if client.auth_method != "none" {
            assert!(server.is_active(&client, &refreshed.access).await, "{name}");
        }
    }
    let service = kept.client("service");
    assert!(server.is_active(&service, kept.access("service")).await);
    let me = server.get("/oauth/userinfo").bearer(kept.access("basic")).send().await.expect(200).json();
    assert_eq!((&me["name"], &me["email"]), (&json!("Ann Example"), &json!("ann@example.org")));
    // RFC 9700 4.14.2: who shows one that was replaced ends the grant.
    server.refresh(&basic, kept.text("/replaced_refresh_token")).await.expect_error(400, "invalid_grant");
    assert!(!server.is_active(&basic, kept.access("basic")).await);
}

async fn what_was_taken_back_stays_so(server: &Server, kept: &Kept) {
    let post = kept.client("post");
    assert!(!server.is_active(&post, kept.access("revoked")).await);
    server.refresh(&post, kept.refresh("revoked")).await.expect_error(400, "invalid_grant");
    // Of a user who was disabled.
    assert!(!server.is_active(&kept.client("basic"), kept.access("of_carol")).await);
    let carol = Browser::new(server).open("/login").await;
    let carol = Browser::new(server).fill_in_login(&carol, &kept.user("carol")).await;
    assert!(!carol.is_signed_in(), "{}", carol.answer);
    // Clients that were deleted or disabled, and a secret that was replaced.
    for name in ["deleted", "disabled"] {
        let form = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
        server.token_as(&kept.client(name), &form).await.expect_invalid_client();
    }
    let rotated = kept.client("rotated");
    let old = Client { secret: kept.text("/clients/rotated/old_secret").to_owned(), ..rotated.clone() };
    server.token_as(&old, &[("grant_type", "client_credentials")]).await.expect_invalid_client();
    server.service_token(&rotated).await;
    assert!(!kept.browser(server, "ended").open("/").await.is_signed_in());
}

/// Each by the method that it registered, and who registered itself by its registration access token.
async fn clients_prove_who_they_are(server: &Server, kept: &Kept) {
    let key = STANDARD.decode(kept.text("/clients/private_key_jwt/private_key")).expect("base64");
    let key = Signer::from_pkcs8(kept.text("/clients/private_key_jwt/kid"), &key);
    let secret = kept.text("/clients/client_secret_jwt/secret").as_bytes();
    // The log is of a later time than this machine's, and time goes on from the log.
    let at = poll::now().max(kept.0["made_at"].as_i64().expect("a time"));
    for name in ["private_key_jwt", "client_secret_jwt"] {
        let id = kept.client(name).id;
        let claims = json!({
            "iss": id, "sub": id, "aud": kept.text("/issuer"), "jti": random(16), "iat": at, "exp": at + 250,
        });
        let signed = match name {
            "private_key_jwt" => key.sign(&claims),
            _ => hs256(secret, &json!({ "alg": "HS256" }), &claims),
        };
        let form = [&[("grant_type", "client_credentials")], &parameters(&signed)[..]].concat();
        server.post("/oauth/token").form(&form).send().await.expect(200);
    }
    let token = kept.text("/clients/self/registration_access_token");
    let itself = server.get(kept.text("/clients/self/registration_path")).bearer(token).send().await.expect(200);
    assert_eq!(itself.json()["client_id"].as_str(), Some(&*kept.client("self").id));
}

async fn users_sign_in(server: &Server, kept: &Kept) {
    for name in ["ann", "ben"] {
        let home = Browser::signed_in(server, &kept.user(name)).await.open("/").await;
        assert!(home.is_signed_in(), "{}", home.answer);
    }
    let ann = kept.browser(server, "ann").open("/").await;
    assert!(ann.is_signed_in(), "{}", ann.answer);
    let mut ben = Browser::signed_in(server, &kept.user("ben")).await;
    let own = ben.open(&format!("/clients/{}", kept.client("users").id)).await;
    assert_eq!(own.answer.status, 200, "{}", own.answer);
}

/// The release did not keep what users saw when they allowed a client something.
async fn users_are_asked_once_more(server: &Server, kept: &Kept) {
    let (client, scope) = (kept.client("post"), "openid profile email");
    let mut ann = Browser::signed_in(server, &kept.user("ann")).await;
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK), ("scope", scope)];
    let silent = server.authorize_url(&[&request[..], &[("prompt", "none")]].concat());
    assert_eq!(query_of(&ann.open(&silent).await.callback())["error"], "consent_required");
    let page = ann.open(&server.authorize_url(&request)).await;
    ann.submit(&page, "consent-form", "consent-allow", &[]).await.callback();
    assert!(query_of(&ann.open(&silent).await.callback()).contains_key("code"));
}

/// What was signed can still be verified.
async fn published_keys_stay(server: &Server, kept: &Kept) {
    let keys = server.get("/oauth/jwks").send().await.expect(200).json();
    let published: Vec<&str> =
        keys["keys"].as_array().expect("keys").iter().filter_map(|key| key["kid"].as_str()).collect();
    for kid in kept.0["old_keys"].as_array().expect("keys") {
        assert!(published.contains(&kid.as_str().expect("a kid")), "{kid} is not among {published:?}");
    }
}
