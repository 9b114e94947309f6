//! Entries into the parsers that are private, for `fuzz/`. No part of the API.

/// The issuer whose metadata [`discovery`] takes.
pub const ISSUER: &str = "https://idp.example.com";

/// Reads what a token endpoint answered.
pub fn token_response(status: u16, body: &[u8]) {
    let Ok(status) = http::StatusCode::from_u16(status) else {
        return;
    };
    oauth2::token_response(status, body);
}

/// Reads a metadata document of [`ISSUER`].
pub fn discovery(body: &[u8]) {
    if let Err(error) = crate::jwks::Discovery::parse(body, ISSUER) {
        let _ = format!("{error} {error:?}");
    }
}

/// The response reader once more: where it stands, it is private.
#[path = "../oauth2"]
mod oauth2 {
    #[expect(
        clippy::duplicate_mod,
        reason = "it costs `testing` a second copy, and the crate no wider visibility"
    )]
    mod response;

    use crate::oauth2::AccessToken;

    pub(super) fn token_response(status: http::StatusCode, body: &[u8]) {
        match response::parse(status, body, None, &[]) {
            Ok(token) => drop(format!("{token:?}")),
            Err(error) => drop(format!("{error} {error:?}")),
        }
    }
}
