//! The fields of a client as a form: read, checked, shown again with what is wrong beside each field.
//!
//! The kinds group what belongs together, so that a newcomer chooses one of three and is done; whoever knows the
//! RFCs takes the fourth and chooses each thing. Every checkbox has a name of its own, because repeated parameters are
//! refused everywhere.

mod errors;

use grantlog_domain::client::{
    ApplicationType, ClientError, ClientMetadata, GrantType, REDIRECT_URIS_MAX, ResponseType, TokenEndpointAuthMethod,
};
use grantlog_domain::{RedirectUri, Scope};

pub use self::errors::{FormErrors, sentence};
use super::further::{self, Further};
use super::scopes;
use crate::client_fields;
use crate::http::client_auth::SUPPORTED;
use crate::http::form::Parameters;

/// What stands in the form.
#[derive(Clone, Debug, Default)]
pub struct ClientForm {
    pub client_name: String,
    pub client_uri: String,
    pub redirect_uris: String,
    pub other_scope: String,
    pub kinds: Vec<Choice>,
    pub grant_types: Vec<Choice>,
    pub auth_methods: Vec<Choice>,
    pub scopes: Vec<Choice>,
    pub native: bool,
    pub require_pkce: bool,
    pub further: Vec<Further>,
    pub errors: FormErrors,
}

/// One radio button or checkbox.
#[derive(Clone, Debug)]
pub struct Choice {
    pub value: &'static str,
    pub title: &'static str,
    pub hint: &'static str,
    pub chosen: bool,
}

