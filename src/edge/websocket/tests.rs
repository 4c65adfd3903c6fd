//! What passes a follower and a screen, frame by frame and however it is cut.

use super::*;

/// A frame with this first byte, masked for a client.
fn frame(sender: Sender, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask: &[u8] = if sender == Sender::Client { &[1, 2, 3, 4] } else { &[] };
    let mut all = vec![first];
    let masked = if mask.is_empty() { 0 } else { MASKED };
    match payload.len() {
        length @ 0..126 => all.push(masked | length as u8),
        length @ 126..0x1_0000 => {
            all.push(masked | 126);
            all.extend((length as u16).to_be_bytes());
        }
        length => {
            all.push(masked | 127);
            all.extend((length as u64).to_be_bytes());
        }
    }
    all.extend(mask);
    let cycle = mask.iter().chain(&[0; 4]).take(4).cycle();
    all.extend(payload.iter().zip(cycle).map(|(byte, mask)| if masked == 0 { *byte } else { byte ^ mask }));
    all
}

/// What comes out of these pieces; texts in upper case, "drop" not at all.
fn screened(sender: Sender, pieces: &[&[u8]]) -> Result<Vec<u8>, Violation> {
    let (mut screen, mut out) = (Screen::new(sender), Vec::new());
    for piece in pieces {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut passage = Passage { before: &mut before, as_it_is: 0..0, after: &mut after };
        let done = screen.feed(piece, &mut passage, &mut |text| match text {
            "drop" => Verdict::Dropped,
            "refuse" => Verdict::Refused("no"),
            "keep" => Verdict::Passes,
            other => Verdict::Becomes(other.to_uppercase()),
        });
        let range = passage.as_it_is.clone();
        out.extend([before, piece[range].to_vec(), after].concat());
        done?;
    }
    Ok(out)
}

const BOTH: [Sender; 2] = [Sender::Client, Sender::Server];

#[test]
fn media_passes_uncopied() {
    let media = frame(Sender::Server, 0x82, &[7; 70_000]);
    let mut screen = Screen::new(Sender::Server);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let data = [media.clone(), media].concat();
    for piece in data.chunks(50_000) {
        // A head that is cut in two would be held; these chunks cut payloads only.
        let mut passage = Passage { before: &mut before, as_it_is: 0..0, after: &mut after };
        screen.feed(piece, &mut passage, &mut |_| Verdict::Dropped).expect("media");
        assert_eq!(passage.as_it_is, 0..piece.len());
    }
    assert!(before.is_empty() && after.is_empty());
}

// SPEC edge: Text messages are judged whole however they are cut; media passes uncopied; what
// cannot be judged ends the socket with its status
// Also: `what_surrounds_a_text_keeps_its_order`, `texts_of_every_length_are_framed_again`,
// `media_passes_uncopied`, `what_cannot_be_judged_ends_the_socket`, `nothing_follows_a_close`,
// `screened_texts_are_judged_both_ways_and_media_passes`,
// `what_may_not_pass_ends_a_screened_socket`, `an_extension_that_nobody_asked_for_is_no_tunnel`,
// `screened_bodies_are_judged_both_ways_with_their_links`
#[test]
fn texts_are_judged_whole_however_they_come() {
    for sender in BOTH {
        let one = frame(sender, 0x81, b"hello");
        let fragments = [
            frame(sender, 0x01, b"he"),
            frame(sender, 0x89, b"ping"),
            frame(sender, 0x00, b""),
            frame(sender, 0x80, b"llo"),
        ]
        .concat();
        let expected = frame(sender, 0x81, b"HELLO");
        assert_eq!(screened(sender, &[&one]).as_ref(), Ok(&expected));
        let with_ping = [frame(sender, 0x89, b"ping"), expected].concat();
        assert_eq!(screened(sender, &[&fragments]).as_ref(), Ok(&with_ping), "the ping does not wait");
        let bytes: Vec<&[u8]> = fragments.chunks(1).collect();
        assert_eq!(screened(sender, &bytes).as_ref(), Ok(&with_ping), "byte by byte");
    }
}

