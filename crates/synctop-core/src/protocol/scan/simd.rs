//! Skips an object or array 64 bytes at a time: the same result as [`super::skip::container`],
//! faster.
//!
//! Every byte of a block becomes a bit in a mask of its class, and the grammar becomes a few
//! operations on masks. Engines print no spaces, so the successor of a token is a question about
//! the next byte (`{` is followed by a quote or `}`); only brackets, escapes and numbers that are
//! not plain digits are examined one by one. The bits are those of Langdale and Lemire, "Parsing
//! Gigabytes of JSON per Second" (2019): quotes by carry-less multiplication, escapes by their own
//! carries.
//!
//! Measured (`cargo bench --bench reduce`, records): decoding takes three quarters of the time of
//! the bytewise path, which remains for other processors and is the reference of a test and of the
//! fuzzer in `fuzz/`.
//!
//! # Safety
//! There are two kinds of `unsafe`: calling a function whose processor features were just detected,
//! and loading bytes unaligned from an array of 64 that holds them all.
#![allow(unsafe_code)]
#![expect(clippy::cast_ptr_alignment, reason = "these loads need no alignment")]
#![expect(clippy::too_many_lines, reason = "one pass over a block, whose masks all depend on each other")]

/// The place behind the container that begins at `at`, if it is valid JSON without spaces between
/// tokens and no deeper than 63 levels; the outer `None`: this processor cannot.
#[inline]
pub(super) fn container(bytes: &[u8], at: usize) -> Option<Option<usize>> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let bits = has!("pclmulqdq") && has!("bmi1") && has!("bmi2") && has!("lzcnt");
        if bits && has!("avx512bw") {
            // SAFETY: the features that `wide::container` needs were detected.
            return Some(unsafe { x86::wide::container(bytes, at) });
        }
        if bits && has!("avx2") {
            // SAFETY: the features that `narrow::container` needs were detected.
            return Some(unsafe { x86::narrow::container(bytes, at) });
        }
    }
    let _ = (bytes, at);
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::protocol::scan::skip::{DEPTH, escape, scalar};
    use std::arch::x86_64::{
        __m256i, __m512i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_max_epu8, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_set1_epi8,
        _mm512_cmpeq_epi8_mask, _mm512_cmpge_epu8_mask, _mm512_cmple_epu8_mask, _mm512_loadu_si512, _mm512_set1_epi8,
    };

    /// 64 bytes, in two halves.
    struct Halves {
        low: __m256i,
        high: __m256i,
    }

    impl Halves {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn load(bytes: &[u8; 64]) -> Self {
            let at = bytes.as_ptr().cast::<__m256i>();
            // SAFETY: both loads lie within the array, and need no alignment.
            let (low, high) = unsafe { (_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))) };
            Self { low, high }
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn is(&self, byte: u8) -> u64 {
            let wanted = _mm256_set1_epi8(byte.cast_signed());
            mask(_mm256_cmpeq_epi8(self.low, wanted), _mm256_cmpeq_epi8(self.high, wanted))
        }

        /// Bytes up to this one.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn up_to(&self, byte: u8) -> u64 {
            let most = _mm256_set1_epi8(byte.cast_signed());
            let (low, high) = (_mm256_max_epu8(self.low, most), _mm256_max_epu8(self.high, most));
            mask(_mm256_cmpeq_epi8(low, most), _mm256_cmpeq_epi8(high, most))
        }

        /// Bytes from this one on.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn from(&self, byte: u8) -> u64 {
            let least = _mm256_set1_epi8(byte.cast_signed());
            let (low, high) = (_mm256_min_epu8(self.low, least), _mm256_min_epu8(self.high, least));
            mask(_mm256_cmpeq_epi8(low, least), _mm256_cmpeq_epi8(high, least))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn mask(low: __m256i, high: __m256i) -> u64 {
        let bits = |half: __m256i| u64::from(_mm256_movemask_epi8(half).cast_unsigned());
        bits(low) | bits(high) << 32
    }

    /// 64 bytes at once.
    struct Whole(__m512i);

    impl Whole {
        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn load(bytes: &[u8; 64]) -> Self {
            // SAFETY: the load is the array, and needs no alignment.
            Self(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast::<__m512i>()) })
        }

        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn is(&self, byte: u8) -> u64 {
            _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte.cast_signed()))
        }

        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn up_to(&self, byte: u8) -> u64 {
            _mm512_cmple_epu8_mask(self.0, _mm512_set1_epi8(byte.cast_signed()))
        }

        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn from(&self, byte: u8) -> u64 {
            _mm512_cmpge_epu8_mask(self.0, _mm512_set1_epi8(byte.cast_signed()))
        }
    }

    /// Bit n is the parity of bits 0 to n.
    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn parity(bits: u64) -> u64 {
        let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits.cast_signed()), _mm_set1_epi8(-1));
        _mm_cvtsi128_si64(product).cast_unsigned()
    }

    /// Carry to the next block: bit 0 for the last byte of this one.
    #[derive(Default)]
    struct Carry {
        value_due: u64,
        key_due: u64,
        array_begun: u64,
        object_begun: u64,
        value_ended: u64,
        scalar: u64,
        zero: u64,
        key_ended: u64,
        /// All ones within a string.
        string: u64,
        key: u64,
        escape: u64,
    }

    /// The bits of each byte's predecessor, and the bit that the next block's first byte gets.
    #[inline]
    fn behind(bits: u64, carry: &mut u64) -> u64 {
        let shifted = bits << 1 | *carry;
        *carry = bits >> 63;
        shifted
    }

    /// The characters behind a backslash that is not itself escaped.
    #[inline]
    fn escaped(backslash: u64, carry: &mut u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let backslash = backslash & !*carry;
        let follows = backslash << 1 | *carry;
        let odd_starts = backslash & !EVEN & !follows;
        let (even_runs, overflow) = odd_starts.overflowing_add(backslash);
        *carry = u64::from(overflow);
        (EVEN ^ (even_runs << 1)) & follows
    }

    /// The same for either width.
    macro_rules! way {
        ($name:ident, $block:ident, $features:literal) => {
            pub(in crate::protocol) mod $name {
                use super::*;

                #[target_feature(enable = $features)]
                pub(in crate::protocol) fn container(bytes: &[u8], at: usize) -> Option<usize> {
                    // The container itself stands where a value may stand.
                    let mut carry = Carry { value_due: 1, ..Carry::default() };
                    let mut open: u64 = 0;
                    let mut depth: u32 = 0;
                    let mut base = at;
                    let mut number_from = at;
                    loop {
                        let rest = bytes.get(base..)?;
                        let block = match rest.first_chunk::<64>() {
                            Some(block) => $block::load(block),
                            None if rest.is_empty() => return None,
                            None => {
                                let mut padded = [b' '; 64];
                                padded.get_mut(..rest.len())?.copy_from_slice(rest);
                                $block::load(&padded)
                            }
                        };

                        let backslash = block.is(b'\\');
                        let escaped =
                            if backslash | carry.escape == 0 { 0 } else { escaped(backslash, &mut carry.escape) };
                        let quote = block.is(b'"') & !escaped;
                        let string = parity(quote) ^ carry.string;
                        carry.string = (string.cast_signed() >> 63).cast_unsigned();
                        let (opened, closed) = (quote & string, quote & !string);
                        let outside = !(string | quote);

                        let object = block.is(b'{') & outside;
                        let object_end = block.is(b'}') & outside;
                        let array = block.is(b'[') & outside;
                        let array_end = block.is(b']') & outside;
                        let colon = block.is(b':') & outside;
                        let comma = block.is(b',') & outside;
                        let plain = outside & !(object | object_end | array | array_end | colon | comma);

                        // Which commas stand in objects; where the outermost container ends.
                        let empty = (object & object_end >> 1) | (array & array_end >> 1);
                        let mut brackets = (object | object_end | array | array_end) & !(empty | empty << 1);
                        if depth == 0 {
                            brackets = object | object_end | array | array_end;
                        }
                        let mut in_object: u64 = 0;
                        let mut since: u64 = u64::MAX;
                        let mut inside = (open & 1).wrapping_neg();
                        let mut end = 64;
                        while brackets != 0 {
                            let bit = brackets & brackets.wrapping_neg();
                            in_object |= inside & since & (bit - 1);
                            since = !(bit - 1);
                            if bit & (object | array) != 0 {
                                if depth >= DEPTH {
                                    return None;
                                }
                                depth += 1;
                                open = open << 1 | u64::from(bit & object != 0);
                            } else {
                                if (open & 1 == 1) != (bit & object_end != 0) || depth == 0 {
                                    return None;
                                }
                                depth -= 1;
                                open >>= 1;
                                if depth == 0 {
                                    end = bit.trailing_zeros();
                                    break;
                                }
                            }
                            inside = (open & 1).wrapping_neg();
                            brackets &= brackets - 1;
                        }
                        in_object |= inside & since;
                        let next_key = comma & in_object;

                        // A key is a string behind `{`, or behind a comma of an object; it carries
                        // through its bytes to its closing quote.
                        let key_due = behind(object | next_key, &mut carry.key_due);
                        let (through, one) = string.overflowing_add(opened & key_due);
                        let (through, two) = through.overflowing_add(carry.key);
                        carry.key = u64::from(one | two);
                        let key_end = through & !string & closed;

                        // Valid successors of each token.
                        let ends = comma | object_end | array_end;
                        let object_begun = behind(object, &mut carry.object_begun);
                        let array_begun = behind(array, &mut carry.array_begun);
                        let value_due = behind(array | colon | (comma & !next_key), &mut carry.value_due);
                        let value_ended = behind((closed & !key_end) | object_end | array_end, &mut carry.value_ended);
                        let after_plain = behind(plain, &mut carry.scalar);
                        let first = plain & !after_plain;
                        let mut wrong = value_due & !(opened | object | array | first | (array_end & array_begun));
                        wrong |= key_due & !(opened | (object_end & object_begun));
                        wrong |= value_ended & !ends;
                        wrong |= after_plain & !(plain | ends);
                        wrong |= behind(key_end, &mut carry.key_ended) ^ colon;
                        wrong |= block.up_to(0x1f) & string;

                        // Numbers: plain digits are right unless they begin with a zero; the others
                        // are read one by one.
                        let digit = block.from(b'0') & block.up_to(b'9') & plain;
                        let zero = first & block.is(b'0');
                        wrong |= behind(zero, &mut carry.zero) & digit;

                        let within = if end == 64 { u64::MAX } else { (2u64 << end).wrapping_sub(1) };
                        if wrong & within != 0 {
                            return None;
                        }
                        let mut odd = plain & !digit & within;
                        while odd != 0 {
                            let bit = odd & odd.wrapping_neg();
                            let before = first & (bit | (bit - 1));
                            let from =
                                if before == 0 { number_from } else { base + 63 - before.leading_zeros() as usize };
                            let to = scalar(bytes, from)?;
                            if !matches!(bytes.get(to), Some(b',' | b'}' | b']')) {
                                return None;
                            }
                            // All of this one was read.
                            let behind_it = plain.wrapping_add(bit) & !plain & !(bit - 1);
                            odd &= !behind_it.wrapping_sub(1);
                        }
                        if first != 0 {
                            number_from = base + 63 - first.leading_zeros() as usize;
                        }
                        let mut letters = escaped & string & within;
                        if letters != 0 {
                            // All but \u have one letter.
                            let letter = block.is(b'n')
                                | block.is(b'"')
                                | block.is(b'\\')
                                | block.is(b'/')
                                | block.is(b't')
                                | block.is(b'r')
                                | block.is(b'b')
                                | block.is(b'f');
                            letters &= !letter;
                        }
                        while letters != 0 {
                            escape(bytes, base + letters.trailing_zeros() as usize)?;
                            letters &= letters - 1;
                        }
                        if end < 64 {
                            return Some(base + end as usize + 1);
                        }
                        base += 64;
                    }
                }
            }
        };
    }

    way!(narrow, Halves, "avx2,pclmulqdq,bmi1,bmi2,lzcnt");
    way!(wide, Whole, "avx512bw,pclmulqdq,bmi1,bmi2,lzcnt");
}