/// Value, title, hint.
type Offer = (&'static str, &'static str, &'static str);

const KINDS: [Offer; 4] = [
    ("web", "Web application", "Runs on a server of yours and can keep a secret. People sign in and allow it."),
    (
        "native",
        "Single-page, mobile or desktop application",
        "Runs in the hands of its users, so it has no secret; PKCE protects its codes.",
    ),
    ("machine", "Machine to machine", "A service that asks for tokens for itself. No people, no redirects."),
    ("custom", "Something else", "Choose grant types and the rest one by one."),
];

const GRANT_TYPES: [(GrantType, &str, &str); 5] = [
    (GrantType::AuthorizationCode, "Authorization code", "People sign in here, allow it, and come back with a code."),
    (GrantType::RefreshToken, "Refresh token", "Gets new access tokens without asking again."),
    (GrantType::ClientCredentials, "Client credentials", "Gets tokens for itself. Needs a secret."),
    (GrantType::Password, "Password", "Takes the user's password itself. Only for what cannot be changed any more."),
    (GrantType::Implicit, "Implicit", "Gets tokens in the redirect. Outdated; the authorization code is better."),
];

const AUTH_METHODS: [(TokenEndpointAuthMethod, &str, &str); 5] = [
    (TokenEndpointAuthMethod::ClientSecretBasic, "Secret in the header", "HTTP Basic (client_secret_basic)."),
    (TokenEndpointAuthMethod::ClientSecretPost, "Secret in the form", "As a parameter (client_secret_post)."),
    (TokenEndpointAuthMethod::ClientSecretJwt, "Assertion made with the secret", "A signed token (client_secret_jwt)."),
    (
        TokenEndpointAuthMethod::PrivateKeyJwt,
        "Assertion made with a key",
        "A signed token (private_key_jwt); needs keys.",
    ),
    (TokenEndpointAuthMethod::None, "No secret", "A public client (none); its codes are protected by PKCE."),
];

impl ClientForm {
    /// Whether a field is marked.
    pub fn is_wrong(&self) -> bool {
        self.errors.any() || self.is_further_wrong()
    }

    /// Whether one of those is that are folded away.
    pub fn is_further_wrong(&self) -> bool {
        self.further.iter().any(|field| field.error.is_some())
    }

    /// The form before anything was filled in: nothing is chosen for the user but the harmless scope.
    pub fn empty() -> Self {
        let mut form = Self::unchosen();
        for scope in &mut form.scopes {
            scope.chosen = scope.value == "profile";
        }
        form
    }

    /// Leaves out what no user can have, but for what the client has already.
    pub fn offer_what_users_may(&mut self, held: Option<&ClientMetadata>) {
        self.kinds.retain(|kind| kind.value != "machine");
        self.grant_types.retain(|choice| {
            choice.value.parse().is_ok_and(|grant_type: GrantType| !grant_type.is_unusual())
                || held.is_some_and(|held| held.grant_types.iter().any(|held| held.as_str() == choice.value))
        });
    }

    fn unchosen() -> Self {
        let choice = |(value, title, hint): Offer| Choice { value, title, hint, chosen: false };
        Self {
            kinds: KINDS.into_iter().map(choice).collect(),
            grant_types: GRANT_TYPES
                .into_iter()
                .map(|(value, title, hint)| choice((value.as_str(), title, hint)))
                .collect(),
            auth_methods: AUTH_METHODS
                .into_iter()
                .filter(|(method, ..)| SUPPORTED.contains(method))
                .map(|(value, title, hint)| choice((value.as_str(), title, hint)))
                .collect(),
            further: further::empty(),
            scopes: scopes::KNOWN.iter().map(|known| choice((known.token, known.title, known.title))).collect(),
            ..Self::default()
        }
    }

    /// The form as a client's owner sees it.
    pub fn of(metadata: &ClientMetadata) -> Self {
        let mut form = Self::unchosen();
        form.client_name.clone_from(&metadata.client_name);
        form.client_uri = metadata.client_uri.clone().unwrap_or_default();
        form.redirect_uris = metadata.redirect_uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>().join("\n");
        form.native = metadata.is_native();
        form.require_pkce = metadata.require_pkce;
        further::fill(&mut form.further, metadata);
        choose(&mut form.grant_types, |value| metadata.grant_types.iter().any(|held| held.as_str() == value));
        choose(&mut form.auth_methods, |value| metadata.token_endpoint_auth_method.as_str() == value);
        choose(&mut form.scopes, |value| metadata.scope.contains(value));
        let others = metadata.scope.tokens().filter(|token| !scopes::KNOWN.iter().any(|known| known.token == *token));
        form.other_scope = others.collect::<Vec<_>>().join(" ");
        form
    }

    /// What a browser sent. Everything is kept, also what is wrong, so that it can be shown again.
    pub fn read(parameters: &Parameters) -> Self {
        let text = |name| parameters.get(name).unwrap_or_default().to_owned();
        let mut form = Self::unchosen();
        form.client_name = text("client_name");
        form.client_uri = text("client_uri").trim().to_owned();
        form.redirect_uris = text("redirect_uris");
        form.other_scope = text("other_scope");
        form.native = parameters.get("native").is_some();
        form.require_pkce = parameters.get("require_pkce").is_some();
        further::take(&mut form.further, parameters);
        choose(&mut form.kinds, |value| parameters.get("kind") == Some(value));
        choose(&mut form.grant_types, |value| parameters.get(&format!("grant_type_{value}")).is_some());
        choose(&mut form.auth_methods, |value| parameters.get("token_endpoint_auth_method") == Some(value));
        choose(&mut form.scopes, |value| parameters.get(&format!("scope_{value}")).is_some());
        form
    }

    /// The metadata of a new client: its kind decides what the form does not ask.
    pub fn register(&mut self) -> Option<ClientMetadata> {
        self.check_texts();
        let metadata = match chosen(&self.kinds) {
            Some("web") => self.metadata(
                &[GrantType::AuthorizationCode, GrantType::RefreshToken],
                TokenEndpointAuthMethod::ClientSecretBasic,
                ApplicationType::Web,
            ),
            Some("native") => self.metadata(
                &[GrantType::AuthorizationCode, GrantType::RefreshToken],
                TokenEndpointAuthMethod::None,
                ApplicationType::Native,
            ),
            Some("machine") => {
                // Hidden for this kind: what was typed before the choice changed does not count.
                let redirect_uris = std::mem::take(&mut self.redirect_uris);
                let metadata = self.metadata(
                    &[GrantType::ClientCredentials],
                    TokenEndpointAuthMethod::ClientSecretBasic,
                    ApplicationType::Web,
                );
                self.redirect_uris = redirect_uris;
                metadata
            }
            Some("custom") => return self.update(),
            _ => {
                self.errors.kind = Some("Choose one.".to_owned());
                self.read_scope();
                further::read(&mut self.further);
                return None;
            }
        };
        self.checked(metadata)
    }

    /// The metadata as each field says.
    pub fn update(&mut self) -> Option<ClientMetadata> {
        self.check_texts();
        let grant_types: Vec<GrantType> = self.grant_types.iter().filter_map(Choice::parsed).collect();
        if grant_types.is_empty() {
            self.refuse(ClientError::NoGrantType);
        }
        let Some(auth_method) = self.auth_methods.iter().find_map(Choice::parsed) else {
            self.errors.auth_method = Some("Choose one.".to_owned());
            self.read_redirect_uris(self.native);
            self.read_scope();
            further::read(&mut self.further);
            return None;
        };
        let application_type = if self.native { ApplicationType::Native } else { ApplicationType::Web };
        let metadata = self.metadata(&grant_types, auth_method, application_type);
        self.checked(metadata)
    }

    /// What can be said of these fields whatever else is wrong, so that all of it is said at once.
    fn check_texts(&mut self) {
        if let Err(error) = ClientMetadata::check_client_name(&self.client_name) {
            self.refuse(error);
        }
        if !self.client_uri.is_empty()
            && let Err(error) = ClientMetadata::check_client_uri(&self.client_uri)
        {
            self.refuse(error);
        }
    }

    fn metadata(
        &mut self,
        grant_types: &[GrantType],
        token_endpoint_auth_method: TokenEndpointAuthMethod,
        application_type: ApplicationType,
    ) -> Option<ClientMetadata> {
        let native = application_type == ApplicationType::Native;
        let redirect_uris = self.read_redirect_uris(native);
        let scope = self.read_scope();
        let further = further::read(&mut self.further);
        let plain = ClientMetadata {
            client_name: self.client_name.clone(),
            client_uri: Some(self.client_uri.clone()).filter(|uri| !uri.is_empty()),
            redirect_uris: redirect_uris?,
            grant_types: grant_types.to_vec(),
            response_types: ResponseType::usual(grant_types),
            scope: scope?,
            token_endpoint_auth_method,
            application_type,
            require_pkce: self.require_pkce,
            resource_server: false,
            openid: Box::default(),
        };
        client_fields::changed(&plain, further?).map_err(|error| self.refuse(error)).ok()
    }

    fn read_redirect_uris(&mut self, native: bool) -> Option<Vec<RedirectUri>> {
        let lines: Vec<&str> = self.redirect_uris.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.len() > REDIRECT_URIS_MAX {
            self.errors.redirect_uris = Some(sentence(&ClientError::TooManyRedirectUris));
            return None;
        }
        let mut uris = Vec::with_capacity(lines.len());
        for line in lines {
            match RedirectUri::register(line, native) {
                Ok(uri) => uris.push(uri),
                Err(error) => {
                    let shown: String = line.chars().take(60).collect();
                    self.errors.redirect_uris = Some(format!("“{shown}”: {error}."));
                    return None;
                }
            }
        }
        Some(uris)
    }

    fn read_scope(&mut self) -> Option<Scope> {
        let known = self.scopes.iter().filter(|scope| scope.chosen).map(|scope| scope.value);
        let text = known.chain([self.other_scope.as_str()]).collect::<Vec<_>>().join(" ");
        let scope = Scope::parse(&text);
        self.errors.scope = scope.as_ref().err().map(sentence);
        scope.ok()
    }

    fn checked(&mut self, metadata: Option<ClientMetadata>) -> Option<ClientMetadata> {
        let metadata = metadata?;
        match metadata.validate() {
            Ok(()) => Some(metadata),
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }

    /// Says beside one of the further fields what is wrong with it.
    pub fn complain(&mut self, name: &str, error: &impl ToString) {
        further::complain(&mut self.further, name, sentence(error));
    }

    /// Puts a refusal beside its field.
    pub fn refuse(&mut self, error: ClientError) {
        let words = errors::words(error);
        if !further::refuse(&mut self.further, &error, Some(&words)) {
            self.errors.put(error, words);
        }
    }
}

impl Choice {
    fn parsed<T: std::str::FromStr>(&self) -> Option<T> {
        if self.chosen { self.value.parse().ok() } else { None }
    }
}

fn choose(choices: &mut [Choice], chosen: impl Fn(&str) -> bool) {
    for choice in choices {
        choice.chosen = chosen(choice.value);
    }
}

fn chosen(choices: &[Choice]) -> Option<&'static str> {
    choices.iter().find(|choice| choice.chosen).map(|choice| choice.value)
}

/// What kind of client it is, in words for a list.
pub fn kind_in_words(metadata: &ClientMetadata) -> &'static str {
    let people = metadata.allows(GrantType::AuthorizationCode) || metadata.allows(GrantType::Implicit);
    if metadata.resource_server && metadata.grant_types.is_empty() {
        return "API";
    }
    match (people, metadata.is_public()) {
        (true, false) => "Web application",
        (true, true) => "Application without a secret",
        (false, _) if metadata.allows(GrantType::Password) => "Client that takes passwords",
        (false, _) => "Machine to machine",
    }
}
