//! Parsing and judging reply heads of upstreams.

use super::fields::{ConnectionOptions, Framing, Known, known, members};
use super::{BodyLength, FieldTable, Version};

/// Bytes of a reply head; more is a broken upstream.
pub const MAX_REPLY_HEAD: usize = 64 * 1024;

/// A reply head that passed every check.
#[derive(Debug)]
pub struct ReplyHead<'h, 'b> {
    /// Status code, 100 to 599.
    pub status: u16,
    /// Reason phrase; may be empty.
    pub reason: &'b str,
    /// All fields as sent.
    pub fields: &'h [httparse::Header<'b>],
    /// Framing of the body as it comes.
    pub body: BodyLength,
    /// What `Connection` says.
    pub connection: ConnectionOptions,
    /// The connection can carry another request after this reply.
    pub keep_alive: bool,
    /// `Content-Length` as declared, whether or not a body follows.
    pub declared_length: Option<u64>,
}

/// Parses the complete reply head at the start of `buf`. The text of the error is for the log.
pub fn parse_reply<'h, 'b>(
    buf: &'b [u8],
    table: &'h mut FieldTable<'b>,
    to_head: ToHead,
) -> Result<ReplyHead<'h, 'b>, &'static str> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, buf, &mut table[..])
        .map_err(|_| "its reply head is not valid HTTP/1")?;
    let (Some(status @ 100..=599), Some(version), true) =
        (response.code, response.version, parsed.is_complete())
    else {
        return Err("its reply head is not valid HTTP/1");
    };
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let mut framing = Framing::default();
    let mut connection = ConnectionOptions::default();
    for field in response.headers.iter() {
        match known(field.name) {
            Known::ContentLength => framing.add_length(field.value)?,
            Known::TransferEncoding => framing.add_coding(field.value),
            Known::Connection => connection.add(field.value),
            _ => {}
        }
    }
    let declared = framing.declared(version)?;
    let bodiless = to_head == ToHead::Yes || matches!(status, 100..=199 | 204 | 304);
    let body = if bodiless { BodyLength::None } else { declared.unwrap_or(BodyLength::UntilClose) };
    Ok(ReplyHead {
        status,
        reason: response.reason.unwrap_or_default(),
        fields: response.headers,
        body,
        connection,
        keep_alive: connection.persistent(version) && body != BodyLength::UntilClose,
        declared_length: match declared {
            Some(BodyLength::Length(length)) => Some(length),
            _ => None,
        },
    })
}

/// Whether the request was HEAD: its reply has no body whatever the fields say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToHead {
    /// It was.
    Yes,
    /// It was not.
    No,
}

impl ReplyHead<'_, '_> {
    /// Whether this is a page that gets a script: 200, HTML in an ASCII-compatible charset, not encoded, not an
    /// attachment, not `no-transform`, and not empty.
    pub fn takes_injection(&self, to_head: ToHead) -> bool {
        let mut html = false;
        for field in self.fields {
            let value = field.value;
            match known(field.name) {
                Known::ContentType => html = is_plain_html(value),
                Known::ContentEncoding if members(value).any(|c| !c.eq_ignore_ascii_case(b"identity")) => {
                    return false;
                }
                Known::ContentDisposition if starts_with(value, b"attachment") => return false,
                Known::CacheControl if members(value).any(|m| m.eq_ignore_ascii_case(b"no-transform")) => {
                    return false;
                }
                _ => {}
            }
        }
        // A reply to HEAD has no body, but the fields of the one that GET would have.
        let body = match (self.body, to_head) {
            (BodyLength::None, ToHead::Yes) => self.declared_length != Some(0),
            (BodyLength::None | BodyLength::Length(0), _) => false,
            _ => true,
        };
        html && self.status == 200 && body
    }

    /// Whether the reply names the protocol it switches to.
    pub fn names_upgrade(&self) -> bool {
        self.connection.upgrade && self.fields.iter().any(|field| known(field.name) == Known::Upgrade)
    }
}

impl ReplyHead<'_, '_> {
    /// Whether what follows a 101 are WebSocket frames.
    pub fn is_websocket(&self) -> bool {
        let upgrades = self.fields.iter().filter(|field| known(field.name) == Known::Upgrade);
        upgrades.flat_map(|field| members(field.value)).any(|name| name.eq_ignore_ascii_case(b"websocket"))
    }

    /// The same, without extensions: texts can be read.
    pub fn is_plain_websocket(&self) -> bool {
        self.is_websocket()
            && !self.fields.iter().any(|field| known(field.name) == Known::WebSocketExtensions)
    }
}

fn starts_with(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn is_plain_html(content_type: &[u8]) -> bool {
    let mut parts = content_type.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
    // In UTF-16 or UTF-32 our tag would be noise.
    html && !parts.any(|p| starts_with(p, b"charset=utf-16") || starts_with(p, b"charset=utf-32"))
}

#[cfg(test)]
mod tests {
    use super::super::field_table;
    use super::*;

    fn parse(head: &str, to_head: ToHead) -> Result<(u16, BodyLength, bool, bool), &'static str> {
        let mut table = field_table();
        let head = parse_reply(head.as_bytes(), &mut table, to_head)?;
        Ok((head.status, head.body, head.keep_alive, head.takes_injection(to_head)))
    }

    #[test]
    fn framing_and_keep_alive_follow_the_table() {
        use BodyLength::{Chunked, Length, None, UntilClose};
        for (head, to_head, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ToHead::No, Ok((200, Length(5), true, false))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ToHead::Yes, Ok((200, None, true, false))),
            ("HTTP/1.1 200 OK\r\n\r\n", ToHead::No, Ok((200, UntilClose, false, false))),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", ToHead::No, Ok((200, Length(5), false, false))),
            ("HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", ToHead::No, Ok((304, None, true, false))),
            ("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n", ToHead::No, Ok((204, None, false, false))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                ToHead::No,
                Ok((200, Chunked, true, false)),
            ),
            (
                "HTTP/1.1 200 \r\nContent-Type: TEXT/HTML; charset=utf-8\r\n\r\n",
                ToHead::No,
                Ok((200, UntilClose, false, true)),
            ),
        ] {
            assert_eq!(parse(head, to_head), expected, "{head:?}");
        }
    }

    #[test]
    fn ambiguous_replies_are_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 999 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "SSH-2.0-x\r\n\r\n",
        ] {
            let got = parse(head, ToHead::No);
            assert!(got.is_err(), "{head:?}: {got:?}");
        }
    }

    #[test]
    fn only_plain_pages_take_an_injection() {
        for (fields, expected) in [
            ("Content-Type: text/html\r\nContent-Length: 9\r\n", true),
            ("Content-Type: text/html\r\nContent-Length: 0\r\n", false),
            ("Content-Type: text/html; charset=UTF-16\r\n", false),
            ("Content-Type: text/plain\r\n", false),
            ("Content-Type: text/html\r\nContent-Encoding: gzip\r\n", false),
            ("Content-Type: text/html\r\nContent-Encoding: identity\r\n", true),
            ("Content-Type: text/html\r\nContent-Disposition: attachment; filename=x\r\n", false),
            ("Content-Type: text/html\r\nCache-Control: private, No-Transform\r\n", false),
        ] {
            let got = parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), ToHead::No).map(|parsed| parsed.3);
            assert_eq!(got, Ok(expected), "{fields:?}");
        }
    }
}
