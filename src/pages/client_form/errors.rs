//! What is wrong with a client's form, beside the field that it is about.

use grantlog_domain::client::ClientError;

/// What is wrong, beside the field it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormErrors {
    pub client_name: Option<String>,
    pub client_uri: Option<String>,
    pub kind: Option<String>,
    pub grant_types: Option<String>,
    pub auth_method: Option<String>,
    pub redirect_uris: Option<String>,
    pub scope: Option<String>,
    /// About no field.
    pub form: Option<String>,
}

impl FormErrors {
    /// Whether a field is marked.
    pub fn any(&self) -> bool {
        let fields = [
            &self.client_name,
            &self.client_uri,
            &self.kind,
            &self.grant_types,
            &self.auth_method,
            &self.redirect_uris,
            &self.scope,
        ];
        fields.into_iter().any(Option::is_some)
    }

    /// Puts a refusal beside its field.
    pub fn put(&mut self, error: ClientError, words: String) {
        let words = Some(words);
        match error {
            ClientError::ClientName => self.client_name = words,
            ClientError::ClientUri => self.client_uri = words,
            ClientError::NoGrantType
            | ClientError::ResponseTypes
            | ClientError::NothingToRefresh
            | ClientError::NotVouched("grant_types")
            | ClientError::Ceiling("grant_types" | "response_types") => {
                self.grant_types = words;
            }
            ClientError::NoRedirectUri | ClientError::TooManyRedirectUris | ClientError::RedirectUri(_) => {
                self.redirect_uris = words;
            }
            ClientError::PublicClientCredentials
            | ClientError::PublicResourceServer
            | ClientError::SecretMissing
            | ClientError::SecretUnexpected
            | ClientError::Ceiling("token_endpoint_auth_method") => {
                self.auth_method = words;
            }
            ClientError::Scope | ClientError::Ceiling("scope") => self.scope = words,
            // Those that are about no field, and those that were said above.
            ClientError::WebUri(_)
            | ClientError::SecureUri(_)
            | ClientError::FrontchannelLogoutUri
            | ClientError::Text(_)
            | ClientError::JwksTwice
            | ClientError::Jwks
            | ClientError::NoKeys
            | ClientError::SigningAlgorithm
            | ClientError::Sector
            | ClientError::AlreadyExists
            | ClientError::NotFound
            | ClientError::Deleted
            | ClientError::NotVouched(_)
            | ClientError::Ceiling(_)
            | ClientError::DisabledByOperator
            | ClientError::UnknownValue => {
                self.form = words;
            }
        }
    }
}

/// A refusal, for people.
pub fn words(error: ClientError) -> String {
    match error {
        ClientError::NoRedirectUri => "Name at least one; this kind of client gets its answers there.".to_owned(),
        ClientError::NoGrantType => "Choose at least one.".to_owned(),
        ClientError::ClientName => "A name of 1 to 100 characters is needed.".to_owned(),
        ClientError::ClientUri => "This must be an http or https address, spelled as browsers spell it.".to_owned(),
        ref other => sentence(other),
    }
}

/// An error's text as a sentence.
pub fn sentence(error: &impl ToString) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}
