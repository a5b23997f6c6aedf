//! Fingerprints of errors that ignore numbers, ids, timestamps, quoted values and URL paths.

use crate::protocol::error_text;

/// Returns a stable 64-bit hash (FNV-1a) of a message with everything particular replaced: numbers,
/// ids, quoted values, paths and the name of its stream. Table details after the cause, which
/// Stripe's destination appends, are ignored.
#[must_use]
pub fn of_error(message: &str, stream: Option<&str>) -> u64 {
    let cause = error_text::cause(message);
    hashed(cause, stream)
}

/// Returns the same hash of a whole text.
#[must_use]
pub fn of(text: &str) -> u64 {
    hashed(text, None)
}

/// Returns the hash (FNV-1a) of a text as it is; stable across processes and versions.
#[must_use]
pub fn of_text(text: &str) -> u64 {
    let mut hash = Fnv::default();
    hash.write(text.as_bytes());
    hash.0
}

/// Returns a hash of a log line with everything particular replaced, as [`of`] does. It is faster,
/// and differs between versions.
#[must_use]
pub(crate) fn of_line(text: &str) -> u64 {
    let mut hash = 0;
    normalize(text, None, &mut |part| hash = mixed(hash, part.as_bytes()));
    hash
}

/// Returns a fast hash of bytes, which differs between versions.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> u64 {
    mixed(0, bytes)
}

/// Mixes bytes into a hash, eight at once.
fn mixed(mut hash: u64, bytes: &[u8]) -> u64 {
    /// Odd constant with well-distributed bits, from the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    // The length distinguishes parts that end in zeros.
    let last = rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte));
    mix(hash, last)
}

pub(crate) fn hashed(text: &str, stream: Option<&str>) -> u64 {
    let mut hash = Fnv::default();
    normalize(text, stream, &mut |part| hash.write(part.as_bytes()));
    hash.0
}

/// Maximum length of a quoted value in bytes.
pub(crate) const QUOTE_LIMIT: usize = 256;

pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Passes the message to `out` in parts, with each particular part replaced by its class.
pub(crate) fn normalize(message: &str, stream: Option<&str>, out: &mut impl FnMut(&str)) {
    let mut rest = message;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        // Most parts of most texts are words of ASCII letters with a space after them.
        let letters = rest.bytes().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(rest.len());
        if letters > 0
            && letters < SHORTEST_ID
            && stream.is_none()
            && rest.as_bytes().get(letters).is_none_or(|byte| *byte == b' ')
            && let Some((word, after)) = rest.split_at_checked(letters)
        {
            out(word);
            (before, rest) = ('a', after);
            if let Some(next) = after.strip_prefix(' ').filter(|next| next.starts_with(|c: char| c.is_ascii_graphic()))
            {
                out(" ");
                (before, rest) = (' ', next);
            }
            continue;
        }
        let length = match c {
            '\'' | '"' | '`' | '‘' | '“' if !before.is_alphanumeric() => quoted(rest, c),
            '/' if !before.is_alphanumeric() => path(rest),
            c if c.is_alphanumeric() => word(rest, stream),
            c if c.is_whitespace() => {
                let length = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
                (length > 0).then_some((length, " "))
            }
            _ => None,
        };
        let (length, class) = length.unwrap_or((c.len_utf8(), ""));
        let Some((part, after)) = rest.split_at_checked(length) else { return };
        out(if class.is_empty() { part } else { class });
        before = part.chars().next_back().unwrap_or(' ');
        rest = after;
    }
}

/// Matches a quoted value whose closing quote does not precede a letter or digit (an apostrophe is
/// no quote).
pub(crate) fn quoted(text: &str, open: char) -> Option<(usize, &'static str)> {
    let close = match open {
        '‘' => '’',
        '“' => '”',
        other => other,
    };
    let start = open.len_utf8();
    // The bound keeps the search linear: text without a close quote nearby is not a quotation.
    let body = crate::reduce::state::feed::cut(text.get(start..)?, QUOTE_LIMIT);
    body.match_indices(close).find_map(|(at, _)| {
        let end = start + at + close.len_utf8();
        let next = text.get(end..)?.chars().next();
        (!next.is_some_and(char::is_alphanumeric)).then_some((end, "<q>"))
    })
}

/// Minimum length of an id that has no digit: an underscore and ten letters.
const SHORTEST_ID: usize = 11;

/// Returns the length of the leading run of letters, digits and `signs`. Most texts are ASCII and
/// are scanned by bytes.
#[inline]
pub(crate) fn run(text: &str, signs: &str) -> usize {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || signs.as_bytes().contains(byte);
    let bytes = text.as_bytes();
    let length = bytes.iter().position(|byte| !inside(byte)).unwrap_or(bytes.len());
    if bytes.get(length).is_none_or(u8::is_ascii) {
        return length;
    }
    text.find(|c: char| !(c.is_alphanumeric() || signs.contains(c))).unwrap_or(text.len())
}

