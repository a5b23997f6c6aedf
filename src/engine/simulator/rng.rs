//! Seeded random numbers and texts: the same in every version of this program.

const WORDS: [&str; 16] = [
    "Kunde", "order", "größer", "naïve", "東京", "refund", "Zürich", "annual", "🙂", "plan", "café", "upgrade", "test",
    "renewal", "support", "note",
];

/// Random number generator (xorshift64*): small, fast and reproducible on every platform.
pub(crate) struct SeededRng(u64);

impl SeededRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number from 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end.max(1)
    }

    /// True in `times` of a million cases.
    pub(crate) fn happens_per_million(&mut self, times: u32) -> bool {
        times > 0 && self.below(1_000_000) < u64::from(times)
    }

    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = self.below(all.len() as u64);
        all.get(usize::try_from(at).unwrap_or(0))
    }
}

/// Returns the fields of a record of about `size` bytes, without braces.
pub(crate) fn body(rng: &mut SeededRng, size: usize) -> String {
    let wanted = size * 3 / 4 + usize::try_from(rng.below(size as u64 / 2 + 1)).unwrap_or(0);
    let mut text = String::with_capacity(wanted + 200);
    text.push_str("\"object\":\"customer\",\"livemode\":false,\"deleted\":null");
    let mut field = 0;
    while text.len() < wanted {
        field += 1;
        let number = rng.below(1_000_000);
        let words: Vec<&str> = (0..2 + rng.below(5)).filter_map(|_| rng.pick(&WORDS).copied()).collect();
        let part = match rng.below(9) {
            0 => format!(",\"amount_{field}\":{number}"),
            1 => format!(",\"balance_{field}\":-{number}"),
            2 => format!(",\"rate_{field}\":{}.{}e-2", number % 100, number % 97),
            3 => format!(",\"created_{field}\":17{number:08}"),
            4 => format!(",\"description_{field}\":\"{} \\\"{number}\\\" \\u20ac\\n{}\"", words.join(" "), words.len()),
            5 => format!(",\"email_{field}\":\"user{number}@example.com\""),
            6 => {
                format!(
                    ",\"metadata_{field}\":{{\"order_id\":\"{number}\",\"note\":\"{}\",\"tags\":[]}}",
                    words.join(" ")
                )
            }
            7 => format!(",\"items_{field}\":[{{\"id\":\"li_{number}\",\"quantity\":{}}},null,true]", number % 9),
            _ => format!(",\"name_{field}\":\"{}\"", words.join(" ")),
        };
        text.push_str(&part);
    }
    text
}
