//! HTTP/1.1 as SPEC and RFC 9112 want it at the edge, written a second time: slow, simple, and sharing no code with the
//! library. Where the two differ, one of them is wrong.

/// Limits that both sides use; small, so that a fuzzer gets there.
pub const HEAD_BYTES: usize = 1024;
/// Bytes of a target.
pub const URI_BYTES: usize = 128;
/// Fields of a head.
pub const FIELDS: usize = 12;
/// Bytes of a body.
pub const BODY_BYTES: usize = 256;
/// Room in a request line beside the target.
const LINE_SLACK: usize = 64;
/// Members of `Via`.
const HOPS: usize = 4;

/// How a chunked body goes on.
pub enum Chunked {
    /// Not by the rules.
    Bad,
    /// The payload so far; more must come.
    Partial(Vec<u8>),
    /// The payload, and the length of its encoding.
    Whole(Vec<u8>, usize),
}

/// Decodes the chunked coding at the start of `bytes`.
pub fn chunked(bytes: &[u8]) -> Chunked {
    let (mut payload, mut at) = (Vec::new(), 0);
    loop {
        let size = match chunk_line(&bytes[at..]) {
            Err(()) => return Chunked::Bad,
            Ok(None) => return Chunked::Partial(payload),
            Ok(Some((size, taken))) => {
                at += taken;
                size
            }
        };
        if size == 0 {
            return match trailers(&bytes[at..]) {
                Err(()) => Chunked::Bad,
                Ok(None) => Chunked::Partial(payload),
                Ok(Some(taken)) => Chunked::Whole(payload, at + taken),
            };
        }
        let rest = &bytes[at..];
        let data = (rest.len() as u64).min(size) as usize;
        payload.extend_from_slice(&rest[..data]);
        if (data as u64) < size {
            return Chunked::Partial(payload);
        }
        match &rest[data..] {
            [] | [b'\r'] => return Chunked::Partial(payload),
            [b'\r', b'\n', ..] => at += data + 2,
            _ => return Chunked::Bad,
        }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// A size line: at most 12 digits, at most 256 bytes of extension with its `;` not counted.
fn chunk_line(bytes: &[u8]) -> Result<Option<(u64, usize)>, ()> {
    let (line, whole) = match bytes.iter().position(|b| *b == b'\r') {
        Some(end) => (&bytes[..end], true),
        None => (bytes, false),
    };
    let digits = line.iter().position(|b| *b == b';').unwrap_or(line.len());
    let (size, extension) = line.split_at(digits);
    let bad_size = size.len() > 12 || !size.iter().all(u8::is_ascii_hexdigit);
    let extension = extension.get(1..).unwrap_or_default();
    if bad_size || extension.len() > 256 || !extension.iter().all(|b| is_text(*b)) {
        return Err(());
    }
    if size.is_empty() && (whole || digits < line.len()) {
        return Err(());
    }
    if !whole {
        return Ok(None);
    }
    match bytes.get(line.len() + 1) {
        None => Ok(None),
        Some(b'\n') => {
            let text = std::str::from_utf8(size).map_err(|_| ())?;
            Ok(Some((u64::from_str_radix(text, 16).map_err(|_| ())?, line.len() + 2)))
        }
        Some(_) => Err(()),
    }
}

/// Lines up to an empty one; at most 8 KiB of text in all.
fn trailers(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let (mut at, mut text) = (0, 0);
    loop {
        let rest = &bytes[at..];
        let end = rest.iter().position(|b| *b == b'\r');
        let line = &rest[..end.unwrap_or(rest.len())];
        text += line.len();
        if text > 8192 || !line.iter().all(|b| is_text(*b)) {
            return Err(());
        }
        let Some(end) = end else { return Ok(None) };
        match rest.get(end + 1) {
            None => return Ok(None),
            Some(b'\n') => at += end + 2,
            Some(_) => return Err(()),
        }
        if line.is_empty() {
            return Ok(Some(at));
        }
    }
}

/// The framing of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Nothing,
    /// That many bytes.
    Bytes(u64),
    /// Chunked.
    Chunks,
}

/// A request head that is to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Method.
    pub method: String,
    /// Path and query, without scheme and authority.
    pub target: String,
    /// Of the body.
    pub framing: Framing,
    /// HTTP/1.1, not 1.0.
    pub one_one: bool,
    /// The client's connection may go on.
    pub persistent: bool,
    /// Offers an upgrade that may be passed on.
    pub upgrade: bool,
    /// Lower-case name and value, as sent.
    pub fields: Vec<(String, Vec<u8>)>,
}

/// What stands at the start of a stream.
#[derive(Debug)]
pub enum Start {
    /// More must come.
    Partial,
    /// It is to be refused.
    Refused,
    /// A head of this length.
    Whole(Head, usize),
}

