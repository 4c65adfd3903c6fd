//! The table of `offers.rs`: whose offer, to whom, what is changed, and what must come of it.

use std::fmt;

/// To whom an offer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// WHEP of a session with VP8 and sound.
    Viewer,
    /// WHIP into it.
    Publisher,
    /// Its microphone.
    Microphone,
    /// WHEP of a session with H264 baseline and without sound.
    CameraViewer,
    /// WHIP into it.
    Camera,
    /// WHIP into a session whose process decodes what comes.
    Process,
}

/// One offer.
pub struct Row {
    /// Why it is what it is: an RFC and its section, or the client.
    pub why: &'static str,
    pub to: To,
    shape: &'static str,
    /// What is replaced, each wherever it stands; all of it must be there.
    edits: &'static [(&'static str, &'static str)],
    /// 201 stands for what is answered.
    pub status: u16,
    /// Parts of the answer, or of the refusal.
    pub has: &'static [&'static str],
    pub lacks: &'static [&'static str],
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.why, self.to)
    }
}

impl Row {
    /// The text that is sent.
    pub fn offer(&self) -> String {
        let mut text = self.shape.to_owned();
        if matches!(self.to, To::Viewer | To::CameraViewer) {
            text = text.replace("a=sendonly", "a=recvonly");
        }
        for (from, to) in self.edits {
            assert!(text.contains(from), "{self}: no {from:?} in\n{text}");
            text = text.replace(from, to);
        }
        text.replace('\n', "\r\n")
    }
}

const CHROMIUM: &str = include_str!("offers/chromium.sdp");
const FIREFOX: &str = include_str!("offers/firefox.sdp");
const SAFARI: &str = include_str!("offers/safari.sdp");
const GSTREAMER: &str = include_str!("offers/gstreamer.sdp");
const FFMPEG: &str = include_str!("offers/ffmpeg.sdp");
const OBS: &str = include_str!("offers/obs.sdp");
const LIBDATACHANNEL: &str = include_str!("offers/libdatachannel.sdp");
const AIORTC: &str = include_str!("offers/aiortc.sdp");
const WERIFT: &str = include_str!("offers/werift.sdp");
const PION: &str = include_str!("offers/pion.sdp");
const RFC9725: &str = include_str!("offers/rfc9725.sdp");

type Edits = &'static [(&'static str, &'static str)];

const fn taken(
    why: &'static str,
    to: To,
    shape: &'static str,
    edits: Edits,
    has: &'static [&'static str],
) -> Row {
    Row { why, to, shape, edits, status: 201, has, lacks: &[] }
}

const fn taken_without(
    why: &'static str,
    to: To,
    shape: &'static str,
    edits: Edits,
    has: &'static [&'static str],
    lacks: &'static [&'static str],
) -> Row {
    Row { why, to, shape, edits, status: 201, has, lacks }
}

const fn refused(
    why: &'static str,
    to: To,
    shape: &'static str,
    edits: Edits,
    status: u16,
    word: &'static [&'static str],
) -> Row {
    Row { why, to, shape, edits, status, has: word, lacks: &[] }
}

use To::{Camera, CameraViewer, Microphone, Process, Publisher, Viewer};

