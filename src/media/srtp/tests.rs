//! Vectors of RFC 3711, 6188 and 7714, and the rule of the nonces over seeds.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::keys::{SessionKey, derive};
use super::seal::Spent;
use super::*;
use crate::media::rtp::gop_cache::Numbering;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn derived(key: &str, salt: &str, label: u8, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    derive(&bytes(key), &bytes(salt).try_into().unwrap(), label, &mut out).unwrap();
    out
}

// SPEC 8 whep: What we protect is as the RFCs have it, and another implementation opens it: over
// rollovers, sent again, both forms of header extensions, both profiles
// Also: `keys_of_256_bits_are_derived_as_rfc_6188_shows`,
// `packets_are_protected_as_rfc_7714_shows`,
// `libsrtp_opens_what_we_protect_in_both_profiles_over_rollovers_and_sent_again`,
// `extensions_have_the_short_form_where_it_can_be`, `each_side_has_its_half_of_the_material`
#[test]
fn keys_are_derived_as_rfc_3711_shows() {
    let (key, salt) = ("E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
    assert_eq!(derived(key, salt, 0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derived(key, salt, 2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
    let long = "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE E049646C43D9327AD175578EF7227098 \
                6371C10C9A369AC2F94A8C5FBCDDDC25 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2";
    assert_eq!(derived(key, salt, 1, 94), bytes(long));
}

#[test]
fn keys_of_256_bits_are_derived_as_rfc_6188_shows() {
    let key = "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6";
    let salt = "3b04803de51ee7c96423ab5b78d2";
    let session = "5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4";
    assert_eq!(derived(key, salt, 0, 32), bytes(session));
    assert_eq!(derived(key, salt, 2, 14), bytes("fa31791685ca444a9e07c6c64e93"));
}

const GALLIA: &str = "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e697320646976697361 20696e20706172746573207472\
                      6573";

/// What the sealer makes of the RFC's packet.
fn gallia(profile: Profile) -> Vec<u8> {
    let key: Vec<u8> = (0..profile.key_length() as u8).collect();
    let salt: [u8; 12] = *b"Quid pro quo";
    let session = SessionKey { profile, key: Zeroizing::new(key), salt: Zeroizing::new(salt) };
    let mut sealer = Sealer::of_session(&session).unwrap();
    let source = sealer.open(0x5501_a0b2).unwrap();
    let mut room = bytes(GALLIA);
    sealer.seal(source, 0xf17b, &mut room, 0, 12).unwrap();
    room
}

#[test]
fn packets_are_protected_as_rfc_7714_shows() {
    let with_128 = "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
                    899d7f27beb16a9152cf765ee4390cce";
    assert_eq!(gallia(Profile::Aes128Gcm), bytes(with_128));
    let with_256 = "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
                    7aa3db36dfffd6b0f9bb7878d7a76c13";
    assert_eq!(gallia(Profile::Aes256Gcm), bytes(with_256));
}

/// RFC 7714, 17: a sender's report, 0x5d4th of its source.
const REPORT: &str = "81c8000d4d617273 4e5450314e545032 525450200000042a 0000e9304c756e61 deadbeefdeadbeef deadbeefdeadbeef deadbeef";
const PROTECTED: &str = "81c8000d4d617273 63e94885dcdab67c a727d7662f6b7e99 7ff5c0f76c06f32d c676a5f1730d6fda 4ce09b4686303ded 0bb9275b \
                         c84aa45896cf4d2f c5abf87245d9eade 800005d4";

fn opener() -> Opener {
    let (key, salt) = (Zeroizing::new((0..16).collect()), Zeroizing::new(*b"Quid pro quo"));
    Opener::of_session(&SessionKey { profile: Profile::Aes128Gcm, key, salt }).unwrap()
}

// SPEC 8 whep: What a viewer reports is opened by us, each report once, and read; what is none of
// the peer's is not heard; anything unusual is left to the WebRTC library (fuzz target `srtp`)
// Also: `a_report_that_is_not_encrypted_is_not_heard`,
// `reports_losses_and_wishes_are_read_out_of_a_compound`,
// `what_is_understood_is_gleaned_and_whatever_else_there_is_passed_over`,
// `what_is_too_short_for_its_kind_says_nothing_and_padding_is_left_out`
#[test]
fn reports_are_opened_as_rfc_7714_shows_and_once() {
    let (mut opener, mut room) = (opener(), Vec::new());
    let protected = bytes(PROTECTED);
    for place in 0..protected.len() {
        let mut broken = protected.clone();
        broken[place] ^= 1;
        assert_eq!(opener.open(&broken, &mut room), None, "byte {place}");
        assert_eq!(opener.open(&protected[..place], &mut room), None, "{place} bytes");
    }
    assert_eq!(opener.open(&protected, &mut room), Some(&bytes(REPORT)[..]));
    assert_eq!(opener.open(&protected, &mut room), None, "it came before");
}

#[test]
fn a_report_that_is_not_encrypted_is_not_heard() {
    let tagged = [REPORT, "841dd9683dd78ec92ae58790125f62b3 000005d4"].concat();
    assert_eq!(opener().open(&bytes(&tagged), &mut Vec::new()), None);
}

#[test]
fn each_side_has_its_half_of_the_material() {
    for profile in [Profile::Aes128Gcm, Profile::Aes256Gcm] {
        let length = profile.key_length();
        let material = [vec![1; length], vec![2; length], vec![3; 12], vec![4; 12]].concat();
        let swapped = [vec![2; length], vec![1; length], vec![4; 12], vec![3; 12]].concat();
        let session = |side, material: &[u8]| {
            let session = SendKey::of_material(profile, side, material).unwrap().derive().unwrap();
            (session.key.to_vec(), session.salt.to_vec())
        };
        assert_eq!(session(Side::Client, &material), session(Side::Server, &swapped));
        let reports = |side, material: &[u8]| {
            let session = ReceiveKey::of_material(profile, side, material).unwrap().derive().unwrap();
            (session.key.to_vec(), session.salt.to_vec())
        };
        assert_eq!(reports(Side::Client, &material), reports(Side::Server, &swapped));
        assert_ne!(reports(Side::Client, &material), session(Side::Server, &material), "media has another");
        assert_ne!(session(Side::Client, &material), session(Side::Server, &material));
        for wrong in [&material[1..], &[]] {
            assert!(SendKey::of_material(profile, Side::Server, wrong).is_none(), "{} bytes", wrong.len());
        }
    }
}

// SPEC 8 whep: Keys of media are never shown, and wiped when they go
// Also: `keys_are_taken_out_of_their_slot_once`
#[test]
fn keys_are_never_shown() {
    let material: Vec<u8> = (0..56).map(|byte| byte ^ 0x5a).collect();
    let key = SendKey::of_material(Profile::Aes128Gcm, Side::Server, &material).unwrap();
    let shown = format!("{key:?} {:?}", key.derive().unwrap());
    assert_eq!(shown, "SendKey(Aes128Gcm, ***) SessionKey(Aes128Gcm, ***)");
}

fn sealer() -> Sealer {
    Sealer::new(SendKey::of_material(Profile::Aes128Gcm, Side::Server, &[9; 56]).unwrap()).unwrap()
}

fn packet(ssrc: u32, index: u64) -> Vec<u8> {
    let mut room = Vec::new();
    Header::new(96, ssrc, &[]).unwrap().write(&mut room, index as u16, 0, false);
    room.extend([7; 20]);
    room
}

#[test]
fn nothing_is_protected_twice_and_a_source_has_one_owner() {
    let mut sealer = sealer();
    let source = sealer.open(7).unwrap();
    assert_eq!(sealer.open(7), None);
    let mut seal = |index: u64| sealer.seal(source, index, &mut packet(7, index), 0, 12);
    assert_eq!(seal(5), Ok(()));
    assert_eq!(seal(5), Err(Refused::Spent));
    assert_eq!([seal(4), seal(70_000), seal(69_999), seal(6)], [Ok(()), Ok(()), Ok(()), Err(Refused::Spent)]);
    assert_eq!([seal(70_000 - 1_023), seal(70_000 - 1_024)], [Ok(()), Err(Refused::Spent)]);
    assert_eq!([seal(1 << 48), seal((1 << 48) - 1)], [Err(Refused::Spent), Ok(())]);
    assert_eq!(sealer.seal(SourceId::of_test(9), 1, &mut packet(7, 1), 0, 12), Err(Refused::Broken));
}

#[test]
fn any_number_of_sources_has_indices_of_its_own() {
    let mut sealer = sealer();
    let sources: Vec<SourceId> = (1..=20).map(|ssrc| sealer.open(ssrc).unwrap()).collect();
    assert!((1..=20).all(|ssrc| sealer.open(ssrc).is_none()), "each has one owner");
    for index in [5, 6] {
        for (ssrc, source) in (1..=20).zip(&sources) {
            let mut packet = packet(ssrc, index);
            assert_eq!(sealer.seal(*source, index, &mut packet, 0, 12), Ok(()), "{ssrc} {index}");
            assert_eq!(sealer.seal(*source, index, &mut packet, 0, 12), Err(Refused::Spent), "{ssrc}");
        }
    }
    let unknown = SourceId::of_test(20);
    assert_eq!(sealer.seal(unknown, 7, &mut packet(21, 7), 0, 12), Err(Refused::Broken));
}

#[test]
fn a_rollover_makes_another_nonce_of_the_same_number() {
    let mut sealer = sealer();
    let source = sealer.open(7).unwrap();
    let sealed: Vec<Vec<u8>> = [9u64, 65_545, 131_081]
        .iter()
        .map(|index| {
            let mut room = packet(7, *index);
            sealer.seal(source, *index, &mut room, 0, 12).unwrap();
            room
        })
        .collect();
    assert!(sealed.iter().all(|room| room[..12] == sealed[0][..12]), "the header has no rollover counter");
    let different: HashSet<&[u8]> = sealed.iter().map(|room| &room[12..]).collect();
    assert_eq!(different.len(), 3);
}

/// A small generator: the tests are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn no_index_is_spent_twice_whatever_comes() {
    for seed in 0..256 {
        let (mut dice, mut spent, mut model) = (Dice(seed), Spent::default(), HashSet::new());
        let (mut at, mut taken, mut highest) = (dice.roll(65_536), 0, 0);
        for _ in 0..2_000 {
            at = match dice.roll(20) {
                0 => at + dice.roll(40_000),
                1 => at.saturating_sub(dice.roll(3_000)),
                2..5 => at.saturating_sub(dice.roll(8)),
                _ => at + dice.roll(3),
            };
            let is_new = !model.contains(&at);
            let was_used = spent.is_spent(at);
            let was_spent = spent.spend(at);
            assert!(!was_spent || model.insert(at), "seed {seed}: {at} twice");
            assert_eq!(was_used, !was_spent, "seed {seed}: {at}");
            // And what is new and not far back is not refused.
            assert!(
                was_spent || !is_new || highest.max(at) - at >= 1_023,
                "seed {seed}: {at} refused, highest {highest}"
            );
            (taken, highest) = (taken + u32::from(was_spent), highest.max(at));
        }
        assert!(taken > 100, "seed {seed}: only {taken} were taken");
    }
}

fn header(extensions: &[(u8, &[u8])]) -> Option<Vec<u8>> {
    let header = Header::new(96, 0x0102_0304, extensions)?;
    let mut room = Vec::new();
    header.write(&mut room, 0xfffe, 0x0506_0708, true);
    assert_eq!(room.len(), header.length());
    Some(room)
}

#[test]
fn extensions_have_the_short_form_where_it_can_be() {
    let fixed = |first: u8| bytes(&format!("{first:02x}e0fffe0506070801020304"));
    assert_eq!(header(&[]).unwrap(), fixed(0x80));
    let with = |extension: &str| [fixed(0x90), bytes(extension)].concat();
    assert_eq!(header(&[(4, b"0")]).unwrap(), with("bede0001 40300000"));
    assert_eq!(header(&[(4, b"0"), (14, b"abc")]).unwrap(), with("bede0002 4030e261 62630000"));
    assert_eq!(
        header(&[(15, b"0")]).unwrap(),
        with("10000001 0f013000"),
        "15 means the end in the short form"
    );
    assert_eq!(header(&[(4, b"")]).unwrap(), with("10000001 04000000"), "the short form has no empty values");
    assert_eq!(header(&[(200, b"video-section-17!")]).unwrap()[12..18], bytes("10000005 c811"));
    let long = [7; 256];
    for wrong in [(0, &b"0"[..]), (4, &long)] {
        assert_eq!(header(&[wrong]), None, "{wrong:?}");
    }
}

#[test]
fn a_repairing_header_keeps_the_extensions() {
    let header = Header::new(96, 7, &[(4, b"1")]).unwrap();
    let (mut plain, mut repairing) = (Vec::new(), Vec::new());
    header.write(&mut plain, 1, 2, false);
    header.repairing(97, 8).write(&mut repairing, 3, 2, false);
    assert_eq!((plain[1], repairing[1], repairing[11]), (96, 97, 8));
    assert_eq!(plain[12..], repairing[12..]);
}

/// One viewer's track as it is sent: its numbers, what protects them, and what is sent again.
struct Viewer {
    sealer: Sealer,
    media: SourceId,
    repair: SourceId,
    numbering: Numbering,
    again: u64,
    sealed: HashSet<(u32, u64)>,
}

impl Viewer {
    fn new() -> Viewer {
        let mut sealer = sealer();
        let (media, repair) = (sealer.open(1).unwrap(), sealer.open(2).unwrap());
        let numbering = Numbering::begin(5_000, FIRST_INDEX);
        Viewer { sealer, media, repair, numbering, again: u64::from(FIRST_INDEX), sealed: HashSet::new() }
    }

    /// Whether it was sent; what was sent before never is.
    fn send(&mut self, ssrc: u32, index: u64) -> bool {
        let source = if ssrc == 1 { self.media } else { self.repair };
        let sealed = self.sealer.seal(source, index, &mut packet(ssrc, index), 0, 12);
        assert!(sealed.is_err() || self.sealed.insert((ssrc, index)), "{ssrc} {index} twice");
        sealed.is_ok()
    }
}

// SPEC 8 whep: No key and nonce are used for two packets: a number is sent once, a source has one
// owner, and nothing that the WebRTC library makes of media leaves
// Also: `no_index_is_spent_twice_whatever_comes`,
// `nothing_is_protected_twice_and_a_source_has_one_owner`,
// `a_rollover_makes_another_nonce_of_the_same_number`,
// `viewers_are_sent_to_by_ourselves_and_nothing_of_str0ms_media_leaves`,
// `numbers_go_on_over_a_rollover_also_where_they_are_sent_again`
#[test]
fn no_nonce_is_used_twice_over_restarts_jumps_rollovers_and_repairs() {
    let (mut twice, mut repaired, mut farthest) = (0, 0, 0);
    for seed in 0..64 {
        let (mut dice, mut viewer, mut stream) = (Dice(seed), Viewer::new(), 5_000u64);
        for _ in 0..1_500 {
            // The stream goes on, is reordered, has a packet twice, loses many, or the viewer begins anew somewhere else.
            stream = match dice.roll(12) {
                0 => stream.saturating_sub(dice.roll(6)),
                1 => stream,
                2 => stream + dice.roll(900),
                _ => stream + 1,
            };
            if dice.roll(60) == 0 {
                stream = dice.roll(200_000);
                viewer.numbering.jump_to(stream);
            }
            let Some(number) = viewer.numbering.number(stream) else { continue };
            twice += u32::from(!viewer.send(1, number));
            farthest = farthest.max(number);
            if dice.roll(4) == 0 {
                let again = viewer.again;
                repaired += u32::from(viewer.send(2, again));
                viewer.again += 1;
            }
        }
    }
    println!("{twice} were refused, {repaired} sent again, the farthest number is {farthest}");
    assert!(twice > 100 && repaired > 1_000 && farthest > 65_536);
}
