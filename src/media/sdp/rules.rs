//! What one transport for all media asks of an offer (BUNDLE, RFC 9143): a payload type, a `mid`, an SSRC, a `rid` means one thing.
//!
//! One rule for every role. The WebRTC code behind us takes it for granted: it asserts that no payload type is claimed twice, and sizes
//! its buffers for names of a sane length. Only sections that will be answered with media are looked at; the others never get there.
//!
//! Numbers are read as that code reads them (`+96` and `096` are 96), so that two spellings are no way around.

use std::collections::{HashMap, HashSet};

/// How much a description may name, and what one is told that names more. State is kept for each SSRC.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// SSRCs of all its media sections.
    pub ssrcs: usize,
    /// The words of the refusal.
    pub refusal: Reason,
}

/// Of a viewer's, publisher's or microphone's offer: three layers with their repair, twice over, are twelve SSRCs.
pub const OF_AN_OFFER: Most = Most { ssrcs: 64, refusal: "the offer has more than 64 SSRCs" };

/// Names of streams within one section; browsers have three. State is kept for each.
const MAX_RIDS: usize = 8;

/// Longest `rid`, in bytes: what is kept of one.
const MAX_RID_BYTES: usize = 8;

/// Longest `mid` that is kept, in bytes: what a header extension of one byte carries.
const MAX_MID_BYTES: usize = 16;

/// One media section.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Whether it will be answered with media.
    pub live: bool,
    /// Its lines, `m=` first.
    pub lines: Vec<&'a str>,
}

/// Why an offer is refused: what to change.
pub type Reason = &'static str;

/// Judges the sections of an offer, or of an answer.
pub fn check(sections: &[Section<'_>], most: &Most) -> Result<(), Reason> {
    mids(sections)?;
    let mut bundle = Bundle { most, formats: HashMap::new(), ssrcs: HashMap::new() };
    for section in sections.iter().filter(|section| section.live) {
        if !section.words().nth(2).is_some_and(|protocol| protocol.contains("RTP/SAVP")) {
            return Err("audio and video must be UDP/TLS/RTP/SAVPF");
        }
        bundle.payload_types(section)?;
        bundle.ssrcs(section)?;
        extensions(section)?;
        streams(section)?;
    }
    Ok(())
}

impl<'a> Section<'a> {
    /// Values of `a=NAME:VALUE` lines.
    fn values<'s>(&'s self, name: &'static str) -> impl Iterator<Item = &'a str> + 's {
        let value = move |line: &&'a str| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':');
        self.lines.iter().filter_map(value)
    }

    /// Of the `m=` line: kind, port, protocol, payload types.
    fn words(&self) -> impl Iterator<Item = &'a str> {
        self.lines.first().into_iter().flat_map(|line| line.split(' '))
    }
}

fn mids(sections: &[Section<'_>]) -> Result<(), Reason> {
    let mut seen = HashSet::new();
    for section in sections {
        let mut values = section.values("mid");
        let Some(mid) = values.next() else { continue };
        if values.next().is_some() || !seen.insert(mid) {
            return Err("each media section has one a=mid of its own");
        }
        if mid.is_empty() || mid.len() > MAX_MID_BYTES && section.live {
            return Err("a=mid has 1 to 16 letters");
        }
    }
    Ok(())
}

/// What is taken in the group so far.
struct Bundle<'a> {
    most: &'a Most,
    /// What each payload type stands for.
    formats: HashMap<u8, Format>,
    /// The `mid` whose SSRC it is.
    ssrcs: HashMap<u32, &'a str>,
}

/// A payload type's meaning. Browsers give all sections of a kind the same ones.
#[derive(Clone, PartialEq, Eq)]
struct Format {
    /// `a=rtpmap` in lower case; empty for a static payload type.
    encoding: String,
    /// The payload type that it repairs.
    repairs: Option<u8>,
}

impl<'a> Bundle<'a> {
    fn payload_types(&mut self, section: &Section<'a>) -> Result<(), Reason> {
        for (number, format) in formats(section)? {
            if *self.formats.entry(number).or_insert_with(|| format.clone()) != format {
                return Err(
                    "a payload type stands for one codec in all media sections: they share one transport",
                );
            }
        }
        Ok(())
    }

    fn ssrcs(&mut self, section: &Section<'a>) -> Result<(), Reason> {
        let mid = section.values("mid").next().unwrap_or_default();
        let mut paired = HashSet::new();
        for value in section.values("ssrc") {
            self.ssrc(value.split(' ').next().unwrap_or_default(), mid)?;
        }
        for value in section.values("ssrc-group") {
            let (semantics, numbers) = value.split_once(' ').unwrap_or((value, ""));
            for number in numbers.split(' ').filter(|number| !number.is_empty()) {
                let ssrc = self.ssrc(number, mid)?;
                if semantics.eq_ignore_ascii_case("FID") && !paired.insert(ssrc) {
                    return Err("an SSRC is in one a=ssrc-group:FID only");
                }
            }
        }
        Ok(())
    }

