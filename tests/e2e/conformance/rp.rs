//! A relying party that believes nothing: it validates every response as OpenID Connect Core 3.1.3.7, 3.2.2.11 and
//! 3.3.2.12 say, with another library than the server signs with.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::Jwk};
use serde_json::{Value, json};

use super::dynamic;
pub use crate::harness::poll::now;
use crate::harness::{
    Browser, CALLBACK, Client, Server, Signer, User,
    browser::{Page, fragment_of, query_of},
    poll, random,
};

/// The response types that a provider has to have for the profiles Basic, Implicit and Hybrid.
pub const RESPONSE_TYPES: [&str; 6] =
    ["code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"];

/// Where a client of these cases is sent after signing out.
pub const SIGNED_OUT: &str = "https://client.example/signed_out";

/// What ID tokens can be signed with.
const ALGS: [&str; 4] = ["RS256", "ES256", "EdDSA", "PS256"];

/// The key of clients that registered themselves, as the plan `dynamic` has it: without a name. Making one takes time.
static NAMELESS: LazyLock<Arc<Signer>> = LazyLock::new(|| Arc::new(Signer::nameless("RS256")));

/// A relying party that asks in one way.
#[derive(Clone)]
pub struct Rp {
    pub server: Server,
    pub client: Client,
    pub response_type: &'static str,
    /// The one that goes with the response type when there is none.
    pub response_mode: Option<&'static str>,
    pub alg: &'static str,
}

/// What came back from the authorization endpoint.
pub type Response = HashMap<String, String>;

impl Rp {
    pub async fn new(server: &Server, response_type: &'static str) -> Rp {
        Rp::with(server, response_type, &[]).await
    }

    /// With further arguments for `grantlog client create`.
    pub async fn with(server: &Server, response_type: &'static str, more: &[&str]) -> Rp {
        let client = Rp::client(server, &[response_type], more).await;
        let alg = more.iter().position(|argument| *argument == "--id-token-alg").map(|at| more[at + 1]);
        let alg = ALGS.into_iter().find(|known| Some(*known) == alg).unwrap_or("RS256");
        Rp { server: server.clone(), client, response_type, response_mode: None, alg }
    }

    async fn client(server: &Server, response_types: &[&str], more: &[&str]) -> Client {
        let scope = "openid profile email address phone offline_access";
        let mut arguments =
            vec!["--redirect-uri", CALLBACK, "--scope", scope, "--post-logout-redirect-uri", SIGNED_OUT];
        arguments.extend(response_types.iter().flat_map(|response_type| ["--response-type", response_type]));
        if response_types.iter().any(|response_type| response_type.contains("code")) {
            arguments.extend(["--grant-type", "authorization_code", "--grant-type", "refresh_token"]);
        }
        if response_types.iter().any(|response_type| *response_type != "code") {
            arguments.extend(["--grant-type", "implicit"]);
        }
        arguments.extend(more);
        server.client(&arguments).await
    }

    /// One client as each run of a module has it that the plans Basic, Implicit and Hybrid share, and the three of the same
    /// names with `response_mode=form_post`: every response type in its own mode, then every one in a form.
    pub async fn of_every_plan(server: &Server) -> Vec<Rp> {
        let client = Rp::client(server, &RESPONSE_TYPES, &[]).await;
        let asking = |response_mode| RESPONSE_TYPES.map(|response_type| (response_type, response_mode));
        let runs = [asking(None), asking(Some("form_post"))].concat();
        let rp = |(response_type, response_mode)| {
            let (server, client) = (server.clone(), client.clone());
            Rp { server, client, response_type, response_mode, alg: "RS256" }
        };
        runs.into_iter().map(rp).collect()
    }

    /// The same of the plans Basic and Hybrid: those with a code.
    pub async fn of_every_plan_with_codes(server: &Server) -> Vec<Rp> {
        let mut every = Rp::of_every_plan(server).await;
        every.retain(|rp| rp.response_type.contains("code"));
        every
    }

    /// One that registered itself (OpenID Connect Dynamic Registration 3.1), with further metadata. As in the plan `dynamic`
    /// it signs to prove who it is, with a key that it registered without a `kid`; unless it says otherwise.
    pub async fn registered(server: &Server, response_type: &'static str, more: Value) -> Rp {
        if ["token_endpoint_auth_method", "jwks", "jwks_uri"].iter().any(|name| more.get(name).is_some()) {
            return Rp::registered_as_it_says(server, response_type, more).await;
        }
        Rp::registered_with_key(server, response_type, &NAMELESS, more).await
    }

