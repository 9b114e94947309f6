//! What a record is stored under.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::frame;

/// Names what a record is of: which kind of value, of which issuer, for which client, scope and
/// parameters.
///
/// Two credentials have the same key only if their issuer would give both the same token: all
/// that is asked with counts, but for the client secret, which a key outlives, and the order of
/// scopes, which means nothing (RFC 6749 §3.3). A key set's key is its issuer and where its keys
/// come from.
///
/// The key itself is the SHA-256 digest of all that in one canonical form, which stays the same
/// from version to version. The parts can be read for the sake of people; parameters may hold
/// secrets and cannot. `Display` writes the kind and the digest: `token-4f…`.
#[derive(Clone)]
pub struct StoreKey(Arc<Parts>);

struct Parts {
    kind: StoreKind,
    issuer: Box<str>,
    client_id: Box<str>,
    scope: Box<str>,
    digest: [u8; 32],
}

/// What is stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreKind {
    /// A key set.
    Keys,
    /// An access token.
    Token,
}

impl StoreKind {
    /// A stable label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Token => "token",
        }
    }
}

/// Begins every canonical form.
const FORM: &str = "midil-auth/store-key/1";

impl StoreKey {
    /// The token of a client-credentials grant.
    pub(crate) fn of_grant(
        token_url: &str,
        client_id: &str,
        client_auth: &str,
        scope: Option<&str>,
        parameters: &[(String, String)],
    ) -> Self {
        let mut scopes: Vec<_> = scope.unwrap_or_default().split_ascii_whitespace().collect();
        scopes.sort_unstable();
        scopes.dedup();
        // Values of one name keep their order, which may mean something to the server.
        let mut parameters: Vec<_> = parameters.iter().collect();
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        let parameters: Vec<_> = parameters
            .iter()
            .flat_map(|(name, value)| [name, value])
            .collect();
        let form = frame::write(&[
            FORM.as_bytes(),
            StoreKind::Token.as_str().as_bytes(),
            b"client_credentials",
            token_url.as_bytes(),
            client_id.as_bytes(),
            client_auth.as_bytes(),
            &frame::write(&scopes),
            &frame::write(&parameters),
        ]);
        Self::new(
            StoreKind::Token,
            token_url,
            client_id,
            &scopes.join(" "),
            &form,
        )
    }

    /// The token of a source of the application's own, named by
    /// [`Credential::stored_as`](crate::oauth2::Credential::stored_as).
    #[must_use]
    pub fn of_source(name: &str) -> Self {
        let form = frame::write(&[FORM, StoreKind::Token.as_str(), "source", name]);
        Self::new(StoreKind::Token, name, "", "", &form)
    }

    /// The key set of an issuer: how it is found, where, and on which hosts.
    pub(crate) fn of_keys(issuer: &str, how: &str, place: &str, hosts: &str) -> Self {
        let form = frame::write(&[FORM, StoreKind::Keys.as_str(), how, issuer, place, hosts]);
        Self::new(StoreKind::Keys, issuer, "", "", &form)
    }

    fn new(kind: StoreKind, issuer: &str, client_id: &str, scope: &str, form: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, form).as_ref());
        Self(Arc::new(Parts {
            kind,
            issuer: issuer.into(),
            client_id: client_id.into(),
            scope: scope.into(),
            digest: bytes,
        }))
    }

    /// A token or a key set.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.0.kind
    }

    /// The issuer of a key set, the token endpoint of a token, or the name given to a source.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The client a token is for; empty for anything else.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// The scope a token is asked with, sorted; empty for none.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.0.scope
    }

    /// SHA-256 of the canonical form: the key itself.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }
}

impl PartialEq for StoreKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for StoreKey {}

impl Hash for StoreKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.0.kind.as_str())?;
        self.0
            .digest
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreKey")
            .field("kind", &self.0.kind)
            .field("issuer", &self.0.issuer)
            .field("client_id", &self.0.client_id)
            .field("scope", &self.0.scope)
            .field("digest", &format_args!("{self}"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URL: &str = "https://idp.example.com/token";

    fn grant(scope: Option<&str>, parameters: &[(&str, &str)]) -> StoreKey {
        let owned: Vec<_> = parameters
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        StoreKey::of_grant(URL, "orders", "client_secret_basic", scope, &owned)
    }

    #[test]
    fn the_form_stays_the_same_from_version_to_version() {
        assert_eq!(
            grant(Some("b a"), &[("resource", "https://api.example.com")]).to_string(),
            "token-5ef2f0d629e826fbdc36ba2ab8102519f5a07dd1e3a8d20b7587a4fbfa04c336"
        );
        assert_eq!(
            StoreKey::of_keys(
                "https://idp.example.com",
                "url",
                "https://idp.example.com/keys",
                ""
            )
            .to_string(),
            "keys-88df4f8240f39326a9094de2a4e8e6879924130de24d953af31192875561c855"
        );
    }

    #[test]
    fn the_order_of_scopes_means_nothing_and_all_else_does() {
        assert_eq!(grant(Some("a b"), &[]), grant(Some(" b  a a"), &[]));
        assert_eq!(grant(None, &[]), grant(Some(""), &[]));
        let parameters = [("audience", "x"), ("resource", "1"), ("resource", "2")];
        let moved = [("resource", "1"), ("audience", "x"), ("resource", "2")];
        assert_eq!(grant(None, &parameters), grant(None, &moved));
        let keys = [
            grant(None, &[]),
            grant(Some("a"), &[]),
            grant(Some("A"), &[]),
            grant(Some("a b"), &[]),
            grant(Some("ab"), &[]),
            grant(None, &[("resource", "1")]),
            grant(None, &[("audience", "1")]),
            grant(None, &[("resource", "1"), ("resource", "2")]),
            grant(None, &[("resource", "2"), ("resource", "1")]),
            grant(None, &[("resource", "1\u{0}resource\u{0}2")]),
            StoreKey::of_grant(URL, "orders", "client_secret_post", None, &[]),
            StoreKey::of_grant(URL, "order", "client_secret_basic", None, &[]),
            StoreKey::of_grant(
                "https://idp.example.com/",
                "orders",
                "client_secret_basic",
                None,
                &[],
            ),
            StoreKey::of_source(URL),
            StoreKey::of_source("orders"),
            StoreKey::of_keys(URL, "openid-configuration", "", ""),
            StoreKey::of_keys(URL, "openid-configuration", "", "issuer_host_only"),
            StoreKey::of_keys(URL, "url", "", ""),
            StoreKey::of_keys(URL, "url", URL, ""),
            StoreKey::of_keys(URL, "source", URL, ""),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn debug_shows_no_parameter() {
        let text = format!("{:?}", grant(Some("a"), &[("assertion", "canary-51")]));
        assert!(
            text.contains("orders") && !text.contains("canary"),
            "{text}"
        );
    }

    proptest! {
        /// What is told apart by its parts is told apart by its key.
        #[test]
        fn different_grants_have_different_keys(
            a in prop::collection::vec("[ab]{0,3}", 5),
            b in prop::collection::vec("[ab]{0,3}", 5),
        ) {
            let key = |parts: &[String]| {
                let parameters = [(parts[3].clone(), parts[4].clone())];
                StoreKey::of_grant(&parts[0], &parts[1], &parts[2], None, &parameters)
            };
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }
}