    fn ssrc(&mut self, number: &str, mid: &'a str) -> Result<u32, Reason> {
        let ssrc = number.parse().map_err(|_| "an SSRC is a number of 32 bits")?;
        if *self.ssrcs.entry(ssrc).or_insert(mid) != mid {
            return Err("an SSRC belongs to one media section");
        }
        if self.ssrcs.len() > self.most.ssrcs {
            return Err(self.most.refusal);
        }
        Ok(ssrc)
    }
}

/// The payload types of a section and what they stand for.
fn formats(section: &Section<'_>) -> Result<HashMap<u8, Format>, Reason> {
    let mut formats = HashMap::new();
    for value in section.values("rtpmap") {
        let (number, encoding) = value.split_once(' ').unwrap_or((value, ""));
        let format = Format { encoding: encoding.trim().to_ascii_lowercase(), repairs: None };
        if formats.insert(payload_type(number)?, format).is_some() {
            return Err("a payload type has one a=rtpmap in a media section");
        }
    }
    for number in section.words().skip(3) {
        let number = payload_type(number)?;
        formats.entry(number).or_insert(Format { encoding: String::new(), repairs: None });
    }
    for value in section.values("fmtp") {
        let (number, parameters) = value.split_once(' ').unwrap_or((value, ""));
        let Some(format) = formats.get_mut(&payload_type(number)?) else { continue };
        for repaired in parameters.split(';').filter_map(apt) {
            let repaired = payload_type(repaired)?;
            if format.repairs.replace(repaired).is_some_and(|other| other != repaired) {
                return Err("a payload type repairs one other (apt)");
            }
        }
    }
    Ok(formats)
}

fn apt(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.trim().split_once('=')?;
    name.trim().eq_ignore_ascii_case("apt").then_some(value.trim())
}

fn payload_type(number: &str) -> Result<u8, Reason> {
    let number = number.parse().ok().filter(|number: &u8| *number <= 127);
    number.ok_or("a payload type is a number from 0 to 127")
}

fn extensions(section: &Section<'_>) -> Result<(), Reason> {
    let mut seen: HashMap<u8, &str> = HashMap::new();
    for value in section.values("extmap") {
        let (id, uri) =
            extension(value).ok_or("an a=extmap has a number, 1 to 14 or 16 to 255, and a URI")?;
        if *seen.entry(id).or_insert(uri) != uri {
            return Err("an a=extmap number stands for one header extension");
        }
    }
    Ok(())
}

/// Number and URI of a header extension (RFC 8285): `2/sendonly urn:x parameters`.
pub fn extension(value: &str) -> Option<(u8, &str)> {
    let (id, rest) = value.split_once(' ')?;
    let id = id.split('/').next()?.parse().ok().filter(|id| !matches!(id, 0 | 15))?;
    Some((id, rest.split(' ').next().filter(|uri| !uri.is_empty())?))
}

/// Names of streams within a section, and which of them are layers of one picture.
fn streams(section: &Section<'_>) -> Result<(), Reason> {
    let mut rids = HashSet::new();
    for value in section.values("rid") {
        let (rid, rest) = value.split_once(' ').unwrap_or((value, ""));
        if !(1..=MAX_RID_BYTES).contains(&rid.len()) || !rid.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err("a=rid has 1 to 8 letters and digits");
        }
        if !rest.starts_with("send") {
            return Err("only what is sent is told apart by a=rid: leave out `recv`");
        }
        if !rids.insert(rid) {
            return Err("an a=rid is named once in its media section");
        }
    }
    if rids.len() > MAX_RIDS {
        return Err("a media section has more than 8 a=rid");
    }
    let mut simulcast = section.values("simulcast");
    let Some(layers) = simulcast.next() else { return Ok(()) };
    if simulcast.next().is_some() || !section.lines.first().is_some_and(|line| line.starts_with("m=video ")) {
        return Err("a=simulcast stands once in a section for video");
    }
    self::layers(layers.trim_start(), &rids)
}

fn layers(value: &str, rids: &HashSet<&str>) -> Result<(), Reason> {
    let names = value.strip_prefix("send ").ok_or("a=simulcast is for what is sent: `send`, then names")?;
    if names.contains(' ') {
        return Err("a=simulcast is for what is sent only");
    }
    let mut seen = HashSet::new();
    for name in names.split([';', ',']) {
        let name = name.strip_prefix('~').unwrap_or(name);
        if !rids.contains(name) || !seen.insert(name) {
            return Err("a=simulcast names each a=rid of its section once");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
