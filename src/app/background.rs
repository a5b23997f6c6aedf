//! Asks the terminal for its background color without blocking: keys typed meanwhile stay keys, and
//! a late answer (over a slow line) is not taken for keys.
//!
//! The request is OSC 11 of xterm's control sequences; the answer, `ESC ] 11 ; rgb:RRRR/GGGG/BBBB`
//! and `ESC \` or BEL, arrives as the keys Alt-], the text, and Alt-\ or Ctrl-G.

use crate::views::Theme;
use crossterm::event::{Event, KeyCode, KeyModifiers};
use std::time::{Duration, Instant};
use xterm_color::Color;

pub(super) const QUESTION: &str = "\x1b]11;?\x1b\\";

/// Time the first picture waits for the terminal's answer, so that it is not redrawn in other
/// colors.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// Latest arrival of an answer.
const LATEST: Duration = Duration::from_secs(30);

/// Prefix of the answer, and its maximum length.
const BEGIN: &str = "11;";
const LENGTH: usize = 40;

/// A question that is open.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    /// The answer as far as it has come.
    answer: Option<String>,
}

/// Classification of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    No,
    Part,
    Answer(Option<Theme>),
}

impl Asked {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), answer: None }
    }

    pub(super) fn take(&mut self, event: &Event) -> Taken {
        let Event::Key(key) = event else { return Taken::No };
        let (alt, control) = (key.modifiers.contains(KeyModifiers::ALT), key.modifiers.contains(KeyModifiers::CONTROL));
        let Some(answer) = &mut self.answer else {
            let begins = alt && key.code == KeyCode::Char(']') && self.at.elapsed() < LATEST;
            self.answer = begins.then(String::new);
            return if begins { Taken::Part } else { Taken::No };
        };
        match key.code {
            KeyCode::Char('\\') if alt => Taken::Answer(theme(answer)),
            KeyCode::Char('g') if control => Taken::Answer(theme(answer)),
            KeyCode::Char(letter) if !alt && !control => {
                answer.push(letter);
                if answer.len() <= LENGTH && (answer.starts_with(BEGIN) || BEGIN.starts_with(answer.as_str())) {
                    return Taken::Part;
                }
                // The user typed Alt-].
                self.answer = None;
                Taken::No
            }
            _ => {
                self.answer = None;
                Taken::No
            }
        }
    }
}

fn theme(answer: &str) -> Option<Theme> {
    let colour = Color::parse(answer.strip_prefix(BEGIN)?.as_bytes()).ok()?;
    Some(if colour.perceived_lightness() > 0.5 { Theme::Light } else { Theme::Dark })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyEvent;

    fn key(letter: char, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(letter), modifiers))
    }

    fn answered(text: &str, end: &Event) -> Taken {
        let mut asked = Asked::now();
        assert_eq!(asked.take(&key(']', KeyModifiers::ALT)), Taken::Part);
        for letter in text.chars() {
            assert_eq!(asked.take(&key(letter, KeyModifiers::NONE)), Taken::Part, "{letter}");
        }
        asked.take(end)
    }

    #[test]
    fn answers_with_both_ends() {
        let (st, bel) = (key('\\', KeyModifiers::ALT), key('g', KeyModifiers::CONTROL));
        assert_eq!(answered("11;rgb:ffff/ffff/ffff", &st), Taken::Answer(Some(Theme::Light)));
        assert_eq!(answered("11;rgb:1e/1e/2e", &bel), Taken::Answer(Some(Theme::Dark)));
        assert_eq!(answered("11;nonsense", &bel), Taken::Answer(None));
    }

    #[test]
    fn keys_stay_keys() {
        let mut asked = Asked::now();
        assert_eq!(asked.take(&key('q', KeyModifiers::NONE)), Taken::No);
        assert_eq!(asked.take(&key(']', KeyModifiers::ALT)), Taken::Part);
        assert_eq!(asked.take(&key('q', KeyModifiers::NONE)), Taken::No);
        assert_eq!(asked.take(&key('1', KeyModifiers::NONE)), Taken::No);
    }
}