    /// One that registered itself with that key, and signs with it.
    pub async fn registered_with_key(
        server: &Server,
        response_type: &'static str,
        signer: &Arc<Signer>,
        mut more: Value,
    ) -> Rp {
        more["token_endpoint_auth_method"] = json!("private_key_jwt");
        more["jwks"] = signer.jwks();
        let mut rp = Rp::registered_as_it_says(server, response_type, more).await;
        rp.client.signer = Some(Arc::clone(signer));
        rp
    }

    async fn registered_as_it_says(server: &Server, response_type: &'static str, more: Value) -> Rp {
        let mut metadata = json!({ "response_types": [response_type] });
        if response_type.contains("code") {
            let mut grant_types = vec!["authorization_code", "refresh_token"];
            grant_types.extend((response_type != "code").then_some("implicit"));
            metadata["grant_types"] = json!(grant_types);
        }
        let more = more.as_object().expect("an object").clone();
        metadata.as_object_mut().expect("an object").extend(more);
        Rp::of_answer(server, response_type, &dynamic::registered(server, &dynamic::with(metadata)).await)
    }

    /// The relying party of a registration's answer.
    pub fn of_answer(server: &Server, response_type: &'static str, answer: &Value) -> Rp {
        let alg = answer["id_token_signed_response_alg"].as_str().unwrap_or("RS256");
        let alg = ALGS.into_iter().find(|known| *known == alg).unwrap_or("RS256");
        Rp { server: server.clone(), client: Rp::client_of(answer), response_type, response_mode: None, alg }
    }

    /// The client of a registration's answer.
    pub fn client_of(answer: &Value) -> Client {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let auth_method = text("token_endpoint_auth_method");
        Client { id: text("client_id"), secret: text("client_secret"), auth_method, signer: None }
    }

    /// An authentication request with all of the scopes; `more` adds and replaces.
    pub fn url(&self, more: &[(&str, &str)]) -> String {
        let (state, nonce) = (random(12), random(12));
        let mut parameters = vec![
            ("response_type", self.response_type),
            ("client_id", &self.client.id),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("state", &state),
            ("nonce", &nonce),
        ];
        parameters.extend(self.response_mode.map(|mode| ("response_mode", mode)));
        parameters.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        parameters.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        self.server.authorize_url(&parameters)
    }

    /// What a willing user's browser brings back.
    pub async fn authorize(&self, browser: &mut Browser, user: &User, more: &[(&str, &str)]) -> Response {
        let page = browser.authorize(&self.url(more), user).await;
        self.response(&page)
    }

    /// The response in a redirect, or in a page that posts it; of a client that registered itself also behind the page that
    /// asks first, as a person gets it who goes on.
    #[track_caller]
    pub fn response(&self, page: &Page) -> Response {
        if let Some(form) = page.form("form-post").or_else(|| page.form("continue-form")) {
            assert_eq!((form.method.as_str(), form.action.as_str()), ("post", CALLBACK));
            return form.fields.into_iter().collect();
        }
        let callback = page.onward();
        assert!(callback.as_str().starts_with(CALLBACK), "{callback}");
        if callback.fragment().is_some() { fragment_of(&callback) } else { query_of(&callback) }
    }

    /// A whole login: what came from the authorization endpoint, and from the token endpoint if there was a code. All ID
    /// tokens are validated; their claims come back, those of the last one.
    pub async fn login(&self, browser: &mut Browser, user: &User, more: &[(&str, &str)]) -> Login {
        let nonce =
            more.iter().find(|(name, _)| *name == "nonce").map_or_else(|| random(12), |(_, nonce)| (*nonce).to_owned());
        let state = random(12);
        let fixed = [("nonce", nonce.as_str()), ("state", state.as_str())];
        let parameters = [more, &fixed].concat();
        let response = self.authorize(browser, user, &parameters).await;
        assert!(!response.contains_key("error"), "{response:?}");
        assert_eq!(response["state"], state);
        assert_eq!(response["iss"], self.server.base());
        for (word, name) in [("code", "code"), ("id_token", "id_token"), ("token", "access_token")] {
            let asked = self.response_type.split(' ').any(|asked| asked == word);
            assert_eq!(response.contains_key(name), asked, "{name} in {response:?} for {}", self.response_type);
        }
        let mut claims = Value::Null;
        if let Some(id_token) = response.get("id_token") {
            claims = self.validated(id_token).await;
            assert_eq!(claims["nonce"], nonce.as_str(), "{claims}");
            self.check_hash(&claims, "at_hash", response.get("access_token"));
            self.check_hash(&claims, "c_hash", response.get("code"));
            self.check_hash(&claims, "s_hash", Some(&state));
        }
        let mut tokens = Value::Null;
        if let Some(code) = response.get("code") {
            tokens = self.redeem(code).await;
            let second = self.validated(tokens["id_token"].as_str().expect("an ID token")).await;
            assert_eq!(second["nonce"], nonce.as_str(), "{second}");
            let access = tokens["access_token"].as_str().expect("an access token").to_owned();
            self.check_hash(&second, "at_hash", Some(&access));
            if !claims.is_null() {
                // OpenID Connect Core 3.3.3.6.
                assert_eq!((&claims["iss"], &claims["sub"]), (&second["iss"], &second["sub"]));
            }
            claims = second;
        }
        Login { response, tokens, claims }
    }

