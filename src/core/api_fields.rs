//! Which header fields the control API gets: those that it reads, and no others.
//!
//! tiny_http refuses a whole request for one byte beyond ASCII in any of its fields, while RFC 9110 (5.5) allows such bytes
//! and proxies, content networks and other people's cookies send them. So what nobody here reads does not get there, and in
//! what does every such byte becomes a `?`, which stands in no value that the API takes for good.

use crate::core::fleet::identity::PROOF_FIELD;
use crate::core::fleet::wire::{
    BASE_URL_FIELD, END_REASON_FIELD, LEASE_FIELD, SESSION_ID_FIELD, TIME_LEFT_FIELD,
};
use crate::core::namespaces::bearer;

/// Fields that an operation reads, beside those that the edge makes anew ([`MADE_BY_EDGE`]).
const READ: &[&str] = &[
    "Accept",
    "Authorization",
    "Content-Type",
    "If-Match",
    "Origin",
    "Sec-Fetch-Site",
    "Service-Worker",
    bearer::KEY_FIELD,
    SESSION_ID_FIELD,
    BASE_URL_FIELD,
    END_REASON_FIELD,
    TIME_LEFT_FIELD,
    LEASE_FIELD,
    PROOF_FIELD,
];

/// Fields that the edge writes itself, in front of the API as in front of every upstream.
const MADE_BY_EDGE: &[&str] =
    &["Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix"];

/// Whether a field of the client's is handed to the API.
pub fn passes(name: &str) -> bool {
    READ.iter().any(|read| read.eq_ignore_ascii_case(name))
}

/// Whether the API can find a field of this name at all.
pub fn is_known(name: &str) -> bool {
    passes(name) || MADE_BY_EDGE.iter().any(|made| made.eq_ignore_ascii_case(name))
}

/// Makes a head fit for tiny_http.
pub fn make_ascii(head: &mut [u8]) {
    head.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_does_not_pass() {
        for name in ["authorization", "If-Match", "neck-proof"] {
            assert!(passes(name) && is_known(name), "{name}");
        }
        for name in
            ["Cookie", "CF-IPCity", "Accept-Language", "X-Forwarded-User", "Via", "Expect", "Connection"]
        {
            assert!(!passes(name) && !is_known(name), "{name}");
        }
        assert!(is_known("host") && !passes("host"));
    }

    #[test]
    fn other_bytes_become_a_character_that_fits_nowhere() {
        let mut head = b"Origin: https://zo\xc3\xab.example\r\n".to_vec();
        make_ascii(&mut head);
        assert_eq!(head, b"Origin: https://zo??.example\r\n");
    }
}
