//! Header fields: names we act on, list values, framing fields.

use super::names::Names;
use super::{BodyLength, Version};

macro_rules! known_fields {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A field name we act on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the variants are the field names")]
        pub enum Known { $($variant,)* Other }

        static NAMES: Names<Known, { [$($name),*].len() }> = Names::new([$(($name, Known::$variant)),*]);
    };
}

/// Classifies a field name, in any case.
pub fn known(name: &str) -> Known {
    NAMES.find(name).unwrap_or(Known::Other)
}

known_fields! {
    Connection = "connection",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    ContentLength = "content-length",
    Host = "host",
    Expect = "expect",
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    Via = "via",
    Forwarded = "forwarded",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedUser = "x-forwarded-user",
    XForwardedPrefix = "x-forwarded-prefix",
    SecWebSocketKey = "sec-websocket-key",
    AskedMethod = "access-control-request-method",
    NeckForwarded = "neck-forwarded",
    IfNoneMatch = "if-none-match",
    IfModifiedSince = "if-modified-since",
    IfRange = "if-range",
    Range = "range",
    Http2Settings = "http2-settings",
    ContentType = "content-type",
    ContentEncoding = "content-encoding",
    ContentDisposition = "content-disposition",
    CacheControl = "cache-control",
    ETag = "etag",
    LastModified = "last-modified",
    AcceptRanges = "accept-ranges",
    Digest = "digest",
    ContentDigest = "content-digest",
    ReprDigest = "repr-digest",
    ContentMd5 = "content-md5",
    Csp = "content-security-policy",
    Cookie = "cookie",
    ProxyAuthorization = "proxy-authorization",
    WebSocketExtensions = "sec-websocket-extensions",
    MethodOverride = "x-http-method-override",
    MethodOverride2 = "x-method-override",
    MethodOverride3 = "x-http-method",
    Link = "link",
}

impl Known {
    /// Meant for one connection only; never passed on (RFC 9110, 7.6.1).
    pub fn hop_by_hop(self) -> bool {
        matches!(
            self,
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::Te
                | Known::Trailer
                | Known::TransferEncoding
                | Known::Upgrade
                | Known::Http2Settings
        )
    }

    /// Makes the reply depend on what the client has; an injected page must not.
    pub fn conditional(self) -> bool {
        matches!(self, Known::IfNoneMatch | Known::IfModifiedSince | Known::IfRange | Known::Range)
    }

    /// Says that the method is another one than it is.
    pub fn overrides_method(self) -> bool {
        matches!(self, Known::MethodOverride | Known::MethodOverride2 | Known::MethodOverride3)
    }

    /// A digest of the body.
    pub fn digest(self) -> bool {
        matches!(self, Known::Digest | Known::ContentDigest | Known::ReprDigest | Known::ContentMd5)
    }
}

/// Whether a field says that the body is encoded.
pub fn is_encoded(field: &httparse::Header<'_>) -> bool {
    known(field.name) == Known::ContentEncoding
        && members(field.value).any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Whether `value` can be sent as a field value: no CR, LF, NUL or other control but tab.
pub fn is_safe_value(value: &[u8]) -> bool {
    value.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f))
}

/// The trimmed, non-empty members of a comma-separated list.
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// What the `Connection` fields of a head say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`
    pub upgrade: bool,
    /// Names further fields, which are then dropped.
    pub names_fields: bool,
}

impl ConnectionOptions {
    /// Adds one `Connection` value.
    pub fn add(&mut self, value: &[u8]) {
        for option in members(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.names_fields = true;
            }
        }
    }

    /// Whether the connection stays open after the message.
    pub fn persistent(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Whether a `Connection` field among `fields` names `name`.
pub fn named_by_connection(fields: &[httparse::Header<'_>], name: &str) -> bool {
    fields
        .iter()
        .filter(|field| known(field.name) == Known::Connection)
        .any(|field| members(field.value).any(|option| option.eq_ignore_ascii_case(name.as_bytes())))
}

/// Collects the framing fields of a head and decides the body's length.
#[derive(Debug, Default)]
pub struct Framing {
    length: Option<u64>,
    codings: u32,
    chunked: bool,
}

impl Framing {
    /// Adds one `Content-Length` value: digits only; repeated equal values count as one.
    pub fn add_length(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if value.is_empty() {
            return Err("Content-Length is empty");
        }
        for member in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            let length = digits(member).ok_or("Content-Length is not a number")?;
            if self.length.is_some_and(|known| known != length) {
                return Err("Content-Length is given twice, differently");
            }
            self.length = Some(length);
        }
        Ok(())
    }

    /// Adds one `Transfer-Encoding` value.
    pub fn add_coding(&mut self, value: &[u8]) {
        // An empty value counts too: it is neither "none" nor "chunked".
        for member in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            self.codings += 1;
            self.chunked = member.eq_ignore_ascii_case(b"chunked");
        }
    }

    /// The body's length as the fields declare it; `None` when they say nothing.
    pub fn declared(&self, version: Version) -> Result<Option<BodyLength>, &'static str> {
        if self.codings == 0 {
            return Ok(self.length.map(BodyLength::Length));
        }
        if version == Version::Http10 {
            return Err("Transfer-Encoding in HTTP/1.0");
        }
        if self.length.is_some() {
            return Err("both Transfer-Encoding and Content-Length");
        }
        if self.codings != 1 || !self.chunked {
            return Err("Transfer-Encoding is not exactly chunked");
        }
        Ok(Some(BodyLength::Chunked))
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, expected) in
            [("Host", Known::Host), ("CONTENT-LENGTH", Known::ContentLength), ("x-other", Known::Other)]
        {
            assert_eq!(known(name), expected, "{name}");
        }
    }

    #[test]
    fn framing_follows_the_table() {
        use BodyLength::{Chunked, Length};
        type Row = (&'static [&'static str], &'static [&'static str], Result<Option<BodyLength>, ()>);
        let table: [Row; 10] = [
            (&[], &[], Ok(None)),
            (&["5"], &[], Ok(Some(Length(5)))),
            (&["5", "5"], &[], Ok(Some(Length(5)))),
            (&["5", "6"], &[], Err(())),
            (&["+5"], &[], Err(())),
            (&["99999999999999999999999"], &[], Err(())),
            (&[], &["chunked"], Ok(Some(Chunked))),
            (&[], &["gzip, chunked"], Err(())),
            (&[], &["chunked", "chunked"], Err(())),
            (&["5"], &["chunked"], Err(())),
        ];
        for (lengths, codings, expected) in table {
            let mut framing = Framing::default();
            let added = lengths.iter().try_for_each(|value| framing.add_length(value.as_bytes()));
            codings.iter().for_each(|value| framing.add_coding(value.as_bytes()));
            let got = added.and_then(|()| framing.declared(Version::Http11)).map_err(|_| ());
            assert_eq!(got, expected, "{lengths:?} {codings:?}");
        }
    }
}