    /// The token response for a code.
    pub async fn redeem(&self, code: &str) -> Value {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.server.token_as(&self.client, &form).await.expect(200).json()
    }

    /// The claims of an ID token, validated (OpenID Connect Core 3.1.3.7).
    pub async fn validated(&self, id_token: &str) -> Value {
        let claims = self.verified(id_token).await;
        let iat = claims["iat"].as_i64().expect("iat");
        assert!((now() - iat).abs() < 60, "{claims}");
        assert!(claims["exp"].is_i64(), "{claims}");
        assert!(claims["auth_time"].as_i64().is_some_and(|at| at <= iat), "{claims}");
        assert_eq!(claims["azp"], self.client.id.as_str());
        claims
    }

    /// The claims of a JSON Web Token for this client, with a good signature of a published key.
    pub async fn verified(&self, token: &str) -> Value {
        let header = jsonwebtoken::decode_header(token).expect("a JWS header");
        assert_eq!(format!("{:?}", header.alg), self.alg);
        let kid = header.kid.expect("a kid");
        let configuration = self.server.get("/.well-known/openid-configuration").send().await.expect(200).json();
        let keys = self.server.get(configuration["jwks_uri"].as_str().expect("a URL")).send().await.expect(200).json();
        let key = keys["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == kid.as_str());
        let jwk: Jwk =
            serde_json::from_value(key.unwrap_or_else(|| panic!("{kid} is not in {keys}")).clone()).expect("a JWK");
        let mut validation = Validation::new(self.alg.parse::<Algorithm>().expect("an algorithm"));
        validation.set_issuer(&[self.server.base()]);
        validation.set_audience(&[&self.client.id]);
        validation.set_required_spec_claims(&["iss", "sub", "aud"]);
        let key = DecodingKey::from_jwk(&jwk).expect("a key");
        jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a good signature").claims
    }

    /// OpenID Connect Core 3.1.3.8, 3.2.2.9, 3.3.2.10.
    fn check_hash(&self, claims: &Value, name: &str, of: Option<&String>) {
        let expected = of.map(|text| {
            let hash = digest(if self.alg == "EdDSA" { &SHA512 } else { &SHA256 }, text.as_bytes());
            URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
        });
        assert_eq!(claims.get(name).and_then(Value::as_str), expected.as_deref(), "{name} in {claims}");
    }

    pub async fn userinfo(&self, access_token: &str) -> Value {
        self.server.get("/oauth/userinfo").bearer(access_token).send().await.expect(200).json()
    }
}

/// A login that succeeded.
pub struct Login {
    pub response: Response,
    /// Null when there was no code.
    pub tokens: Value,
    pub claims: Value,
}

impl Login {
    /// The access token, the newest when there are two; `None` for `response_type=id_token`.
    pub fn access_token(&self) -> Option<&str> {
        self.tokens["access_token"].as_str().or_else(|| self.response.get("access_token").map(String::as_str))
    }

    /// The ID token, the newest when there are two.
    pub fn id_token(&self) -> &str {
        self.tokens["id_token"].as_str().unwrap_or_else(|| &self.response["id_token"])
    }
}

/// Comes back when the server's clock too shows a later second than `at` plus `seconds`. It tells the kernel's last tick, up to
/// 10 ms ago, so the time is looked at once more, 20 ms later.
pub async fn until_after(at: i64, seconds: i64) {
    let mut was_later = false;
    let twice = async || std::mem::replace(&mut was_later, now() > at + seconds).then_some(());
    poll::until("time passes", twice).await;
}
