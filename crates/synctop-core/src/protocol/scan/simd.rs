//! Skips an object or array 64 bytes at a time, with the same result as [`super::skip::container`],
//! but for an empty container at the 64th level, which may be accepted here.
//!
//! Every byte of a block sets a bit in the mask of its class, and the grammar is checked by a few
//! operations on masks. Engines print no spaces, so the successor of a token is always the next
//! byte (`{` is followed by a quote or `}`). Only brackets, words, escapes and numbers that are not
//! plain integers are examined one by one. The masks are those of Langdale and Lemire, "Parsing
//! Gigabytes of JSON per Second" (2019): strings by carry-less multiplication of the quotes, escapes
//! by an addition with carry. Branches that depend on the data cost more than the masks, so a bracket
//! is passed without one.
//!
//! Measured (`cargo bench --bench reduce`, records): decoding takes less than three quarters of the
//! time of the bytewise path. That one serves other processors, and is the reference of a test and of
//! the fuzzer in `fuzz/`.
//!
//! # Safety
//! There are three kinds of `unsafe`: a call of a function whose processor features were just
//! detected, an unaligned load that lies within an array of 64 bytes, and a masked load that reads
//! the bytes of a slice only.
#![allow(unsafe_code)]
#![expect(clippy::cast_ptr_alignment, reason = "these loads need no alignment")]
#![expect(clippy::too_many_lines, reason = "one pass over a block, whose masks all depend on each other")]