/// Every way that this processor has.
#[cfg(test)]
fn each(bytes: &[u8], at: usize) -> Vec<Option<usize>> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let bits = has!("pclmulqdq") && has!("bmi1") && has!("bmi2") && has!("lzcnt");
        if bits && has!("avx512bw") {
            // SAFETY: as in `container`.
            all.push(unsafe { x86::wide::container(bytes, at) });
        }
        if bits && has!("avx2") {
            // SAFETY: as in `container`.
            all.push(unsafe { x86::narrow::container(bytes, at) });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::protocol::scan::skip;
    use proptest::prelude::*;

    /// Both ways, and serde_json where the text has no spaces outside strings.
    fn agree(text: &str) {
        let slow = skip::container(text.as_bytes(), 0);
        for ours in super::each(text.as_bytes(), 0) {
            assert_eq!(ours, slow, "{text:?}");
        }
        let mut read = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
        if let Some(end) = slow {
            assert!(matches!(read.next(), Some(Ok(_))), "{text:?}");
            assert_eq!(read.byte_offset(), end, "{text:?}");
        }
    }

    #[test]
    fn the_corners() {
        let long = "x".repeat(200);
        for text in [
            "{}",
            "[]",
            "[[]]",
            "[{}]",
            "{\"a\":[]}",
            "{\"a\":{}}",
            "{\"a\":1}",
            "[0]",
            "[01]",
            "[00]",
            "[-0]",
            "[-]",
            "[1.5]",
            "[1.]",
            "[1e5]",
            "[1e]",
            "[.5]",
            "[1,]",
            "[,1]",
            "[1 ,2]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\",1}",
            "{1:2}",
            "[\"a\":1]",
            "{\"a\":\"b\":1}",
            "[\"a\"\"b\"]",
            "[1\"a\"]",
            "[\"a\"1]",
            "[true]",
            "[tru]",
            "[truex]",
            "[true,false,null]",
            "{\"a\":1]",
            "[1}",
            "[\"\\\"\"]",
            "[\"\\\\\"]",
            "[\"\\\\\\\"\"]",
            "[\"\\x\"]",
            "[\"\\u12g4\"]",
            "[\"\\u1234\"]",
            "[\"\\ud800\"]",
            "[\"\u{1}\"]",
            "[\"\t\"]",
            "[1]]",
            "[1]x",
            "{\"\":\"\"}",
            "{\"a\":[1,{\"b\":[2,3]},4],\"c\":5}",
            "[\\\"1\"]",
            "[1\\\"]",
            "[12a]",
            "[1-2]",
            "[--1]",
            "[1,2",
            "[\"a",
            "{",
            "[\"a\",]",
            "[]]",
            "[\"a\"]\"",
            "{\"a\":}",
            "[:]",
            "{:}",
            "[1:2]",
            "{\"a\":1:2}",
        ] {
            agree(text);
            // The same across the border between two blocks, wherever it falls.
            for pad in 40..70 {
                agree(&format!("[\"{}\",{text}]", &long[..pad]));
                agree(&format!("{{\"{}\":{text}}}", &long[..pad]));
                agree(&format!("[{},{text}]", &"1234567890".repeat(7)[..pad]));
            }
        }
        for depth in [1, 62, 63, 64, 65, 200] {
            agree(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            agree(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
            "[\\\\\"nu/\u{e9}\u{1f600}]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 80, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::vec(("[a-z\\\\\"]{0,9}", inner), 0..8)
                    .prop_map(|all| { serde_json::Value::Object(all.into_iter().collect()) }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn both_ways_agree_on_json_and_on_what_was_json(
            value in prop::collection::vec(json(), 0..6),
            hits in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\\n\\\\\"{}:,0-9]"), 0..3),
        ) {
            let mut text = serde_json::to_string(&value).unwrap();
            agree(&text);
            for (at, with) in hits {
                let mut at = at.index(text.len());
                while !text.is_char_boundary(at) { at -= 1; }
                let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
                text.replace_range(at..end, &with);
                if text.starts_with(['{', '[']) {
                    agree(&text);
                }
            }
        }
    }
}
