//! Queries the terminal for its background color without blocking. Keys typed meanwhile keep their
//! meaning, and a late answer (over a slow line) is not mistaken for keys.
//!
//! The request is OSC 11 of xterm's control sequences; the answer, `ESC ] 11 ; rgb:RRRR/GGGG/BBBB`
//! and `ESC \` or BEL, arrives as the keys Alt-], the text, and Alt-\ or Ctrl-G.

use crate::views::Theme;
use crossterm::event::{Event, KeyCode, KeyModifiers};
use std::time::{Duration, Instant};
use xterm_color::Color;

/// Query for the background color (OSC 11).
pub(crate) const BACKGROUND_QUERY: &str = "\x1b]11;?\x1b\\";

/// Maximum time that the first frame waits for the answer, so that it is not redrawn in other
/// colors.
pub(crate) const MAX_ANSWER_WAIT: Duration = Duration::from_millis(100);

/// Maximum time from the query to the start of its answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Text at the start of an answer.
const ANSWER_PREFIX: &str = "11;";
/// Maximum number of characters of an answer.
const MAX_ANSWER_LENGTH: usize = 40;

/// Query without an answer so far.
#[derive(Debug)]
pub(crate) struct BackgroundQuery {
    /// Time of the query.
    pub(crate) at: Instant,
    /// Characters of the answer received so far; `None` before its first key.
    answer: Option<String>,
}

/// Relation of a terminal event to the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AnswerMatch {
    /// Not part of an answer.
    No,
    /// Part of an incomplete answer.
    Part,
    /// Last key of the answer, and the theme that suits the color.
    Answer(Option<Theme>),
}

impl BackgroundQuery {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), answer: None }
    }

    /// Classifies an event and stores its part of the answer.
    pub(crate) fn classify(&mut self, event: &Event) -> AnswerMatch {
        let Event::Key(key) = event else { return AnswerMatch::No };
        let (alt, control) = (key.modifiers.contains(KeyModifiers::ALT), key.modifiers.contains(KeyModifiers::CONTROL));
        let Some(answer) = &mut self.answer else {
            let begins = alt && key.code == KeyCode::Char(']') && self.at.elapsed() < ANSWER_DEADLINE;
            self.answer = begins.then(String::new);
            return if begins { AnswerMatch::Part } else { AnswerMatch::No };
        };
        match key.code {
            KeyCode::Char('\\') if alt => AnswerMatch::Answer(theme(answer)),
            KeyCode::Char('g') if control => AnswerMatch::Answer(theme(answer)),
            KeyCode::Char(letter) if !alt && !control => {
                answer.push(letter);
                if answer.len() <= MAX_ANSWER_LENGTH
                    && (answer.starts_with(ANSWER_PREFIX) || ANSWER_PREFIX.starts_with(answer.as_str()))
                {
                    return AnswerMatch::Part;
                }
                // These keys are no answer: the user typed Alt-].
                self.answer = None;
                AnswerMatch::No
            }
            _ => {
                self.answer = None;
                AnswerMatch::No
            }
        }
    }
}

/// Returns the theme for an answer; `None` if the color is unreadable.
fn theme(answer: &str) -> Option<Theme> {
    let color = Color::parse(answer.strip_prefix(ANSWER_PREFIX)?.as_bytes()).ok()?;
    Some(if color.perceived_lightness() > 0.5 { Theme::Light } else { Theme::Dark })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyEvent;

    fn key(letter: char, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(letter), modifiers))
    }

    fn answered(text: &str, end: &Event) -> AnswerMatch {
        let mut query = BackgroundQuery::now();
        assert_eq!(query.classify(&key(']', KeyModifiers::ALT)), AnswerMatch::Part);
        for letter in text.chars() {
            assert_eq!(query.classify(&key(letter, KeyModifiers::NONE)), AnswerMatch::Part, "{letter}");
        }
        query.classify(end)
    }

    #[test]
    fn answers_with_both_ends() {
        let (st, bel) = (key('\\', KeyModifiers::ALT), key('g', KeyModifiers::CONTROL));
        assert_eq!(answered("11;rgb:ffff/ffff/ffff", &st), AnswerMatch::Answer(Some(Theme::Light)));
        assert_eq!(answered("11;rgb:1e/1e/2e", &bel), AnswerMatch::Answer(Some(Theme::Dark)));
        assert_eq!(answered("11;nonsense", &bel), AnswerMatch::Answer(None));
    }

    #[test]
    fn keys_stay_keys() {
        let mut query = BackgroundQuery::now();
        assert_eq!(query.classify(&key('q', KeyModifiers::NONE)), AnswerMatch::No);
        assert_eq!(query.classify(&key(']', KeyModifiers::ALT)), AnswerMatch::Part);
        assert_eq!(query.classify(&key('q', KeyModifiers::NONE)), AnswerMatch::No);
        assert_eq!(query.classify(&key('1', KeyModifiers::NONE)), AnswerMatch::No);
    }
}
