//! Another implementation opens what we protect: Cisco's libsrtp, by way of pylibsrtp.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use hydraneckwebrtc::media::srtp::{Header, Profile, Sealer, SendKey, Side};

use crate::aiortc;

/// Names of the sender, and of what is sent again.
const SSRC: u32 = 0xCAFE_0001;
const REPAIRING: u32 = 0xCAFE_0002;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the program is told line by line, and what it must say.
struct Lines {
    told: String,
    expected: Vec<String>,
}

/// Key material as a handshake exports it, and our half of it as libsrtp takes it.
fn material(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    let length = profile.key_length();
    let all: Vec<u8> = (0..2 * (length + 12)).map(|byte| (byte * 7 + 3) as u8).collect();
    let ours = [&all[length..2 * length], &all[2 * length + 12..]].concat();
    (all, ours)
}

/// Packets over two rollovers, with gaps and packets that change places, some of them sent again; in both forms of extensions.
fn protect(profile: Profile, lines: &mut Lines) {
    let (material, ours) = material(profile);
    let key = SendKey::of_material(profile, Side::Server, &material).expect("a key");
    let mut sealer = Sealer::new(key).expect("a cipher");
    let (video, repairing) =
        (sealer.open(SSRC).expect("a source"), sealer.open(REPAIRING).expect("a source"));
    lines.told += &format!("{} {}\n", if profile == Profile::Aes128Gcm { 128 } else { 256 }, hex(&ours));
    let extensions: [&[(u8, &[u8])]; 3] = [&[(4, b"0")], &[(15, b"video")], &[]];
    let numbers =
        (65_000..65_540).chain(70_000..70_003).chain([70_004, 70_003]).chain((70_005..131_100).step_by(900));
    let mut again = 1;
    for (turn, number) in numbers.chain([131_080, 131_071, 131_090]).enumerate() {
        let header = Header::new(96, SSRC, extensions[turn % 3]).expect("a header");
        let payload: Vec<u8> = (0..turn as u32 % 1_200).map(|byte| byte as u8).collect();
        let mut seal = |header: &Header, source, index: u64, payload: &[u8]| {
            let mut room = Vec::new();
            header.write(&mut room, index as u16, turn as u32 * 90, turn % 5 == 0);
            room.extend_from_slice(payload);
            let plain = hex(&room);
            sealer.seal(source, index, &mut room, 0, header.length()).expect("a new number");
            lines.told += &format!("{}\n", hex(&room));
            lines.expected.push(plain);
        };
        seal(&header, video, number, &payload);
        if turn % 7 == 0 {
            let original = (number as u16).to_be_bytes();
            seal(&header.repairing(97, REPAIRING), repairing, again, &[&original[..], &payload].concat());
            again += 1;
        }
    }
}

const OPEN: &str = "
import sys
from pylibsrtp import Policy, Session
session = None
for line in sys.stdin:
    words = line.split()
    if len(words) == 2:
        profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM if words[0] == '128' else Policy.SRTP_PROFILE_AEAD_AES_256_GCM
        session = Session(Policy(key=bytes.fromhex(words[1]), ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
    else:
        print(session.unprotect(bytes.fromhex(words[0])).hex())
";

#[test]
fn libsrtp_opens_what_we_protect_in_both_profiles_over_rollovers_and_sent_again() {
    let python = match aiortc::python() {
        Ok(python) => python,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
            return;
        }
    };
    let mut lines = Lines { told: String::new(), expected: Vec::new() };
    for profile in [Profile::Aes128Gcm, Profile::Aes256Gcm] {
        protect(profile, &mut lines);
    }
    let told = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libsrtp.txt");
    std::fs::write(&told, &lines.told).expect("a file");
    let input = std::fs::File::open(&told).expect("the file");
    let opened =
        Command::new(python).args(["-c", OPEN]).stdin(Stdio::from(input)).stderr(Stdio::inherit()).output();
    let opened = String::from_utf8(opened.expect("Python").stdout).expect("text");
    let opened: Vec<&str> = opened.lines().collect();
    println!("{} of {} packets opened", opened.len(), lines.expected.len());
    assert!(lines.expected.len() > 1_000);
    assert_eq!(opened.len(), lines.expected.len(), "see what libsrtp says above");
    let wrong = opened.iter().zip(&lines.expected).position(|(opened, plain)| opened != plain);
    assert_eq!(wrong, None, "the packet in this place is another");
}
