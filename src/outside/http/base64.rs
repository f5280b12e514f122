//! Base64 with padding, by RFC 4648: what headers want.

const COMMON: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The standard alphabet: `+` and `/`.
pub(super) fn standard(bytes: &[u8]) -> String {
    encode(bytes, [b'+', b'/'])
}

/// The alphabet for URLs: `-` and `_`.
pub(super) fn for_urls(bytes: &[u8]) -> String {
    encode(bytes, [b'-', b'_'])
}

fn encode(bytes: &[u8], last: [u8; 2]) -> String {
    let letter = |six: u32| match COMMON.get(six as usize) {
        Some(letter) => char::from(*letter),
        None => char::from(last[six as usize - COMMON.len()]),
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let all = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let is_padding = at > three.len();
            text.push(if is_padding { '=' } else { letter(all >> (18 - 6 * at) & 63) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_rfc_4648_says() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, expected) in cases {
            assert_eq!(standard(text.as_bytes()), expected);
        }
        assert_eq!((standard(&[251, 255]), for_urls(&[251, 255])), ("+/8=".to_owned(), "-_8=".to_owned()));
    }
}
