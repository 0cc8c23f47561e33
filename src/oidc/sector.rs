//! `sector_identifier_uri` (OpenID Connect Dynamic Registration 5): whose host is the sector of pairwise subjects says itself
//! which redirect URIs belong to it. Looked at when a client is registered or changed, and never again.

use grantlog_domain::client::ClientMetadata;

use super::remote::{FetchError, Remote};

/// Largest document that is read, in bytes.
const BYTES_MAX: usize = 65_536;

/// Why a client does not belong to the sector that it names. The text says nothing of what was found there.
#[derive(Debug, thiserror::Error)]
pub enum SectorError {
    #[error("sector_identifier_uri: the document cannot be read")]
    Unreadable(#[source] FetchError),
    #[error("sector_identifier_uri: the document is no JSON array of texts")]
    NoList,
    #[error("sector_identifier_uri: the document does not have all of the redirect_uris")]
    NotListed,
}

/// Whether the document at `sector_identifier_uri`, if there is one, has every redirect URI. With `before`, only what was
/// not checked then is asked.
///
/// # Errors
/// See [`SectorError`].
pub async fn check(
    remote: &Remote,
    metadata: &ClientMetadata,
    before: Option<&ClientMetadata>,
) -> Result<(), SectorError> {
    let Some(uri) = &metadata.openid.sector_identifier_uri else { return Ok(()) };
    let is_same = |before: &ClientMetadata| {
        before.openid.sector_identifier_uri.as_ref() == Some(uri) && before.redirect_uris == metadata.redirect_uris
    };
    if before.is_some_and(is_same) {
        return Ok(());
    }
    let document = remote.fetch(uri, BYTES_MAX).await.map_err(SectorError::Unreadable)?;
    let listed: Vec<String> = serde_json::from_slice(&document).map_err(|_| SectorError::NoList)?;
    let is_listed = |uri: &str| listed.iter().any(|listed| listed == uri);
    if metadata.redirect_uris.iter().all(|uri| is_listed(uri.as_str())) { Ok(()) } else { Err(SectorError::NotListed) }
}
