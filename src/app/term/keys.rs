//! Maps keys to chords. `views::action` maps chords to actions.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Returns the chord's name as in the table of actions; `None` for key releases and for keys
/// without a name.
#[must_use]
pub fn chord(key: &KeyEvent) -> Option<String> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let name = match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::Enter => "enter".to_owned(),
        KeyCode::Esc => "esc".to_owned(),
        KeyCode::Tab => "tab".to_owned(),
        KeyCode::BackTab => return Some("shift-tab".to_owned()),
        KeyCode::Up => "up".to_owned(),
        KeyCode::Down => "down".to_owned(),
        KeyCode::Left => "left".to_owned(),
        KeyCode::Right => "right".to_owned(),
        KeyCode::Home => "home".to_owned(),
        KeyCode::End => "end".to_owned(),
        KeyCode::PageUp => "pgup".to_owned(),
        KeyCode::PageDown => "pgdn".to_owned(),
        KeyCode::Backspace => "backspace".to_owned(),
        KeyCode::F(number) => format!("f{number}"),
        _ => return None,
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let shift = key.modifiers.contains(KeyModifiers::SHIFT) && matches!(key.code, KeyCode::Left | KeyCode::Right);
    Some(match (control, alt) {
        (true, _) => format!("ctrl-{}", name.to_lowercase()),
        (false, true) => format!("alt-{name}"),
        (false, false) if shift => format!("shift-{name}"),
        (false, false) => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::action::{Binding, KeyContext, bound};
    use crate::views::fleet::action::FLEET_ACTIONS;
    use crate::views::run::action::ACTIONS;
    use std::collections::HashSet;
    use std::fmt::Debug;
    use std::hash::Hash;

    #[test]
    fn every_bound_key_can_be_typed() {
        let typed = |name: &str| {
            let (modifiers, rest) = match name.strip_prefix("ctrl-") {
                Some(rest) => (KeyModifiers::CONTROL, rest),
                None if name.starts_with("alt-") => (KeyModifiers::ALT, &name["alt-".len()..]),
                None => match name.strip_prefix("shift-").filter(|rest| *rest != "tab") {
                    Some(rest) => (KeyModifiers::SHIFT, rest),
                    None => (KeyModifiers::NONE, name),
                },
            };
            let code = match rest {
                "space" => KeyCode::Char(' '),
                "enter" => KeyCode::Enter,
                "esc" => KeyCode::Esc,
                "tab" => KeyCode::Tab,
                "shift-tab" => KeyCode::BackTab,
                "up" => KeyCode::Up,
                "down" => KeyCode::Down,
                "left" => KeyCode::Left,
                "right" => KeyCode::Right,
                "home" => KeyCode::Home,
                "end" => KeyCode::End,
                "pgup" => KeyCode::PageUp,
                "pgdn" => KeyCode::PageDown,
                "f1" => KeyCode::F(1),
                one => KeyCode::Char(one.chars().next().unwrap()),
            };
            chord(&KeyEvent::new(code, modifiers))
        };
        let run = ACTIONS.iter().flat_map(|binding| binding.keys);
        for key in run.chain(FLEET_ACTIONS.iter().flat_map(|binding| binding.keys)) {
            assert_eq!(typed(key).as_deref(), Some(*key));
        }
    }

    /// In one context a key means one thing, and each action stands once.
    fn check_table<O: Copy + Eq + Hash + Debug>(table: &[Binding<O>]) {
        let mut actions = HashSet::new();
        for binding in table {
            assert!(actions.insert(binding.action), "{} stands twice", binding.name);
            assert!(!binding.keys.is_empty() && !binding.does.is_empty());
            for key in binding.keys {
                let dialog = binding.section == crate::views::action::HelpSection::Dialog;
                let context = if dialog { KeyContext::Dialog } else { KeyContext::Panes };
                assert_eq!(bound(table, context, key), Some(binding.action), "{key} is bound twice");
            }
        }
    }

    #[test]
    fn keys_and_actions_are_unique_and_described() {
        check_table(ACTIONS);
        check_table(FLEET_ACTIONS);
    }
}
