//! The flows that many cases begin with, done as a well-behaved client would.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::Url;

use super::{Answer, Browser, CALLBACK, Client, Server, User, browser::query_of, random, secrets};

/// A verifier and its S256 challenge (RFC 7636 4.1 and 4.2).
pub struct Pkce {
    pub verifier: String,
    pub challenge: String,
}

impl Pkce {
    pub fn new() -> Pkce {
        let verifier = random(32);
        secrets::register(&verifier);
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        Pkce { verifier, challenge }
    }
}

/// A token response with all that a code flow gives.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    /// Reads a successful token response that must hold both tokens.
    #[track_caller]
    pub fn of(answer: Answer) -> Tokens {
        let json = answer.expect(200).json();
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned();
        Tokens { access: text("access_token"), refresh: text("refresh_token") }
    }
}

impl Server {
    /// The callback that a signed-in, willing user's browser reaches for these parameters.
    pub async fn authorized(&self, user: &User, parameters: &[(&str, &str)]) -> Url {
        Browser::new(self).authorize(&self.authorize_url(parameters), user).await.callback()
    }

    /// Where a client sends a browser for a code for `profile read` with PKCE.
    pub fn code_url(&self, client: &Client, pkce: &Pkce) -> String {
        self.authorize_url(&[
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", CALLBACK),
            ("scope", "profile read"),
            ("state", &random(9)),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
        ])
    }

    /// A code for `profile read` with PKCE.
    pub async fn code(&self, client: &Client, user: &User, pkce: &Pkce) -> String {
        let callback = Browser::new(self).authorize(&self.code_url(client, pkce), user).await.callback();
        query_of(&callback).remove("code").unwrap_or_else(|| panic!("no code in {callback}"))
    }

    /// Redeems a code, as that client.
    pub async fn redeem(&self, client: &Client, code: &str, pkce: &Pkce) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", &pkce.verifier),
        ];
        self.token_as(client, &form).await
    }

    /// The whole code flow for `profile read`.
    pub async fn tokens(&self, client: &Client, user: &User) -> Tokens {
        let pkce = Pkce::new();
        let code = self.code(client, user, &pkce).await;
        Tokens::of(self.redeem(client, &code, &pkce).await)
    }

    /// Refreshes, as that client.
    pub async fn refresh(&self, client: &Client, refresh_token: &str) -> Answer {
        self.token_as(client, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// An access token of a client acting for itself.
    pub async fn service_token(&self, client: &Client) -> String {
        let answer = self.token_as(client, &[("grant_type", "client_credentials")]).await.expect(200);
        answer.json()["access_token"].as_str().expect("an access token").to_owned()
    }

    /// The user's tokens through the password grant: the shortest way to tokens that speak for a user.
    pub async fn password_tokens(&self, client: &Client, user: &User) -> Tokens {
        let form = [
            ("grant_type", "password"),
            ("username", &user.username),
            ("password", &user.password),
            ("scope", "profile read"),
        ];
        Tokens::of(self.token_as(client, &form).await)
    }
}