/// Reads the head at the start of `bytes`, which are not empty lines.
pub fn head(bytes: &[u8]) -> Start {
    let Some(first) = bytes.first() else { return Start::Partial };
    if !is_token(&[*first]) {
        return Start::Refused;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let seen = &bytes[..end.unwrap_or(bytes.len())];
    let bare = seen.iter().enumerate().any(|(at, b)| *b == b'\n' && (at == 0 || seen[at - 1] != b'\r'));
    let line = seen.iter().position(|b| *b == b'\n').unwrap_or(seen.len());
    if bare
        || line >= URI_BYTES + LINE_SLACK && seen.len() > URI_BYTES + LINE_SLACK
        || seen.len() > HEAD_BYTES
    {
        return Start::Refused;
    }
    match end {
        None => Start::Partial,
        Some(len) => match whole_head(&bytes[..len - 4]) {
            Some(head) => Start::Whole(head, len),
            None => Start::Refused,
        },
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn whole_head(bytes: &[u8]) -> Option<Head> {
    let text: Vec<u8> = bytes.to_vec();
    let mut lines = Vec::new();
    let mut rest = &text[..];
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    let fields = lines[1..].iter().map(|line| field(line)).collect::<Option<Vec<_>>>()?;
    if fields.len() > FIELDS {
        return None;
    }
    let words: Vec<&[u8]> = lines[0].split(|b| *b == b' ').collect();
    let [method, target, version] = words[..] else { return None };
    let one_one = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    if !is_token(method) || method == b"CONNECT" || method == b"TRACE" || target.len() > URI_BYTES {
        return None;
    }
    let method = String::from_utf8_lossy(method).into_owned();
    let (authority, target) = split_target(&method, std::str::from_utf8(target).ok()?)?;
    judge(method, authority, target, one_one, fields)
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) || !value.iter().all(|b| is_text(*b)) {
        return None;
    }
    let value = value.trim_ascii().to_vec();
    Some((String::from_utf8_lossy(name).to_ascii_lowercase(), value))
}

/// Authority of an absolute form, and path with query.
fn split_target(method: &str, target: &str) -> Option<(Option<String>, String)> {
    if !target.bytes().all(|b| (0x21..=0x7e).contains(&b)) || target.contains('#') {
        return None;
    }
    if target == "*" {
        return (method == "OPTIONS").then(|| (None, "*".into()));
    }
    let (authority, target) = if target.starts_with('/') {
        (None, target.to_owned())
    } else {
        let (scheme, rest) = target.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let slash = if rest[end..].starts_with('/') { "" } else { "/" };
        (Some(rest[..end].to_owned()), format!("{slash}{}", &rest[end..]))
    };
    if authority.as_ref().is_some_and(|text| !authority_is_good(text)) {
        return None;
    }
    let path = target.split('?').next().unwrap_or_default();
    path_is_clear(path).then_some((authority, target))
}

fn authority_is_good(text: &str) -> bool {
    let (host, port) = match (text.rfind(':'), text.ends_with(']')) {
        (Some(colon), false) => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    if port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    if let Some(inner) = host.strip_prefix('[') {
        let Some(inner) = inner.strip_suffix(']') else { return false };
        return !inner.is_empty() && inner.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.');
    }
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=".contains(c))
}

/// Decodes the path by hand: no escape may hide a slash, and no segment may be `.` or `..`, with or without parameters.
fn path_is_clear(path: &str) -> bool {
    let (bytes, mut plain, mut at) = (path.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' {
            return false;
        }
        if byte != b'%' {
            plain.push((byte, false));
            at += 1;
            continue;
        }
        let Some([high, low]) = bytes.get(at + 1..at + 3) else { return false };
        let (Some(high), Some(low)) = ((*high as char).to_digit(16), (*low as char).to_digit(16)) else {
            return false;
        };
        let decoded = (high * 16 + low) as u8;
        if matches!(decoded, b'/' | b'\\' | 0) {
            return false;
        }
        plain.push((decoded, true));
        at += 3;
    }
    let mut segments = plain.split(|(byte, _)| *byte == b'/');
    !segments.any(|segment| {
        let end = segment.iter().position(|(byte, escaped)| *byte == b';' && !escaped);
        let name = &segment[..end.unwrap_or(segment.len())];
        (name.len() == 1 || name.len() == 2) && name.iter().all(|(byte, _)| *byte == b'.')
    })
}

/// The members of a comma-separated list.
fn members(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    text.split(',').map(|member| member.trim_matches([' ', '\t']).to_owned()).collect()
}

fn judge(
    method: String,
    authority: Option<String>,
    target: String,
    one_one: bool,
    fields: Vec<(String, Vec<u8>)>,
) -> Option<Head> {
    let all = |name: &str| {
        fields.iter().filter(|(each, _)| each == name).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let listed = |name: &str| all(name).iter().flat_map(|value| members(value)).collect::<Vec<_>>();
    let hosts = all("host");
    if hosts.len() > 1 || hosts.is_empty() && one_one {
        return None;
    }
    if let Some(host) = hosts.first() {
        let host = std::str::from_utf8(host).ok().filter(|host| authority_is_good(host))?;
        if authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
            return None;
        }
    }
    let framing = framing(&all("content-length"), &all("transfer-encoding"), one_one)?;
    if all("expect").iter().any(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return None;
    }
    if listed("via").iter().filter(|member| !member.is_empty()).count() > HOPS {
        return None;
    }
    let connection = listed("connection");
    let says = |option: &str| connection.iter().any(|each| each == option);
    let protocols = listed("upgrade");
    let bodiless = matches!(framing, Framing::Nothing | Framing::Bytes(0));
    let upgrade = one_one && method == "GET" && bodiless && says("upgrade") && !all("upgrade").is_empty();
    Some(Head {
        one_one,
        persistent: !says("close") && (one_one || says("keep-alive")),
        upgrade: upgrade && !protocols.iter().any(|protocol| protocol == "h2c"),
        method,
        target,
        framing,
        fields: fields.clone(),
    })
}

fn framing(lengths: &[Vec<u8>], codings: &[Vec<u8>], one_one: bool) -> Option<Framing> {
    let mut length: Option<u64> = None;
    for member in lengths.iter().flat_map(|value| members(value)) {
        if member.is_empty() || !member.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = member.parse().ok()?;
        if length.is_some_and(|other| other != number) {
            return None;
        }
        length = Some(number);
    }
    match (codings, length) {
        ([], None) => Some(Framing::Nothing),
        ([], Some(length)) => Some(Framing::Bytes(length)),
        ([one], None) if one_one && one.eq_ignore_ascii_case(b"chunked") => Some(Framing::Chunks),
        _ => None,
    }
}