/// Returns the offset after the container that starts at `at`. The inner `None` means that it is
/// not valid JSON without spaces between tokens, or nested deeper than 63 levels; the outer `None`
/// means that the processor lacks the needed features.
#[inline]
pub(super) fn container(bytes: &[u8], at: usize) -> Option<Option<usize>> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let bits = has!("pclmulqdq") && has!("bmi1") && has!("bmi2") && has!("lzcnt");
        if bits && has!("avx512bw") {
            // SAFETY: the features that `avx512::container` needs were detected.
            return Some(unsafe { x86::avx512::container(bytes, at) });
        }
        if bits && has!("avx2") {
            // SAFETY: the features that `avx2::container` needs were detected.
            return Some(unsafe { x86::avx2::container(bytes, at) });
        }
    }
    let _ = (bytes, at);
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::protocol::scan::token::{escape, scalar};
    use std::arch::x86_64::{
        __m256i, __m512i, _bzhi_u64, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8, _mm256_slli_epi16, _mm256_sub_epi8, _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask,
        _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_or_si512, _mm512_set1_epi8, _mm512_sub_epi8,
        _mm512_test_epi8_mask,
    };
    use std::hint::select_unpredictable;

    /// Bit by which `{` and `}` differ from `[` and `]`.
    const CURLY: i8 = 0x20;

    /// Block of 64 bytes in two AVX2 registers. Methods return one bit per byte.
    struct Avx2Block {
        low: __m256i,
        high: __m256i,
    }

    impl Avx2Block {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn load(bytes: &[u8; 64]) -> Self {
            let at = bytes.as_ptr().cast::<__m256i>();
            // SAFETY: both loads lie within the array and need no alignment.
            let (low, high) = unsafe { (_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))) };
            Self { low, high }
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn equal_to(&self, byte: u8) -> u64 {
            let wanted = _mm256_set1_epi8(byte.cast_signed());
            mask(_mm256_cmpeq_epi8(self.low, wanted), _mm256_cmpeq_epi8(self.high, wanted))
        }

        /// Returns the mask of the bytes that equal `byte`, a brace, or the square bracket beside it.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn bracket_like(&self, byte: u8) -> u64 {
            let curly = _mm256_set1_epi8(CURLY);
            Self { low: _mm256_or_si256(self.low, curly), high: _mm256_or_si256(self.high, curly) }.equal_to(byte)
        }

        /// Returns the mask of the bytes that are curly, if they are brackets.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn curly(&self) -> u64 {
            // Moves bit 5 to the top bit.
            mask(_mm256_slli_epi16::<2>(self.low), _mm256_slli_epi16::<2>(self.high))
        }

        /// Returns the mask of the bytes that are at most `byte`.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn at_most(&self, byte: u8) -> u64 {
            let bound = _mm256_set1_epi8(byte.cast_signed());
            let (low, high) = (_mm256_max_epu8(self.low, bound), _mm256_max_epu8(self.high, bound));
            mask(_mm256_cmpeq_epi8(low, bound), _mm256_cmpeq_epi8(high, bound))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        fn digit(&self) -> u64 {
            let zero = _mm256_set1_epi8(b'0'.cast_signed());
            Self { low: _mm256_sub_epi8(self.low, zero), high: _mm256_sub_epi8(self.high, zero) }.at_most(9)
        }

        /// Loads fewer than 64 bytes, followed by zeros.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn load_rest(rest: &[u8]) -> Self {
            let mut padded = [0; 64];
            for (to, from) in padded.iter_mut().zip(rest) {
                *to = *from;
            }
            Self::load(&padded)
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn mask(low: __m256i, high: __m256i) -> u64 {
        let bits = |half: __m256i| u64::from(_mm256_movemask_epi8(half).cast_unsigned());
        bits(low) | bits(high) << 32
    }

    /// Block of 64 bytes in one AVX-512 register. Methods return one bit per byte.
    struct Avx512Block(__m512i);

    impl Avx512Block {
        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn load(bytes: &[u8; 64]) -> Self {
            // SAFETY: the load covers exactly the array and needs no alignment.
            Self(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast::<__m512i>()) })
        }

        /// Loads fewer than 64 bytes, followed by zeros.
        #[inline]
        #[target_feature(enable = "avx512bw,bmi2")]
        fn load_rest(rest: &[u8]) -> Self {
            let present = _bzhi_u64(u64::MAX, u32::try_from(rest.len()).unwrap_or(64));
            // SAFETY: the mask covers the bytes of the slice only; other bytes are not read.
            Self(unsafe { _mm512_maskz_loadu_epi8(present, rest.as_ptr().cast::<i8>()) })
        }

        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn equal_to(&self, byte: u8) -> u64 {
            _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte.cast_signed()))
        }

        /// Returns the mask of the bytes that equal `byte`, a brace, or the square bracket beside it.
        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn bracket_like(&self, byte: u8) -> u64 {
            Self(_mm512_or_si512(self.0, _mm512_set1_epi8(CURLY))).equal_to(byte)
        }

        /// Returns the mask of the bytes that are curly, if they are brackets.
        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn curly(&self) -> u64 {
            _mm512_test_epi8_mask(self.0, _mm512_set1_epi8(CURLY))
        }

        /// Returns the mask of the bytes that are at most `byte`.
        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn at_most(&self, byte: u8) -> u64 {
            _mm512_cmple_epu8_mask(self.0, _mm512_set1_epi8(byte.cast_signed()))
        }

        #[inline]
        #[target_feature(enable = "avx512bw")]
        fn digit(&self) -> u64 {
            Self(_mm512_sub_epi8(self.0, _mm512_set1_epi8(b'0'.cast_signed()))).at_most(9)
        }
    }

    /// Returns a mask whose bit n is the parity of bits 0 to n.
    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn parity(bits: u64) -> u64 {
        let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits.cast_signed()), _mm_set1_epi8(-1));
        _mm_cvtsi128_si64(product).cast_unsigned()
    }

    /// State carried from one block to the next. Most fields hold in bit 0 the class of the last
    /// byte of the block.
    #[derive(Default)]
    struct Carry {
        /// Colon or comma.
        due: u64,
        opens: u64,
        key_due: u64,
        key_ended: u64,
        scalar: u64,
        minus: u64,
        zero: u64,
        /// All ones if the block ends inside a string.
        string: u64,
        key: u64,
        escape: u64,
    }

    /// Returns the mask of the bytes that follow the set ones, and carries the last bit to the next
    /// block.
    #[inline]
    fn following(bits: u64, carry: &mut u64) -> u64 {
        let shifted = bits << 1 | *carry;
        *carry = bits >> 63;
        shifted
    }

    /// Returns the mask of the characters after a backslash that is not itself escaped.
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

    /// Open containers, the innermost in the lowest bit: set for an object. The highest set bit is
    /// above them.
    #[derive(Clone, Copy, PartialEq)]
    struct Nesting(u64);

    impl Nesting {
        const NONE: Self = Self(1);

        /// Returns all ones inside an object.
        #[inline]
        fn in_object(self) -> u64 {
            (self.0 & 1).wrapping_neg()
        }

        /// Passes one bracket, or none if `is_any` is false. Returns the nesting after it, and other
        /// than zero for a bracket that does not fit or is nested too deeply.
        #[inline]
        fn pass(self, is_any: bool, is_open: bool, is_object: bool) -> (Self, u64) {
            let (open, any, object) = (self.0, u64::from(is_any), u64::from(is_object));
            let after = select_unpredictable(is_open, open << 1 | object, open >> any);
            let wrong = select_unpredictable(is_open, open >> 63, ((open & 1) ^ object) & any);
            (Self(after), wrong)
        }
    }

    /// Returns true if the text from `at` begins with the word `true`, `false` or `null`, which is
    /// `length` bytes long.
    #[inline]
    #[target_feature(enable = "bmi2")]
    fn is_word(bytes: &[u8], at: usize, length: u32) -> bool {
        const TRUE: u64 = u64::from_le_bytes(*b"true\0\0\0\0");
        const FALSE: u64 = u64::from_le_bytes(*b"false\0\0\0");
        const NULL: u64 = u64::from_le_bytes(*b"null\0\0\0\0");
        let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { return false };
        let text = u64::from_le_bytes(*eight);
        match length {
            4 => matches!(_bzhi_u64(text, 32), TRUE | NULL),
            5 => _bzhi_u64(text, 40) == FALSE,
            _ => false,
        }
    }

    /// Checks the number or word of which `at` is a byte.
    #[inline(never)]
    fn check_scalar(bytes: &[u8], at: usize) -> Option<()> {
        let before = bytes.get(..at)?.iter().rposition(|byte| matches!(byte, b',' | b':' | b'['))?;
        let end = scalar(bytes, before + 1)?;
        matches!(bytes.get(end), Some(b',' | b'}' | b']')).then_some(())
    }

    /// Defines `container` in a module for one block type and its processor features.
    macro_rules! scanner {
        ($name:ident, $block:ident, $features:literal) => {
            pub(in crate::protocol) mod $name {
                use super::*;

                #[target_feature(enable = $features)]
                pub(in crate::protocol) fn container(bytes: &[u8], at: usize) -> Option<usize> {
                    if !matches!(bytes.get(at), Some(b'{' | b'[')) {
                        return None;
                    }
                    let mut carry = Carry { due: 1, ..Carry::default() };
                    let mut nesting = Nesting::NONE;
                    let mut base = at;
                    loop {
                        let rest = bytes.get(base..)?;
                        let block = match rest.first_chunk::<64>() {
                            Some(block) => $block::load(block),
                            None if rest.is_empty() => return None,
                            None => $block::load_rest(rest),
                        };

                        let backslash = block.equal_to(b'\\');
                        let escaped =
                            if backslash | carry.escape == 0 { 0 } else { escaped(backslash, &mut carry.escape) };
                        let quotes = block.equal_to(b'"');
                        let quote = quotes & !escaped;
                        let string = parity(quote) ^ carry.string;
                        carry.string = (string.cast_signed() >> 63).cast_unsigned();
                        let (opened, closed) = (quote & string, quote & !string);
                        let outside = !(string | quote);

                        let opens = block.bracket_like(b'{') & outside;
                        let closes = block.bracket_like(b'}') & outside;
                        let curly = block.curly();
                        let colon = block.equal_to(b':') & outside;
                        let comma = block.equal_to(b',') & outside;
                        let plain = outside & !(opens | closes | colon | comma);

                        // Finds the commas in objects, and the end of the outermost container. An
                        // empty container has neither, unless it is the outermost one.
                        let empty = opens & closes >> 1 & !(curly ^ curly >> 1);
                        let mut brackets = opens | closes;
                        if nesting != Nesting::NONE {
                            brackets &= !(empty | empty << 1);
                        }
                        let mut in_object: u64 = 0;
                        let mut since: u64 = u64::MAX;
                        let mut unfit: u64 = 0;
                        let mut end = 64;
                        // Most blocks have a bracket: the first is passed without a branch.
                        loop {
                            let bit = brackets & brackets.wrapping_neg();
                            in_object |= nesting.in_object() & since & bit.wrapping_sub(1);
                            since = bit.wrapping_neg();
                            let (after, wrong) = nesting.pass(bit != 0, bit & opens != 0, bit & curly != 0);
                            nesting = after;
                            unfit |= wrong;
                            if nesting == Nesting::NONE {
                                end = bit.trailing_zeros();
                                break;
                            }
                            brackets &= brackets.wrapping_sub(1);
                            if brackets == 0 {
                                break;
                            }
                        }
                        if unfit != 0 {
                            return None;
                        }
                        in_object |= nesting.in_object() & since;
                        let next_key = comma & in_object;

                        // A key is a string after `{` or after a comma of an object. The addition
                        // carries its opening quote through its bytes to its closing quote.
                        let key_due = following((opens & curly) | next_key, &mut carry.key_due);
                        let (through, one) = string.overflowing_add(opened & key_due);
                        let (through, two) = through.overflowing_add(carry.key);
                        carry.key = u64::from(one | two);
                        let key_end = through & !string & closed;

                        // A value or key begins after each bracket that opens, colon and comma, and
                        // nowhere else; only an empty container has none. A key is a string, and a
                        // colon follows it and nothing else.
                        let begun = following(opens, &mut carry.opens);
                        let due = begun | following(colon | comma, &mut carry.due);
                        let after_plain = following(plain, &mut carry.scalar);
                        let first = plain & !after_plain;
                        let mut wrong = (due ^ (opened | opens | first)) & !(closes & begun);
                        wrong |= key_due & !(opened | closes);
                        wrong |= following(key_end, &mut carry.key_ended) ^ colon;
                        wrong |= block.at_most(0x1f) & string;

                        // Digits, also after a minus sign, are a valid number unless more of them
                        // follow a leading zero. Other numbers and words are read one by one.
                        let digit = block.digit() & plain;
                        let minus = block.equal_to(b'-') & first;
                        let after_minus = following(minus, &mut carry.minus);
                        let zero = (first | after_minus) & block.equal_to(b'0');
                        wrong |= after_minus & !digit;
                        wrong |= following(zero, &mut carry.zero) & digit;

                        let within = if end == 64 { u64::MAX } else { (2u64 << end).wrapping_sub(1) };
                        if wrong & within != 0 {
                            return None;
                        }
                        let mut odd = plain & !(digit | minus) & within;
                        while odd != 0 {
                            let bit = odd & odd.wrapping_neg();
                            let place = bit.trailing_zeros();
                            // Bit after this scalar, if the block has it.
                            let after_it = plain.wrapping_add(bit) & !plain & bit.wrapping_neg();
                            let is_whole = bit & first != 0 && after_it != 0;
                            let length = after_it.trailing_zeros().wrapping_sub(place);
                            if !(is_whole && is_word(rest, place as usize, length)) {
                                check_scalar(bytes, base + place as usize)?;
                            }
                            odd &= !after_it.wrapping_sub(1);
                        }
                        let mut letters = escaped & string & within & !quotes;
                        if letters != 0 {
                            // Every escape but \u is one letter.
                            letters &= !(backslash
                                | block.equal_to(b'n')
                                | block.equal_to(b'/')
                                | block.equal_to(b't')
                                | block.equal_to(b'r')
                                | block.equal_to(b'b')
                                | block.equal_to(b'f'));
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

    scanner!(avx2, Avx2Block, "avx2,pclmulqdq,bmi1,bmi2,lzcnt");
    scanner!(avx512, Avx512Block, "avx512bw,pclmulqdq,bmi1,bmi2,lzcnt");
}

/// Results of all implementations that this processor supports.
#[cfg(test)]
fn all_implementations(bytes: &[u8], at: usize) -> Vec<Option<usize>> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let bits = has!("pclmulqdq") && has!("bmi1") && has!("bmi2") && has!("lzcnt");
        if bits && has!("avx512bw") {
            // SAFETY: as in `container`.
            all.push(unsafe { x86::avx512::container(bytes, at) });
        }
        if bits && has!("avx2") {
            // SAFETY: as in `container`.
            all.push(unsafe { x86::avx2::container(bytes, at) });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::protocol::scan::skip;
    use proptest::prelude::*;

    /// Asserts that all implementations agree with the bytewise path, and that serde_json accepts
    /// any text that they accept.
    fn assert_agreement(text: &str) {
        let slow = skip::container(text.as_bytes(), 0);
        for fast in super::all_implementations(text.as_bytes(), 0) {
            assert_eq!(fast, slow, "{text:?}");
        }
        let mut read = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
        if let Some(end) = slow {
            assert!(matches!(read.next(), Some(Ok(_))), "{text:?}");
            assert_eq!(read.byte_offset(), end, "{text:?}");
        }
    }

    #[test]
    fn implementations_agree_on_corner_cases() {
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
            "[tRue]",
            "[1true]",
            "[true1]",
            "[true,false,null,-1,-0.5e3,1.25]",
            "[-true]",
            "[nulls,1]",
            "[f,1]",
            "[-1]",
            "[-01]",
            "[-00]",
            "[1.5.5]",
            "[1-]",
            "{\"a\":-7,\"b\":-0,\"c\":false}",
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
            assert_agreement(text);
            // The padding moves the text across the boundary between two blocks.
            for pad in 40..70 {
                assert_agreement(&format!("[\"{}\",{text}]", &long[..pad]));
                assert_agreement(&format!("{{\"{}\":{text}}}", &long[..pad]));
                assert_agreement(&format!("[{},{text}]", &"1234567890".repeat(7)[..pad]));
            }
        }
        for word in ["true", "false", "null", "1", "-1"] {
            for filler in ["x", " ", "\u{0}", "e", "é"] {
                for count in 1..=70 {
                    let token = word.to_owned() + &filler.repeat(count);
                    assert_agreement(&format!("[{token}]"));
                    assert_agreement(&format!("{{\"a\":{token},\"b\":1}}"));
                }
            }
        }
        for depth in [1, 62, 63, 64, 65, 200] {
            assert_agreement(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            assert_agreement(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
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
        fn implementations_agree_on_json_and_on_damaged_json(
            value in prop::collection::vec(json(), 0..6),
            hits in prop::collection::vec(
                (any::<prop::sample::Index>(), "[ -~\\n\\\\\"{}:,0-9]", prop_oneof![Just(1), 2..70_usize]),
                0..3,
            ),
        ) {
            let mut text = serde_json::to_string(&value).unwrap();
            assert_agreement(&text);
            for (at, with, count) in hits {
                let mut at = at.index(text.len());
                while !text.is_char_boundary(at) { at -= 1; }
                let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
                text.replace_range(at..end, &with.repeat(count));
                if text.starts_with(['{', '[']) {
                    assert_agreement(&text);
                }
            }
        }
    }
}