#[test]
fn what_surrounds_a_text_keeps_its_order() {
    for sender in BOTH {
        let media = frame(sender, 0x82, &[9; 300]);
        let all = [
            media.clone(),
            frame(sender, 0x81, b"drop"),
            media.clone(),
            frame(sender, 0x81, b"x"),
            media.clone(),
        ]
        .concat();
        let expected = [media.clone(), media.clone(), frame(sender, 0x81, b"X"), media].concat();
        for cut in 0..all.len() {
            let (a, b) = all.split_at(cut);
            assert_eq!(screened(sender, &[a, b]).as_ref(), Ok(&expected), "cut at {cut}");
        }
    }
}

#[test]
fn texts_of_every_length_are_framed_again() {
    for sender in BOTH {
        for length in [0, 1, 125, 126, 65_535, 65_536, MAX_TEXT] {
            let (text, upper) = (vec![b'a'; length], vec![b'A'; length]);
            let got = screened(sender, &[&frame(sender, 0x81, &text)]);
            assert!(got == Ok(frame(sender, 0x81, &upper)), "{length}");
        }
    }
}

#[test]
fn what_cannot_be_judged_ends_the_socket() {
    let long = |sender| [frame(sender, 0x01, &vec![b'a'; MAX_TEXT]), frame(sender, 0x80, b"a")].concat();
    for sender in BOTH {
        let other = if sender == Sender::Client { Sender::Server } else { Sender::Client };
        for (bytes, status) in [
            (frame(sender, 0x81, &vec![b'a'; MAX_TEXT + 1]), 1009),
            (long(sender), 1009),
            (frame(sender, 0x81, b"\xff"), 1007),
            (frame(sender, 0x81, b"refuse"), 1008),
            (frame(sender, 0xC1, b"deflated"), 1002),
            (frame(sender, 0x83, b""), 1002),
            (frame(sender, 0x80, b"no message"), 1002),
            ([frame(sender, 0x01, b"a"), frame(sender, 0x81, b"b")].concat(), 1002),
            (frame(sender, 0x09, b""), 1002),
            (frame(sender, 0x89, &[0; 126]), 1002),
            (frame(other, 0x81, b"a"), 1002),
        ] {
            let got = screened(sender, &[&bytes]).map_err(|violation| violation.status);
            assert_eq!(got, Err(status), "{:?}", &bytes[..bytes.len().min(12)]);
        }
    }
    let endless = [0x82, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0];
    assert!(screened(Sender::Server, &[&endless]).is_err());
}

#[test]
fn nothing_follows_a_close() {
    for sender in BOTH {
        let close = frame(sender, 0x88, &1000u16.to_be_bytes());
        let all = [close.clone(), frame(sender, 0x81, b"more")].concat();
        assert_eq!(screened(sender, &[&all]), Ok(close));
    }
}

#[test]
fn a_follower_knows_where_frames_end() {
    let frames = [
        frame(Sender::Server, 0x82, &[1; 200]),
        frame(Sender::Server, 0x01, b"a"),
        frame(Sender::Server, 0x80, &[b'b'; 70_000]),
    ];
    let all = frames.concat();
    let ends: Vec<usize> = frames
        .iter()
        .scan(0, |end, frame| {
            Some({
                *end += frame.len();
                *end
            })
        })
        .collect();
    let mut follower = Follower::default();
    assert!(follower.is_between_frames());
    for (at, byte) in all.iter().enumerate() {
        follower.pass(&[*byte]);
        assert_eq!(follower.is_between_frames(), ends.contains(&(at + 1)), "after {} bytes", at + 1);
    }
    let mut whole = Follower::default();
    whole.pass(&all);
    assert!(whole.is_between_frames(), "fragments may have a control frame between them");
    whole.pass(&frame(Sender::Server, 0x88, b""));
    assert!(!whole.is_between_frames(), "nothing follows a close");
}

#[test]
fn a_screen_knows_where_what_it_passed_on_ends() {
    let mut screen = Screen::new(Sender::Server);
    let mut between = |bytes: &[u8]| {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut passage = Passage { before: &mut before, as_it_is: 0..0, after: &mut after };
        screen.feed(bytes, &mut passage, &mut |_| Verdict::Passes).expect("fine");
        screen.is_between_frames()
    };
    assert!(between(&[0x81]), "half a head is held");
    assert!(between(&[5, b'h']), "half a text is held");
    assert!(between(b"ello"));
    assert!(!between(&[0x82, 5, 1]), "half of a binary frame was passed on");
    assert!(between(&[1, 1, 1, 1]));
    assert!(!between(&[0x88, 0]), "nothing follows a close");
}
