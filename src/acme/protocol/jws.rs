//! Signed requests (RFC 7515, RFC 8555 6.2): the text that is signed, and the body that is sent, given a signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The public half of an account's key, P-256 (RFC 7518, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountJwk {
    /// The point's two coordinates.
    pub x: [u8; 32],
    /// The second one.
    pub y: [u8; 32],
}

impl AccountJwk {
    /// The key as JSON, its members in the order that its thumbprint needs (RFC 7638, 3).
    pub fn text(&self) -> String {
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, base64url(&self.x), base64url(&self.y))
    }

    fn value(&self) -> Value {
        json!({"crv": "P-256", "kty": "EC", "x": base64url(&self.x), "y": base64url(&self.y)})
    }
}

/// What signs: the account's key, and the one that the authority gave beforehand. The core has no keys of its own.
pub trait Signer {
    /// The account key's public half.
    fn jwk(&self) -> AccountJwk;
    /// The SHA-256 of [`AccountJwk::text`], as base64url.
    fn thumbprint(&self) -> String;
    /// ES256 with the account's key: 64 bytes (RFC 7518, 3.4). `None`: the provider failed.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
    /// HMAC-SHA256 with the key of `server.acme.eab_key`.
    fn bind(&self, message: &[u8]) -> Vec<u8>;
}

/// Who signs a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'k> {
    /// A key that has no account yet.
    Key,
    /// The account of this URL.
    Account(&'k str),
}

/// The body of a request. An empty payload reads (POST-as-GET, RFC 8555 6.3). `None`: the provider failed.
pub fn body(signer: &dyn Signer, by: By<'_>, (nonce, url): (&str, &str), payload: &str) -> Option<String> {
    let mut protected = json!({"alg": "ES256", "nonce": nonce, "url": url});
    match by {
        By::Key => protected["jwk"] = signer.jwk().value(),
        By::Account(account) => protected["kid"] = account.into(),
    }
    let (protected, payload) = (base64url(protected.to_string().as_bytes()), base64url(payload.as_bytes()));
    let signature = signer.sign(format!("{protected}.{payload}").as_bytes())?;
    Some(json!({"protected": protected, "payload": payload, "signature": base64url(&signature)}).to_string())
}

/// Binds an account to the one that the authority gave beforehand (RFC 8555, 7.3.4).
pub fn binding(signer: &dyn Signer, kid: &str, url: &str) -> Value {
    let protected = json!({"alg": "HS256", "kid": kid, "url": url});
    let protected = base64url(protected.to_string().as_bytes());
    let payload = base64url(signer.jwk().text().as_bytes());
    let signature = signer.bind(format!("{protected}.{payload}").as_bytes());
    json!({"protected": protected, "payload": payload, "signature": base64url(&signature)})
}

/// What proves that the account's holder answers (RFC 8555, 8.1).
pub fn key_authorization(signer: &dyn Signer, token: &str) -> String {
    format!("{token}.{}", signer.thumbprint())
}