pub const TABLE: &[Row] = &[
    // As the clients send them.
    taken(
        "Chromium watches",
        Viewer,
        CHROMIUM,
        &[],
        &["m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n", "a=setup:passive"],
    ),
    taken(
        "Chromium publishes",
        Publisher,
        CHROMIUM,
        &[],
        &["a=group:BUNDLE 0 1\r\n", "a=recvonly", "a=rtcp-mux-only"],
    ),
    taken("Chromium speaks", Microphone, CHROMIUM, &[], &["m=video 0 ", "a=group:BUNDLE 0\r\n"]),
    taken(
        "Chromium watches H264",
        CameraViewer,
        CHROMIUM,
        &[],
        &["profile-level-id=42001f", "m=audio 0 ", "a=group:BUNDLE 1\r\n"],
    ),
    taken(
        "RFC 3264, 6: refused sound still names a codec that both have, which werift wants",
        CameraViewer,
        CHROMIUM,
        &[],
        &["m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n", "a=rtpmap:111 opus/48000/2\r\n", "a=group:BUNDLE 1\r\n"],
    ),
    taken("Chromium publishes H264", Camera, CHROMIUM, &[], &["m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n"]),
    taken("Chromium publishes into a process", Process, CHROMIUM, &[], &["VP8/90000"]),
    taken(
        "Firefox watches",
        Viewer,
        FIREFOX,
        &[],
        &["m=audio 9 UDP/TLS/RTP/SAVPF 109\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 120 124\r\n"],
    ),
    taken("Firefox publishes", Publisher, FIREFOX, &[], &["VP8/90000"]),
    taken("Firefox speaks", Microphone, FIREFOX, &[], &["opus/48000/2"]),
    taken(
        "Firefox watches H264",
        CameraViewer,
        FIREFOX,
        &[],
        &["m=video 9 UDP/TLS/RTP/SAVPF 126 127\r\n", "profile-level-id=42e01f"],
    ),
    taken("Firefox publishes H264", Camera, FIREFOX, &[], &["m=video 9 UDP/TLS/RTP/SAVPF 126 127\r\n"]),
    taken("Safari watches", Viewer, SAFARI, &[], &["m=video 9 UDP/TLS/RTP/SAVPF 100 101\r\n"]),
    taken("Safari publishes", Publisher, SAFARI, &[], &["VP8/90000"]),
    taken("Safari speaks", Microphone, SAFARI, &[], &["opus"]),
    taken("Safari watches H264", CameraViewer, SAFARI, &[], &["profile-level-id=42e01f"]),
    taken(
        "Safari publishes H264 high",
        Process,
        SAFARI,
        &[],
        &["m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n", "profile-level-id=640c1f"],
    ),
    taken(
        "GStreamer publishes (whipsink, video first)",
        Publisher,
        GSTREAMER,
        &[],
        &["a=mid:video0", "a=mid:audio1", "m=audio 9 "],
    ),
    taken("GStreamer watches (whepsrc)", Viewer, GSTREAMER, &[], &["a=group:BUNDLE video0 audio1\r\n"]),
    taken("GStreamer into a process", Process, GSTREAMER, &[], &["VP8/90000"]),
    taken("FFmpeg publishes (a=setup:passive)", Camera, FFMPEG, &[], &["a=setup:active", "m=audio 0 "]),
    taken(
        "FFmpeg publishes into a process",
        Process,
        FFMPEG,
        &[],
        &["a=setup:active", "m=video 9 UDP/TLS/RTP/SAVPF 106 105\r\n"],
    ),
    taken("FFmpeg that begins DTLS itself", Camera, FFMPEG, &[("passive", "active")], &["a=setup:passive"]),
    taken(
        "FFmpeg without sound names a section that is not there",
        Process,
        FFMPEG,
        &[("m=audio 9", "m=audio 0")],
        &["a=group:BUNDLE 1\r\n"],
    ),
    taken(
        "OBS publishes",
        Camera,
        OBS,
        &[],
        &["m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "profile-level-id=42e01f"],
    ),
    taken(
        "OBS publishes high profile into a process",
        Process,
        OBS,
        &[("42e01f", "640032")],
        &["profile-level-id=640032"],
    ),
    taken(
        "OBS publishes main profile into a process",
        Process,
        OBS,
        &[("42e01f", "4d001f")],
        &["profile-level-id=4d001f"],
    ),
    taken(
        "libdatachannel publishes beside data",
        Publisher,
        LIBDATACHANNEL,
        &[],
        &["m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "a=group:BUNDLE video audio\r\n"],
    ),
    taken("libdatachannel watches", Viewer, LIBDATACHANNEL, &[], &["a=mid:data"]),
    taken("libdatachannel speaks", Microphone, LIBDATACHANNEL, &[], &["m=video 0 "]),
    taken(
        "aiortc publishes, each section with a transport",
        Publisher,
        AIORTC,
        &[],
        &["a=group:BUNDLE 0 1\r\n"],
    ),
    taken("aiortc watches", Viewer, AIORTC, &[], &["m=video 9 UDP/TLS/RTP/SAVPF 97 98\r\n"]),
    taken("aiortc watches H264", CameraViewer, AIORTC, &[], &["profile-level-id=42001f"]),
    taken("werift publishes", Publisher, WERIFT, &[], &["m=video 9 UDP/TLS/RTP/SAVPF 97\r\n"]),
    taken("werift watches", Viewer, WERIFT, &[], &["m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"]),
    taken("Pion publishes (and MediaMTX)", Publisher, PION, &[], &["a=mid:0"]),
    taken("Pion watches (and MediaMTX)", Viewer, PION, &[], &["a=mid:1"]),
    taken("Pion publishes H264", Camera, PION, &[], &["profile-level-id=42001f"]),
    taken("RFC 9725, 4.2: its own example", Publisher, RFC9725, &[], &["m=video 9 ", "a=rtcp-mux-only"]),
    taken("RFC 9725, 4.2, to watch (Eyevinn, medooze)", Viewer, RFC9725, &[], &["m=video 9 "]),
    taken("RFC 9725, 4.2, to speak", Microphone, RFC9725, &[], &["m=audio 9 "]),
    // RFC 8866, the session's lines.
    taken("RFC 8866, 5.3: a session name of one space", Viewer, CHROMIUM, &[("s=-", "s= ")], &[]),
    taken("RFC 8866, 5.3: a session name that is empty", Viewer, CHROMIUM, &[("s=-", "s=")], &[]),
    taken("RFC 8866, 5.3: a session name with a tab", Viewer, CHROMIUM, &[("s=-", "s=a\tb")], &[]),
    taken("RFC 8866, 5.3: no session name", Viewer, CHROMIUM, &[("s=-\n", "")], &[]),
    taken(
        "RFC 8866, 5.4 to 5.6: information, address, e-mail, phone",
        Viewer,
        CHROMIUM,
        &[("t=0 0", "i=x\nu=http://x\ne=a@b\np=+1\nt=0 0")],
        &[],
    ),
    taken(
        "RFC 8866, 5.8: two bandwidths of the session",
        Viewer,
        CHROMIUM,
        &[("t=0 0", "b=AS:1\nb=TIAS:2\nt=0 0")],
        &[],
    ),
    taken(
        "RFC 8866, 5.8: two bandwidths of a section",
        Viewer,
        CHROMIUM,
        &[("a=rtcp:9", "b=AS:1000\nb=TIAS:1000000\na=rtcp:9")],
        &[],
    ),
    taken(
        "RFC 8866, 5.8: an unknown bandwidth",
        Publisher,
        CHROMIUM,
        &[("a=rtcp:9", "b=X-ab:1\na=rtcp:9")],
        &[],
    ),
    taken(
        "RFC 8866, 5.4: a section's title",
        Viewer,
        CHROMIUM,
        &[("c=IN IP4 0.0.0.0", "i=a title\nc=IN IP4 0.0.0.0")],
        &[],
    ),
    taken(
        "RFC 8866, 5.7: several addresses",
        Viewer,
        CHROMIUM,
        &[("c=IN IP4 0.0.0.0", "c=IN IP4 224.2.1.1/127\nc=IN IP4 224.2.1.2/127")],
        &[],
    ),
    taken(
        "RFC 8866, 5.7: an address of the session only",
        Viewer,
        CHROMIUM,
        &[("c=IN IP4 0.0.0.0\n", ""), ("t=0 0", "c=IN IP6 ::\nt=0 0")],
        &[],
    ),
    taken("RFC 8866, 5.7: no address at all", Viewer, CHROMIUM, &[("c=IN IP4 0.0.0.0\n", "")], &[]),
    taken(
        "RFC 8866, 5.9: a session that was scheduled",
        Viewer,
        CHROMIUM,
        &[("t=0 0", "t=2873397496 2873404696")],
        &[],
    ),
    taken(
        "RFC 8866, 5.10: repeated, in two time zones, with a key",
        Viewer,
        CHROMIUM,
        &[("t=0 0", "t=0 0\nr=7d 1h 0 25h\nt=1 2\nz=2882844526 -1h\nk=clear:x")],
        &[],
    ),
    taken(
        "RFC 8866, 5.2: a long session id",
        Viewer,
        CHROMIUM,
        &[("8234567890123456789", "82345678901234567890123456789012345678")],
        &[],
    ),
    taken(
        "RFC 8866, 5.2: a session id that is no number",
        Viewer,
        CHROMIUM,
        &[("8234567890123456789", "abc")],
        &[],
    ),
    taken("RFC 8866, 5: unknown letters", Viewer, CHROMIUM, &[("t=0 0", "t=0 0\nx=1")], &[]),
    taken(
        "RFC 8866, 5.13: unknown attributes",
        Viewer,
        CHROMIUM,
        &[("a=rtcp-rsize", "a=rtcp-rsize\na=x-y:z\na=flag")],
        &[],
    ),
    taken(
        "RFC 8866, 5: empty lines at the end",
        Viewer,
        CHROMIUM,
        &[("a=extmap-allow-mixed\n", "a=extmap-allow-mixed\n\n\n")],
        &[],
    ),
    taken(
        "RFC 8866, 5: white space at line ends",
        Viewer,
        CHROMIUM,
        &[("a=mid:0\n", "a=mid:0  \n")],
        &["a=mid:0\r\n"],
    ),
    taken("RFC 8866, 9: not ASCII", Viewer, CHROMIUM, &[("s=-", "s=Übertragung 流")], &[]),
    refused("RFC 8866, 5.9: no time", Viewer, CHROMIUM, &[("t=0 0", "t=x")], 400, &["line 4"]),
    refused("RFC 8866, 5.1: another version", Viewer, CHROMIUM, &[("v=0", "v=1")], 400, &["v=0"]),
    refused("RFC 8866, 5: no line", Viewer, CHROMIUM, &[("t=0 0", "hello")], 400, &["line 4"]),
    refused("RFC 8866, 5: a capital letter", Viewer, CHROMIUM, &[("t=0 0", "T=0 0")], 400, &["line 4"]),
    refused("RFC 8866, 5: a control character", Viewer, CHROMIUM, &[("s=-", "s=\u{1}")], 400, &["line 3"]),
    refused("RFC 8866, 5.14: no port", Viewer, CHROMIUM, &[("m=audio 9 ", "m=audio x ")], 400, &["line 8"]),
    refused(
        "RFC 8866, 5.14: too short",
        Viewer,
        CHROMIUM,
        &[("m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", "m=audio 9")],
        400,
        &["line 8"],
    ),
    taken(
        "RFC 8866, 5.14: a number of ports",
        Viewer,
        CHROMIUM,
        &[("m=audio 9 ", "m=audio 9/2 ")],
        &["m=audio 9 "],
    ),
    // RFC 8866 and 3264, directions.
    taken("RFC 8866, 6.7: no direction is both", Viewer, CHROMIUM, &[("a=recvonly\n", "")], &["a=sendonly"]),
    taken(
        "RFC 8866, 6.7: no direction to publish",
        Publisher,
        CHROMIUM,
        &[("a=sendonly\n", "")],
        &["a=recvonly"],
    ),
    taken(
        "RFC 8866, 6.7: no direction to speak",
        Microphone,
        CHROMIUM,
        &[("a=sendonly\n", "")],
        &["a=recvonly"],
    ),
    taken(
        "RFC 8866, 6.7: the session's direction",
        Viewer,
        CHROMIUM,
        &[("a=recvonly\n", ""), ("t=0 0\n", "t=0 0\na=recvonly\n")],
        &["a=sendonly"],
    ),
    taken(
        "RFC 8866, 6.7: a section's direction before the session's",
        Publisher,
        CHROMIUM,
        &[("t=0 0\n", "t=0 0\na=recvonly\n")],
        &["a=recvonly"],
    ),
    taken(
        "RFC 3264, 6.1: both directions, to watch",
        Viewer,
        CHROMIUM,
        &[("a=recvonly", "a=sendrecv")],
        &["a=sendonly"],
    ),
    taken(
        "RFC 3264, 6.1: both directions, to publish",
        Publisher,
        CHROMIUM,
        &[("a=sendonly", "a=sendrecv")],
        &["a=recvonly"],
    ),
    taken(
        "RFC 8866, 6.7: the same direction twice",
        Viewer,
        CHROMIUM,
        &[("a=recvonly", "a=recvonly\na=recvonly")],
        &[],
    ),
    refused(
        "RFC 8866, 6.7: two directions",
        Viewer,
        CHROMIUM,
        &[("a=recvonly", "a=recvonly\na=sendonly")],
        422,
        &["one direction"],
    ),
    refused(
        "RFC 9725, 4.2: a publisher that only receives",
        Publisher,
        CHROMIUM,
        &[("a=sendonly", "a=recvonly")],
        422,
        &["sendonly"],
    ),
    refused(
        "WHEP: a viewer that only sends",
        Viewer,
        CHROMIUM,
        &[("a=recvonly", "a=sendonly")],
        422,
        &["recvonly"],
    ),
    refused(
        "a microphone that only receives",
        Microphone,
        CHROMIUM,
        &[("a=sendonly", "a=recvonly")],
        422,
        &["send"],
    ),
    refused(
        "RFC 3264, 6.1: nothing goes anywhere",
        Viewer,
        CHROMIUM,
        &[("a=recvonly", "a=inactive")],
        422,
        &["nothing in common"],
    ),
    taken(
        "RFC 3264, 6.1: sound goes nowhere",
        Viewer,
        FIREFOX,
        &[("a=recvonly\na=extmap:1", "a=inactive\na=extmap:1")],
        &["m=audio 0 ", "a=group:BUNDLE 1\r\n"],
    ),
    // RFC 3264 and 9143, sections.
    taken(
        "RFC 3264, 6: a rejected section without mid or direction",
        Viewer,
        FIREFOX,
        &[("m=video 9", "m=audio 0 UDP/TLS/RTP/SAVPF 0\nc=IN IP4 0.0.0.0\nm=video 9")],
        &["m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n"],
    ),
    taken(
        "RFC 3264, 6: a rejected section first",
        Viewer,
        CHROMIUM,
        &[("m=audio 9", "m=video 0 UDP/TLS/RTP/SAVPF 0\nm=audio 9")],
        &["m=video 0 UDP/TLS/RTP/SAVPF 0\r\n"],
    ),
    taken(
        "RFC 3264, 6: audio rejected first",
        Viewer,
        CHROMIUM,
        &[("m=audio 9", "m=audio 0")],
        &["m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", "a=group:BUNDLE 1\r\n"],
    ),
    taken(
        "RFC 3264, 6: a rejected section with another protocol",
        Publisher,
        CHROMIUM,
        &[("m=audio 9", "m=image 0 udptl t38\nm=audio 9")],
        &["m=image 0 udptl t38\r\n"],
    ),
    taken(
        "RFC 3264, 6: text and messages",
        Viewer,
        CHROMIUM,
        &[(
            "m=video 9",
            "m=text 9 UDP/TLS/RTP/SAVPF 98\na=mid:t\nm=message 9 TCP/MSRP *\na=mid:x\nm=video 9",
        )],
        &["m=text 0 UDP/TLS/RTP/SAVPF 98", "m=message 0 TCP/MSRP *", "a=mid:x"],
    ),
    taken(
        "RFC 8841: data that nobody takes",
        Publisher,
        CHROMIUM,
        &[(
            "m=audio 9",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:d\na=sctp-port:5000\nm=audio 9",
        )],
        &["m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"],
    ),
    taken(
        "RFC 8841: data over TCP",
        Publisher,
        CHROMIUM,
        &[("m=audio 9", "m=application 9 TCP/DTLS/SCTP 5000\na=mid:d\nm=audio 9")],
        &["m=application 0 TCP/DTLS/SCTP 5000\r\n"],
    ),
    taken(
        "RFC 3264, 6: only a codec that is not here",
        Viewer,
        CHROMIUM,
        &[("m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8", "m=audio 9 UDP/TLS/RTP/SAVPF 9 0 8")],
        &["m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", "a=group:BUNDLE 1\r\n"],
    ),
    taken(
        "RFC 3264, 6: sound alone",
        Viewer,
        CHROMIUM,
        &[("m=video 9", "m=video 0")],
        &["a=group:BUNDLE 0\r\n"],
    ),
    refused(
        "RFC 3264, 6: everything is rejected",
        Viewer,
        CHROMIUM,
        &[("m=video 9", "m=video 0"), ("m=audio 9", "m=audio 0")],
        422,
        &["not rejected"],
    ),
    refused(
        "more than one video",
        Publisher,
        WERIFT,
        &[("m=audio 9", "m=video 9"), ("opus/48000/2", "VP8/90000")],
        422,
        &["at most one"],
    ),
    refused(
        "too many sections",
        Viewer,
        CHROMIUM,
        &[(
            "t=0 0\n",
            "t=0 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\nm=text 0 x 0\n",
        )],
        422,
        &["too many"],
    ),
    // RFC 9429, protocols.
    taken(
        "RFC 9429, 5.1.2: RTP/SAVPF",
        Viewer,
        CHROMIUM,
        &[("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")],
        &["m=audio 9 RTP/SAVPF 111\r\n"],
    ),
    taken(
        "RFC 9429, 5.1.2: UDP/TLS/RTP/SAVP",
        Publisher,
        CHROMIUM,
        &[("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")],
        &["m=video 9 UDP/TLS/RTP/SAVP 96 97\r\n"],
    ),
    taken(
        "RFC 9429, 5.1.2: TCP/DTLS/RTP/SAVPF",
        Viewer,
        CHROMIUM,
        &[("UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF")],
        &["m=audio 9 TCP/DTLS/RTP/SAVPF 111\r\n"],
    ),
    taken(
        "RFC 9429, 5.1.2: TCP/DTLS/RTP/SAVP to speak",
        Microphone,
        CHROMIUM,
        &[("UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP")],
        &["m=audio 9 TCP/DTLS/RTP/SAVP 111\r\n"],
    ),
    taken(
        "RFC 9429, 5.1.2: RTP/SAVP",
        Camera,
        OBS,
        &[("UDP/TLS/RTP/SAVPF", "RTP/SAVP")],
        &["m=video 9 RTP/SAVP 96\r\n"],
    ),
    refused(
        "RFC 8827, 6.5: media without encryption",
        Viewer,
        CHROMIUM,
        &[("UDP/TLS/RTP/SAVPF", "RTP/AVP")],
        422,
        &["SAVPF"],
    ),
    // Payload types.
    taken(
        "RFC 3551, 6: static types without a=rtpmap",
        Viewer,
        CHROMIUM,
        &[("a=rtpmap:0 PCMU/8000\n", ""), ("a=rtpmap:8 PCMA/8000\n", "")],
        &["m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"],
    ),
    taken(
        "RFC 8866, 6.6: a dynamic type without a=rtpmap",
        Viewer,
        CHROMIUM,
        &[("a=rtpmap:110 telephone-event/48000\n", "")],
        &[],
    ),
    taken(
        "RFC 3550, 5.1: a type over 127 in the list",
        Viewer,
        CHROMIUM,
        &[("SAVPF 111 63", "SAVPF 111 200 63")],
        &["m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"],
    ),
    taken(
        "RFC 3550, 5.1: a type over 127 with its lines",
        Publisher,
        CHROMIUM,
        &[
            ("SAVPF 96 97", "SAVPF 96 97 300"),
            ("a=rtpmap:97", "a=rtpmap:300 VP8/90000\na=fmtp:300 x=1\na=rtcp-fb:300 nack\na=rtpmap:97"),
        ],
        &["m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"],
    ),
    taken(
        "RFC 8866, 6.6: an a=rtpmap of what is not in the list",
        Viewer,
        CHROMIUM,
        &[("a=rtpmap:97", "a=rtpmap:77 H265/90000\na=rtpmap:97")],
        &[],
    ),
    taken(
        "RFC 8866, 6.6: names in another case",
        Viewer,
        CHROMIUM,
        &[("opus/48000/2", "OPUS/48000/2"), ("VP8/90000", "vp8/90000")],
        &["m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 96"],
    ),
    taken(
        "RFC 6184, 8.1: white space in parameters",
        Camera,
        OBS,
        &[(
            "profile-level-id=42e01f;packetization-mode=1;",
            "profile-level-id=42e01f; packetization-mode=1 ; ",
        )],
        &[],
    ),
    taken(
        "RFC 4585, 4.2: feedback for all types",
        Publisher,
        CHROMIUM,
        &[("a=rtcp-fb:96 nack\na=rtcp-fb:96 nack pli\n", "a=rtcp-fb:* nack\na=rtcp-fb:* nack pli\n")],
        &["a=rtcp-fb:96 nack pli"],
    ),
    taken(
        "RFC 6184, 8.1: H264 without a profile is baseline",
        Camera,
        OBS,
        &[("profile-level-id=42e01f;", "")],
        &["m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"],
    ),
    refused(
        "RFC 6184, 8.2.2: another profile, which is named",
        CameraViewer,
        OBS,
        &[("42e01f", "640032")],
        422,
        &["H264 high", "H264 baseline"],
    ),
    refused(
        "RFC 6184, 8.2.2: main profile, which is named",
        Camera,
        OBS,
        &[("42e01f", "4d001f")],
        422,
        &["H264 main"],
    ),
    refused(
        "RFC 6184, 5.4: packetization mode 0",
        Camera,
        OBS,
        &[("packetization-mode=1", "packetization-mode=0")],
        422,
        &["packetization-mode=1"],
    ),
    refused("no codec in common", Viewer, WERIFT, &[("VP8/90000", "VP9/90000")], 422, &["VP8"]),
    refused(
        "a microphone without Opus",
        Microphone,
        WERIFT,
        &[("opus/48000/2", "PCMU/8000")],
        422,
        &["Opus"],
    ),
    refused(
        "RFC 9143, 10.1.1: one type for two codecs",
        Publisher,
        WERIFT,
        &[("97", "96")],
        422,
        &["payload type"],
    ),
    // Sources and streams.
    taken(
        "RFC 5576, 4.1: a source without an attribute",
        Publisher,
        CHROMIUM,
        &[("a=ssrc:2718281828 cname:TbS1Ajv9obq6/63I\n", "a=ssrc:2718281828\n")],
        &[],
    ),
    taken(
        "RFC 5576, 4.1: an attribute of a source without a value",
        Publisher,
        CHROMIUM,
        &[("a=ssrc:2718281828 cname:TbS1Ajv9obq6/63I\n", "a=ssrc:2718281828 x\na=mid2:x\n")],
        &[],
    ),
    taken(
        "RFC 5576, 4.2: groups of other kinds",
        Publisher,
        CHROMIUM,
        &[("a=ssrc-group:FID", "a=ssrc-group:FEC-FR 3141592653 7\na=ssrc-group:FID")],
        &[],
    ),
    taken(
        "RFC 8853, 5: layers",
        Publisher,
        RFC9725,
        &[("a=fmtp:97 apt=96", "a=fmtp:97 apt=96\na=rid:h send\na=rid:l send\na=simulcast:send h;l")],
        &["a=rid:h recv", "a=simulcast:recv h;l"],
    ),
    taken(
        "RFC 8830, 2: a stream without a track",
        Publisher,
        CHROMIUM,
        &[(" 7d27ad91-4770-4a4d-a053-2b06233753d2\na=rtcp-mux", "\na=rtcp-mux")],
        &[],
    ),
    refused(
        "RFC 5576, 4.1: one source in two sections",
        Publisher,
        WERIFT,
        &[("1002", "1001")],
        422,
        &["SSRC"],
    ),
    // Header extensions.
    taken("RFC 8285, 6: numbers to be chosen", Viewer, CHROMIUM, &[("a=extmap:13 ", "a=extmap:4096 ")], &[]),
    taken(
        "RFC 8285, 5: extensions of the session",
        Viewer,
        CHROMIUM,
        &[("a=extmap-allow-mixed", "a=extmap:9 urn:x-y\na=extmap-allow-mixed")],
        &[],
    ),
    taken(
        "RFC 8285, 5: directions and attributes",
        Viewer,
        CHROMIUM,
        &[("a=extmap:13 urn:3gpp:video-orientation", "a=extmap:13/recvonly urn:3gpp:video-orientation a b")],
        &[],
    ),
    refused(
        "RFC 8285, 5: a number that is none",
        Viewer,
        CHROMIUM,
        &[("a=extmap:13 ", "a=extmap:0 ")],
        422,
        &["a=extmap"],
    ),
    // RFC 9143, BUNDLE and names.
    taken(
        "RFC 9143, 7.2: a group in another order",
        Viewer,
        CHROMIUM,
        &[("BUNDLE 0 1", "BUNDLE 1 0")],
        &["a=mid:0"],
    ),
    taken(
        "RFC 9143, 7.2: a group with names that are not there",
        Viewer,
        CHROMIUM,
        &[("BUNDLE 0 1", "BUNDLE 0 1 2 x")],
        &["a=group:BUNDLE 0 1\r\n"],
    ),
    taken(
        "RFC 5888, 5: groups of other kinds",
        Viewer,
        CHROMIUM,
        &[("a=group:BUNDLE 0 1", "a=group:LS 0 1\na=group:BUNDLE 0 1\na=group:FID 0 1")],
        &["a=group:BUNDLE 0 1\r\n"],
    ),
    taken_without(
        "RFC 9143, 7.3.1: the group's first is not answered",
        CameraViewer,
        AIORTC,
        &[],
        &["a=group:BUNDLE 1\r\n"],
        &["BUNDLE 0"],
    ),
    taken("RFC 9143, 7.2.1: bundle-only without a transport", Publisher, RFC9725, &[], &["m=video 9 "]),
    taken(
        "RFC 9143, 9.3: bundle-only without a=rtcp-mux",
        Publisher,
        RFC9725,
        &[(
            "a=msid:- d46fb922-d52a-4e9c-aa87-444eadc1521b\na=rtcp-mux\na=rtcp-mux-only\na=rtpmap:96",
            "a=rtpmap:96",
        )],
        &["m=video 9 "],
    ),
    taken(
        "RFC 8858, 3: exclusive multiplexing only",
        Viewer,
        CHROMIUM,
        &[("a=rtcp-mux\n", "a=rtcp-mux-only\n")],
        &["a=rtcp-mux\r\n"],
    ),
    taken(
        "RFC 5888, 4: a name of more than 16 letters",
        Viewer,
        CHROMIUM,
        &[
            ("BUNDLE 0 1", "BUNDLE the-name-of-the-first-section 1"),
            ("a=mid:0", "a=mid:the-name-of-the-first-section"),
        ],
        &["a=mid:the-name-of-the-first-section\r\n", "a=group:BUNDLE the-name-of-the-first-section 1\r\n"],
    ),
    taken(
        "RFC 5888, 4: names with other signs",
        Publisher,
        CHROMIUM,
        &[("BUNDLE 0 1", "BUNDLE {a}-b.c ~$"), ("a=mid:0", "a=mid:{a}-b.c"), ("a=mid:1", "a=mid:~$")],
        &["a=mid:{a}-b.c\r\n", "a=mid:~$\r\n"],
    ),
    taken(
        "RFC 5888, 4: names that begin alike",
        Publisher,
        CHROMIUM,
        &[
            ("BUNDLE 0 1", "BUNDLE aaaaaaaaaaaaaaaaaaaa1 aaaaaaaaaaaaaaaaaaaa2"),
            ("a=mid:0", "a=mid:aaaaaaaaaaaaaaaaaaaa1"),
            ("a=mid:1", "a=mid:aaaaaaaaaaaaaaaaaaaa2"),
        ],
        &["a=mid:aaaaaaaaaaaaaaaaaaaa1\r\n", "a=mid:aaaaaaaaaaaaaaaaaaaa2\r\n"],
    ),
    refused(
        "RFC 5888, 4: a name that is no token",
        Viewer,
        CHROMIUM,
        &[("a=mid:0", "a=mid:a b")],
        400,
        &["a=mid"],
    ),
    refused(
        "RFC 5888, 4: one name for two sections",
        Viewer,
        CHROMIUM,
        &[("a=mid:1", "a=mid:0")],
        422,
        &["a=mid"],
    ),
    refused(
        "RFC 9143, 7.2: a section without a name",
        Viewer,
        CHROMIUM,
        &[("a=mid:1\n", "")],
        400,
        &["a=mid"],
    ),
    refused("RFC 9143, 7.2: no group", Viewer, CHROMIUM, &[("a=group:BUNDLE 0 1\n", "")], 422, &["BUNDLE"]),
    refused(
        "RFC 9143, 7.2: a section out of the group",
        Viewer,
        CHROMIUM,
        &[("BUNDLE 0 1", "BUNDLE 0")],
        422,
        &["BUNDLE"],
    ),
    refused(
        "one transport, two groups",
        Viewer,
        CHROMIUM,
        &[("a=group:BUNDLE 0 1", "a=group:BUNDLE 0\na=group:BUNDLE 1")],
        422,
        &["BUNDLE"],
    ),
    refused("RFC 9143, 9.3: no multiplexing", Viewer, CHROMIUM, &[("a=rtcp-mux\n", "")], 422, &["rtcp-mux"]),
    // RFC 8839, 8842 and 8122, the transport.
    taken("RFC 8839, 5.4: parameters of the session", Viewer, OBS, &[("H264/90000", "VP8/90000")], &[]),
    taken(
        "RFC 8839, 5.1: candidates with extensions in any order",
        Viewer,
        CHROMIUM,
        &[(
            "a=mid:0",
            "a=candidate:1 1 UDP 2122260223 192.0.2.1 61764 typ host generation 0 ufrag Y28C network-id 1\na=candidate:2 1 tcp 1 192.0.2.1 9 typ host tcptype active generation 0\na=mid:0",
        )],
        &[],
    ),
    taken(
        "RFC 8839, 5.1: candidates with names",
        Viewer,
        CHROMIUM,
        &[(
            "a=mid:0",
            "a=candidate:1 1 udp 1 1b7c9a3e-0000-4000-8000-000000000000.local 5 typ host\na=mid:0",
        )],
        &[],
    ),
    taken(
        "RFC 8839, 5.1: what is no candidate",
        Viewer,
        CHROMIUM,
        &[("a=mid:0", "a=candidate:nonsense\na=mid:0")],
        &[],
    ),
    taken(
        "clients in the wild: a user fragment with other signs",
        Viewer,
        CHROMIUM,
        &[("a=ice-ufrag:Y28C", "a=ice-ufrag:Y2-8_C=")],
        &[],
    ),
    taken(
        "RFC 8122, 5: hash and bytes in the other case",
        Viewer,
        CHROMIUM,
        &[("a=fingerprint:sha-256 57:1C", "a=fingerprint:SHA-256 57:1c")],
        &[],
    ),
    taken(
        "RFC 8122, 5: several certificates",
        Viewer,
        CHROMIUM,
        &[(
            "a=fingerprint:sha-256",
            "a=fingerprint:sha-512 00:11\na=fingerprint:sha-1 00:11\na=fingerprint:sha-256",
        )],
        &[],
    ),
    taken(
        "RFC 8842, 5.2: no side of DTLS",
        Viewer,
        CHROMIUM,
        &[("a=setup:actpass\n", "")],
        &["a=setup:passive"],
    ),
    taken(
        "RFC 8842, 5.2: the offerer begins",
        Viewer,
        CHROMIUM,
        &[("actpass", "active")],
        &["a=setup:passive"],
    ),
    refused(
        "RFC 8842: a viewer that makes us begin",
        Viewer,
        CHROMIUM,
        &[("actpass", "passive")],
        422,
        &["a=setup"],
    ),
    refused(
        "RFC 8842: a microphone that makes us begin",
        Microphone,
        CHROMIUM,
        &[("actpass", "passive")],
        422,
        &["a=setup"],
    ),
    refused("RFC 4145, 4: nobody begins", Publisher, CHROMIUM, &[("actpass", "holdconn")], 422, &["a=setup"]),
    refused(
        "RFC 8445, 6.1.1: both sides are ICE-lite",
        Publisher,
        CHROMIUM,
        &[("t=0 0", "t=0 0\na=ice-lite")],
        422,
        &["a=ice-lite"],
    ),
    refused(
        "RFC 8839, 5.4: a short user fragment",
        Viewer,
        CHROMIUM,
        &[("a=ice-ufrag:Y28C", "a=ice-ufrag:Y28")],
        400,
        &["ice-ufrag"],
    ),
    refused(
        "RFC 8445, 7.2.2: no check has room for so long a USERNAME",
        Viewer,
        CHROMIUM,
        &[(
            "a=ice-ufrag:Y28C",
            "a=ice-ufrag:Y28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28CY28C",
        )],
        400,
        &["ice-ufrag"],
    ),
    refused(
        "RFC 8839, 5.4: no password",
        Viewer,
        CHROMIUM,
        &[("a=ice-pwd:W6fHYINgGi9QF0BHdM/kchTW\n", "")],
        400,
        &["ice-pwd"],
    ),
    refused(
        "RFC 8827, 5: no certificate",
        Viewer,
        CHROMIUM,
        &[("a=fingerprint", "a=x")],
        400,
        &["fingerprint"],
    ),
    refused(
        "RFC 8122, 5: a hash that nobody checks",
        Viewer,
        CHROMIUM,
        &[("a=fingerprint:sha-256", "a=fingerprint:md5")],
        400,
        &["sha-256"],
    ),
];
