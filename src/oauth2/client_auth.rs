//! How the client proves itself at the token endpoint (RFC 6749 §2.3.1).

use bytes::Bytes;
use http::HeaderValue;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use crate::fault::FetchError;
use crate::secret::Secret;

const SCHEME: &str = "Basic ";

/// What the names of the two members take.
const MEMBERS: usize = "&client_id=&client_secret=".len();

/// How the client id and secret are sent. Never probed: the application says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// `client_secret_basic`: in the `Authorization` header.
    Basic(BasicEncoding),
    /// `client_secret_post`: in the form.
    Post,
}

/// What is done to the id and the secret before they are base64-encoded for Basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BasicEncoding {
    /// Form-urlencoded, as RFC 6749 §2.3.1 says.
    FormEncoded,
    /// As they are, for servers that do not decode them.
    Raw,
}

impl Default for ClientAuth {
    fn default() -> Self {
        Self::Basic(BasicEncoding::FormEncoded)
    }
}

impl ClientAuth {
    /// A stable label, which names the method in store keys.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Basic(BasicEncoding::FormEncoded) => "client_secret_basic",
            Self::Basic(BasicEncoding::Raw) => "client_secret_basic_raw",
            Self::Post => "client_secret_post",
        }
    }

    /// The header that proves the client, or the members it adds to the form.
    pub(super) fn apply(
        self,
        client_id: &str,
        secret: &Secret,
        form: &mut String,
    ) -> Result<Option<HeaderValue>, FetchError> {
        match self {
            Self::Post => {
                let secret = secret.expose();
                // Room for the longest form, so that growing leaves no copy of the secret behind.
                form.reserve(3 * (client_id.len() + secret.len()) + MEMBERS);
                Serializer::new(form)
                    .append_pair("client_id", client_id)
                    .append_pair("client_secret", secret);
                Ok(None)
            }
            Self::Basic(encoding) => {
                let proof = basic(encoding, client_id, secret);
                // Wiped when the last user of the header is gone.
                let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(proof))
                    .map_err(|_| FetchError::permanent("the client does not fit in a header"))?;
                value.set_sensitive(true);
                Ok(Some(value))
            }
        }
    }

    /// Every form in which a server that repeats what it got could show the secret.
    pub(super) fn echoes(self, client_id: &str, secret: &Secret) -> [Zeroizing<String>; 3] {
        let sent = match self {
            Self::Basic(encoding) => basic(encoding, client_id, secret),
            Self::Post => Zeroizing::default(),
        };
        [
            Zeroizing::new(sent.trim_start_matches(SCHEME).to_owned()),
            Zeroizing::new(byte_serialize(secret.expose().as_bytes()).collect()),
            Zeroizing::new(secret.expose().to_owned()),
        ]
    }
}

fn basic(encoding: BasicEncoding, id: &str, secret: &Secret) -> Zeroizing<String> {
    let secret = secret.expose();
    // Room for the longest form, as in a form.
    let mut pair = Zeroizing::new(String::with_capacity(3 * (id.len() + secret.len()) + 1));
    match encoding {
        BasicEncoding::FormEncoded => {
            pair.extend(byte_serialize(id.as_bytes()));
            pair.push(':');
            pair.extend(byte_serialize(secret.as_bytes()));
        }
        BasicEncoding::Raw => {
            pair.push_str(id);
            pair.push(':');
            pair.push_str(secret);
        }
    }
    let encoded = Zeroizing::new(base64_simd::STANDARD.encode_to_string(pair.as_bytes()));
    let mut proof = Zeroizing::new(String::with_capacity(SCHEME.len() + encoded.len()));
    proof.push_str(SCHEME);
    proof.push_str(&encoded);
    proof
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "svc:special+id";
    const SECRET: &str = "p@ss:w/rd+%20&=?~";

    fn decoded(encoding: BasicEncoding) -> String {
        let mut form = String::new();
        let header = ClientAuth::Basic(encoding)
            .apply(ID, &Secret::from(SECRET), &mut form)
            .expect("fits")
            .expect("a header");
        assert!(header.is_sensitive() && form.is_empty());
        let text = header.to_str().expect("ascii").strip_prefix("Basic ");
        let decoded = base64_simd::STANDARD.decode_to_vec(text.expect("scheme"));
        String::from_utf8(decoded.expect("base64")).expect("utf8")
    }

    #[test]
    fn basic_credentials_are_form_encoded_before_base64() {
        assert_eq!(
            decoded(BasicEncoding::FormEncoded),
            "svc%3Aspecial%2Bid:p%40ss%3Aw%2Frd%2B%2520%26%3D%3F%7E"
        );
        assert_eq!(decoded(BasicEncoding::Raw), format!("{ID}:{SECRET}"));
    }

    #[test]
    fn every_form_in_which_a_secret_is_sent_is_known() {
        const IN_A_FORM: &str = "p%40ss%3Aw%2Frd%2B%2520%26%3D%3F%7E";
        let base64 = |pair: String| base64_simd::STANDARD.encode_to_string(pair);
        for (method, header) in [
            (
                ClientAuth::default(),
                base64(format!("svc%3Aspecial%2Bid:{IN_A_FORM}")),
            ),
            (
                ClientAuth::Basic(BasicEncoding::Raw),
                base64(format!("{ID}:{SECRET}")),
            ),
            (ClientAuth::Post, String::new()),
        ] {
            let echoes = method.echoes(ID, &Secret::from(SECRET));
            assert_eq!(
                echoes.each_ref().map(|e| e.as_str()),
                [&*header, IN_A_FORM, SECRET]
            );
        }
    }
}