pub(crate) fn path(text: &str) -> Option<(usize, &'static str)> {
    let length = run(text, "/_-.~%?=&+:@{}*");
    (length > 1).then_some((length, "<path>"))
}

/// True for a part with a digit, a long run of hexadecimal letters, or an id such as
/// `req_AbCdEfGhIj`.
pub(crate) fn is_id(part: &str) -> bool {
    if part.len() < SHORTEST_ID {
        return part.bytes().any(|byte| byte.is_ascii_digit());
    }
    let hexadecimal = || part.len() >= 16 && part.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let after_prefix = || {
        let id = part.rsplit_once('_').map_or("", |(_, id)| id);
        let mut bytes = id.bytes();
        id.len() >= 10
            && bytes.clone().any(|byte| byte.is_ascii_uppercase())
            && bytes.any(|byte| byte.is_ascii_lowercase())
    };
    part.bytes().any(|byte| byte.is_ascii_digit()) || hexadecimal() || after_prefix()
}

/// Matches a word and classifies it: stream name, URL, id or number, or plain.
pub(crate) fn word(text: &str, stream: Option<&str>) -> Option<(usize, &'static str)> {
    let length = run(text, "_-");
    let (part, after) = text.split_at_checked(length)?;
    if stream == Some(part) {
        return Some((length, "<stream>"));
    }
    if after.starts_with("://") {
        let end = text.find(|c: char| c.is_whitespace() || "\"'<>)],".contains(c)).unwrap_or(text.len());
        return Some((end, "<url>"));
    }
    if !is_id(part) {
        return Some((length, ""));
    }
    // `12.5`, `08:31:07.5` and `10.0.0.1:5432` are one part each.
    let tail = run(after, "_-.:,+");
    let tail = after.get(..tail)?.trim_end_matches(['.', ':', ',', '+']).len();
    Some((length + tail, "<n>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn normal(message: &str) -> String {
        let mut text = String::new();
        normalize(message, None, &mut |part| text.push_str(part));
        text
    }

    #[test]
    pub(crate) fn lines_have_the_same_hash_as_their_normal_forms() {
        let texts = [
            "wrote 85 rows of setup_intent_9",
            "wrote 7 rows of price_18",
            "wrote 7 rows  of price_18",
            "wrote rows of price",
            "wrote rows of  price ",
            "don't 'quote' it",
            "don't quote it",
            "abcdefabcdefabcdef abcdefghij a_AbCdEfGhIj",
            "ffffffffffffffffff abcdefghij b_AbCdEfGhIk",
            "a é b",
            "aé b",
            "",
        ];
        for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (one, other))) {
            assert_eq!(of_line(one) == of_line(other), normal(one) == normal(other), "{one:?} {other:?}");
        }
        assert_eq!(of_line(texts[0]), of_line(texts[1]));
        assert_eq!(of_line(texts[7]), of_line(texts[8]));
    }

    #[test]
    pub(crate) fn what_is_particular_goes_and_what_tells_stays() {
        let same = [
            "Invalid API Key provided: sk_test_****0000 [GET /v1/customers (401)] {request-id=req_00000000000005}",
            "Invalid API Key provided: sk_test_****0000 [GET /v1/invoices (401)] {request-id=req_00000000000006}",
        ];
        assert_eq!(of(same[0]), of(same[1]));
        assert_eq!(normal("connect ECONNREFUSED 127.0.0.1:5432"), "connect ECONNREFUSED <n>");
        assert_eq!(normal("it's 'x y' and \"z\" at 2026-11-20T08:31:07.123Z"), "it's <q> and <q> at <n>");
        assert_eq!(normal("see https://stripe.com/docs/x?y=1, please"), "see <url>, please");
        assert_eq!(normal("a\n  b"), "a b");
        assert_eq!(normal("don't and won't"), "don't and won't");
        assert_ne!(of("customers failed"), of("invoices failed"));
        assert_eq!(of_error("customers failed", Some("customers")), of_error("invoices failed", Some("invoices")));
        let upsert = |relation: &str, stream: &str| {
            let text = format!(
                "upsertWithStats failed: relation \"{relation}\" does not exist (table=\"p\".\"{stream}\" columns=[_raw_data]) (stream={stream} records=100)"
            );
            of_error(&text, Some(stream))
        };
        assert_eq!(upsert("p.charges", "charges"), upsert("p.customers", "customers"));
        assert_eq!(normal(""), "");
    }
}
