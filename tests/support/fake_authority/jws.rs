//! What a client signs: the key, the signature and what belongs to them (RFC 8555, 6.2; RFC 7515; RFC 7638).

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The public key of an account: a point of P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    x: String,
    y: String,
}

impl Key {
    fn of(jwk: &Value) -> Option<Key> {
        let part = |name: &str| jwk[name].as_str().map(str::to_owned);
        (jwk["kty"] == "EC" && jwk["crv"] == "P-256").then_some(())?;
        Some(Key { x: part("x")?, y: part("y")? })
    }

    pub fn thumbprint(&self) -> String {
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }

    fn has_signed(&self, message: &str, signature: &[u8]) -> Option<()> {
        let point = [vec![4], decode(&self.x)?, decode(&self.y)?].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message.as_bytes(), signature).ok()
    }
}

/// A request that somebody signed.
pub struct Signed {
    pub nonce: String,
    pub key: Key,
    /// Whose account it is; `None`: it names its key.
    pub account: Option<usize>,
    /// `Null` where nothing is sent along.
    pub payload: Value,
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The error is the name of the problem.
pub fn read(body: &[u8], url: &str, accounts: &[Option<Key>]) -> Result<Signed, &'static str> {
    let malformed = || "malformed";
    let jws: Value = serde_json::from_slice(body).map_err(|_| "malformed")?;
    let text = |name: &str| jws[name].as_str().ok_or("malformed");
    let (head, payload, signature) = (text("protected")?, text("payload")?, text("signature")?);
    let fields: Value =
        decode(head).and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(malformed)?;
    if fields["alg"] != "ES256" || fields["url"] != url {
        return Err("malformed");
    }
    let nonce = fields["nonce"].as_str().ok_or("badNonce")?.to_owned();
    let (account, key) = match fields["kid"].as_str() {
        Some(kid) => {
            let number = kid.rsplit('/').next().and_then(|number| number.parse::<usize>().ok());
            let known = number.and_then(|number| Some((number, accounts.get(number)?.clone()?)));
            let (number, key) = known.ok_or("accountDoesNotExist")?;
            (Some(number), key)
        }
        None => (None, Key::of(&fields["jwk"]).ok_or_else(malformed)?),
    };
    let signature = decode(signature).ok_or_else(malformed)?;
    key.has_signed(&format!("{head}.{payload}"), &signature).ok_or_else(malformed)?;
    let payload = decode(payload).ok_or_else(malformed)?;
    let payload = serde_json::from_slice(&payload).unwrap_or_default();
    Ok(Signed { nonce, key, account, payload })
}
