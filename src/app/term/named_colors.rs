//! Colors of terminals with 16 colors: the backend writes indexes of a palette of 256, which such a
//! terminal may read as other attributes (5: blink).

/// Replaces the indexes 0 to 15 in sequences of attributes by the codes of the named colors (ECMA-48
/// 30 to 47, and 90 to 107 for the bright ones).
pub(crate) fn by_name(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(start) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        let (before, sequence) = rest.split_at(start + 2);
        out.extend_from_slice(before);
        let end = sequence.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';')).unwrap_or(sequence.len());
        let (parameters, after) = sequence.split_at(end);
        if after.first() == Some(&b'm') {
            out.extend_from_slice(&attributes(parameters));
        } else {
            out.extend_from_slice(parameters);
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

fn attributes(parameters: &[u8]) -> Vec<u8> {
    let all: Vec<&[u8]> = parameters.split(|byte| *byte == b';').collect();
    let mut named: Vec<Vec<u8>> = Vec::new();
    let mut at = 0;
    while let Some(parameter) = all.get(at) {
        let base = match *parameter {
            b"38" => Some(30),
            b"48" => Some(40),
            _ => None,
        };
        let index = all.get(at + 2).and_then(|text| std::str::from_utf8(text).ok()?.parse::<u8>().ok());
        if let (Some(base), Some(&b"5"), Some(index @ 0..16)) = (base, all.get(at + 1), index) {
            let code = if index < 8 { base + index } else { base + 52 + index };
            named.push(code.to_string().into_bytes());
            at += 3;
        } else {
            named.push(parameter.to_vec());
            at += 1;
        }
    }
    named.join(&b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_become_names_and_all_else_stays() {
        let named = |text: &str| String::from_utf8(by_name(text.as_bytes())).unwrap();
        assert_eq!(named("\x1b[38;5;4mblue\x1b[38;5;12;48;5;1mx"), "\x1b[34mblue\x1b[94;41mx");
        assert_eq!(named("\x1b[1;38;5;9;49m"), "\x1b[1;91;49m");
        assert_eq!(named("\x1b[38;5;75m\x1b[38;2;1;2;3m"), "\x1b[38;5;75m\x1b[38;2;1;2;3m");
        assert_eq!(named("a 38;5;4m \x1b[5;4H\x1b[?25l\x1b["), "a 38;5;4m \x1b[5;4H\x1b[?25l\x1b[");
    }
}
