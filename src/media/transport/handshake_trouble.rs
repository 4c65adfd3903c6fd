//! Why a DTLS handshake will not come to its end, as far as its datagrams say so in the clear: for the log and a session's warnings.
//!
//! Nothing here is believed for anything else: whoever is on the way can write such datagrams.

use std::fmt;

/// A record's type, version, epoch, number and length (RFC 6347, 4.1); a handshake message's type, length and fragment (4.2.2).
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;

/// Types of records (RFC 5246, 6.2.1) and of handshake messages (7.4).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CERTIFICATE: u8 = 11;

/// `rsaEncryption` as a public key's algorithm (RFC 3279, 2.3.1).
const RSA: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

/// An alert that only says good-bye (RFC 5246, 7.2.1).
const CLOSE_NOTIFY: u8 = 0;

/// What a client says that has an RSA certificate only and heeds what we ask for: Chromium, by BoringSSL (RFC 5246, 7.2.2).
const HANDSHAKE_FAILURE: u8 = 40;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// It ends the handshake with this alert (RFC 5246, 7.2).
    Alert(u8),
    /// It has no certificate of a kind that we check.
    NoCertificate,
    /// Its certificate has an RSA key.
    RsaCertificate,
}

impl Trouble {
    /// What a session's owner is told, where there is something to be done.
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Trouble::Alert(HANDSHAKE_FAILURE) => Some(
                "a WebRTC client refused the DTLS handshake, as those with an RSA certificate do: use ECDSA P-256",
            ),
            Trouble::Alert(_) => None,
            Trouble::NoCertificate | Trouble::RsaCertificate => {
                Some("a WebRTC client has an RSA certificate, or none that can be checked: use ECDSA P-256")
            }
        }
    }

    /// What a datagram of an unfinished handshake says.
    pub fn of(datagram: &[u8]) -> Option<Trouble> {
        let mut rest = datagram;
        let mut worst = None;
        while let Some((header, body)) = rest.split_at_checked(RECORD_HEADER) {
            let [kind, _, _, epoch0, epoch1, .., high, low] = header else { break };
            let Some((body, after)) = body.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
            else {
                break;
            };
            rest = after;
            if (*epoch0, *epoch1) == (0, 0) {
                worst = worst.max(in_the_clear(*kind, body));
            }
        }
        worst
    }
}

fn in_the_clear(kind: u8, body: &[u8]) -> Option<Trouble> {
    match (kind, body) {
        (ALERT, [_, description]) if *description != CLOSE_NOTIFY => Some(Trouble::Alert(*description)),
        (HANDSHAKE, [CERTIFICATE, l0, l1, l2, ..]) => {
            let message = body.get(MESSAGE_HEADER..).unwrap_or_default();
            if (*l0, *l1, *l2) == (0, 0, 3) {
                return Some(Trouble::NoCertificate);
            }
            message.windows(RSA.len()).any(|bytes| bytes == RSA).then_some(Trouble::RsaCertificate)
        }
        _ => None,
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Alert(HANDSHAKE_FAILURE) => write!(
                f,
                "it ended the handshake with the alert {HANDSHAKE_FAILURE}, as clients with an RSA certificate do: use ECDSA P-256"
            ),
            Trouble::Alert(number) => write!(f, "it ended the handshake with the alert {number}"),
            Trouble::NoCertificate => f.write_str(
                "it has no certificate that can be checked; RSA certificates are not: use ECDSA P-256",
            ),
            Trouble::RsaCertificate => f.write_str("RSA certificate: use ECDSA P-256"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 1][..], &length, body].concat()
    }

    fn certificate(list: &[u8]) -> Vec<u8> {
        let length = u8::try_from(list.len()).unwrap();
        let header = [CERTIFICATE, 0, 0, length, 0, 1, 0, 0, 0, 0, 0, length];
        [&header, list].concat()
    }

    #[test]
    fn what_ends_a_handshake_is_told() {
        let rsa = certificate(&[&[0, 0, 20, 0x30][..], &RSA, &[5, 0]].concat());
        for (datagram, expected) in [
            (record(HANDSHAKE, 0, &rsa), Some(Trouble::RsaCertificate)),
            (record(HANDSHAKE, 0, &certificate(&[0, 0, 0])), Some(Trouble::NoCertificate)),
            (record(HANDSHAKE, 0, &certificate(&[0, 0, 4, 1, 2, 3, 4])), None),
            (record(HANDSHAKE, 1, &rsa), None),
            (record(ALERT, 0, &[2, 40]), Some(Trouble::Alert(40))),
            (record(ALERT, 0, &[1, 0]), None),
            (
                [record(ALERT, 0, &[2, 40]), record(HANDSHAKE, 0, &rsa)].concat(),
                Some(Trouble::RsaCertificate),
            ),
            (record(HANDSHAKE, 0, &[1, 0, 0, 1, 7]), None),
            (Vec::new(), None),
        ] {
            assert_eq!(Trouble::of(&datagram), expected, "{datagram:?}");
            for end in 0..datagram.len() {
                let _ = Trouble::of(&datagram[..end]);
            }
        }
        assert!(Trouble::RsaCertificate.to_string().contains("ECDSA P-256"));
        assert!(Trouble::NoCertificate.advice().is_some() && Trouble::Alert(1).advice().is_none());
        let refusal = Trouble::Alert(HANDSHAKE_FAILURE);
        assert!(refusal.to_string().contains("alert 40") && refusal.to_string().contains("ECDSA P-256"));
        assert!(refusal.advice().is_some_and(|words| words.contains("ECDSA P-256")));
    }
}
