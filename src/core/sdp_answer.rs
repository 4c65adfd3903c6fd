//! Answers for `webrtc.icetrickle: false`: they say that every candidate is in them (RFC 8840, 4.1.2 and 4.1.3).

/// Takes `ice-options:trickle` out, and ends the candidates of each section that has some.
pub fn complete(answer: &str) -> String {
    let mut text = String::with_capacity(answer.len() + 64);
    let mut lines = answer.lines().filter(|line| *line != "a=ice-options:trickle").peekable();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push_str("\r\n");
        let more = lines.peek().is_some_and(|next| next.starts_with("a=candidate:"));
        if line.starts_with("a=candidate:") && !more {
            text.push_str("a=end-of-candidates\r\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_answer_ends_its_candidates_and_expects_none() {
        let answer = "v=0\r\na=ice-lite\r\nm=audio 9 x 111\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n\
a=candidate:2 1 udp 1 192.0.2.2 5 typ host\r\na=ice-ufrag:abcd\r\na=ice-options:trickle\r\na=mid:0\r\nm=video 0 x 0\r\n";
        let expected = "v=0\r\na=ice-lite\r\nm=audio 9 x 111\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n\
a=candidate:2 1 udp 1 192.0.2.2 5 typ host\r\na=end-of-candidates\r\na=ice-ufrag:abcd\r\na=mid:0\r\nm=video 0 x 0\r\n";
        assert_eq!(complete(answer), expected);
    }
}
