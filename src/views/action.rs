//! Tables of actions, from which keys, help, palette, footer and manual page are derived.
//!
//! Each screen has its own type of actions: a key of one screen cannot reach the other. Actions
//! that both have stand here, those of one screen in `run/action.rs` and `fleet/action.rs`.

/// Action of a screen whose own actions are `O`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action<O> {
    Quit,
    Interrupt,
    Suspend,
    Help,
    Palette,
    Filter,
    /// Opens the selected row; accepts the text of a prompt.
    Open,
    Back,
    NextPane,
    PreviousPane,
    Zoom,
    /// Shows or hides the preview of the selected row.
    Preview,
    Resize(Resize),
    Move(Move),
    SortNext,
    SortPrevious,
    SortReverse,
    Fold,
    FoldAll,
    Copy,
    Mouse,
    Theme,
    Redraw,
    /// Accepts a dialog.
    Confirm,
    /// Closes a dialog without an effect.
    Cancel,
    /// Goes to the next field of a dialog.
    NextField,
    Own(O),
}

/// Movement of a selection or of a scrolled text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    Down,
    Up,
    PageDown,
    PageUp,
    Top,
    Bottom,
}

impl Move {
    /// Returns the index after the movement, with `last` as the largest one.
    #[must_use]
    pub fn from(self, at: usize, last: usize, page: usize) -> usize {
        match self {
            Self::Down => (at + 1).min(last),
            Self::Up => at.min(last).saturating_sub(1),
            Self::PageDown => (at + page).min(last),
            Self::PageUp => at.min(last).saturating_sub(page),
            Self::Top => 0,
            Self::Bottom => last,
        }
    }

    #[must_use]
    pub fn is_backward(self) -> bool {
        matches!(self, Self::Up | Self::PageUp | Self::Bottom)
    }
}

/// Change of a pane's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resize {
    /// The first pane gets wider.
    Wider,
    Narrower,
    /// The preview gets taller.
    Taller,
    Shorter,
}

/// Part of the help, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
pub enum HelpSection {
    #[strum(serialize = "Select and open")]
    Select,
    #[strum(serialize = "Pipelines")]
    Pipelines,
    #[strum(serialize = "Errors")]
    Errors,
    #[strum(serialize = "Time")]
    Time,
    #[strum(serialize = "Panes")]
    Panes,
    #[strum(serialize = "Lists")]
    Lists,
    #[strum(serialize = "Log and diagnostics")]
    Log,
    #[strum(serialize = "Screen")]
    Screen,
    #[strum(serialize = "In a dialog")]
    Dialog,
}

impl HelpSection {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Part of the screen that receives the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyContext {
    /// Panes and sheets: letters are keys.
    Panes,
    /// Dialog with answers.
    Dialog,
    /// Text input: only the keys of [`HelpSection::Dialog`] are keys, all others are text.
    Prompt,
}

/// Row of a table: an action, its texts and its keys.
#[derive(Debug, Clone, Copy)]
pub struct Binding<O> {
    pub action: Action<O>,
    pub section: HelpSection,
    /// Name in the palette and the footer.
    pub name: &'static str,
    pub does: &'static str,
    pub keys: &'static [&'static str],
}

/// Creates a row of a table.
pub const fn bind<O>(
    action: Action<O>,
    section: HelpSection,
    name: &'static str,
    does: &'static str,
    keys: &'static [&'static str],
) -> Binding<O> {
    Binding { action, section, name, does, keys }
}

/// Creates a row of a screen's own action.
pub const fn own<O: Copy>(
    action: O,
    section: HelpSection,
    name: &'static str,
    does: &'static str,
    keys: &'static [&'static str],
) -> Binding<O> {
    bind(Action::Own(action), section, name, does, keys)
}

/// Actions with the same meaning on every screen.
impl<O> Binding<O> {
    pub const HELP: Self = bind(Action::Help, HelpSection::Screen, "help", "Show all keys and marks", &["?", "f1"]);
    pub const PALETTE: Self =
        bind(Action::Palette, HelpSection::Screen, "all", "Find any action by its name", &[":", "ctrl-p"]);
    pub const FILTER: Self =
        bind(Action::Filter, HelpSection::Lists, "filter", "Filter the focused list: a pattern; ! negates", &["/"]);
    pub const NEXT_PANE: Self = bind(Action::NextPane, HelpSection::Panes, "pane", "Go to the next pane", &["tab"]);
    pub const PREVIOUS_PANE: Self =
        bind(Action::PreviousPane, HelpSection::Panes, "previous pane", "Go to the previous pane", &["shift-tab"]);
    pub const ZOOM: Self = bind(Action::Zoom, HelpSection::Panes, "zoom", "Zoom the focused pane, and back", &["z"]);
    pub const PREVIEW: Self =
        bind(Action::Preview, HelpSection::Panes, "preview", "Show or hide the preview of the selected row", &["p"]);
    pub const WIDER: Self = bind(
        Action::Resize(Resize::Wider),
        HelpSection::Panes,
        "wider list",
        "Make the left pane wider (or drag the rule)",
        &["alt-right"],
    );
    pub const NARROWER: Self = bind(
        Action::Resize(Resize::Narrower),
        HelpSection::Panes,
        "narrower list",
        "Make the left pane narrower",
        &["alt-left"],
    );
    pub const TALLER: Self = bind(
        Action::Resize(Resize::Taller),
        HelpSection::Panes,
        "taller preview",
        "Make the preview taller (or drag its rule)",
        &["alt-up"],
    );
    pub const SHORTER: Self = bind(
        Action::Resize(Resize::Shorter),
        HelpSection::Panes,
        "shorter preview",
        "Make the preview shorter",
        &["alt-down"],
    );
    pub const DOWN: Self = bind(Action::Move(Move::Down), HelpSection::Select, "down", "One row down", &["j", "down"]);
    pub const UP: Self = bind(Action::Move(Move::Up), HelpSection::Select, "up", "One row up", &["k", "up"]);
    pub const PAGE_DOWN: Self = bind(
        Action::Move(Move::PageDown),
        HelpSection::Select,
        "page down",
        "One page down",
        &["pgdn", "ctrl-d", "ctrl-f"],
    );
    pub const PAGE_UP: Self =
        bind(Action::Move(Move::PageUp), HelpSection::Select, "page up", "One page up", &["pgup", "ctrl-u", "ctrl-b"]);
    pub const SORT_NEXT: Self = bind(Action::SortNext, HelpSection::Lists, "sort", "Sort by the next column", &["s"]);
    pub const SORT_PREVIOUS: Self =
        bind(Action::SortPrevious, HelpSection::Lists, "sort previous", "Sort by the previous column", &["S"]);
    pub const SORT_REVERSE: Self =
        bind(Action::SortReverse, HelpSection::Lists, "reverse", "Reverse the order", &["r"]);
    pub const FOLD: Self =
        bind(Action::Fold, HelpSection::Lists, "fold", "Fold or unfold the group of the selected row", &["o"]);
    pub const FOLD_ALL: Self =
        bind(Action::FoldAll, HelpSection::Lists, "fold all", "Fold or unfold all groups", &["O"]);
    pub const COPY: Self = bind(
        Action::Copy,
        HelpSection::Select,
        "copy",
        "Copy the text of the selected row to the clipboard (OSC 52)",
        &["y"],
    );
    pub const MOUSE: Self = bind(
        Action::Mouse,
        HelpSection::Screen,
        "mouse",
        "Release the mouse for text selection, and capture it again",
        &["m"],
    );
    pub const THEME: Self = bind(
        Action::Theme,
        HelpSection::Screen,
        "theme",
        "Switch to the next theme: dark, light, mono, two for color-blind eyes",
        &["T"],
    );
    pub const REDRAW: Self = bind(Action::Redraw, HelpSection::Screen, "redraw", "Redraw everything", &["ctrl-l"]);
    pub const SUSPEND: Self =
        bind(Action::Suspend, HelpSection::Screen, "suspend", "Back to the shell; fg returns", &["ctrl-z"]);
    pub const CONFIRM: Self = bind(Action::Confirm, HelpSection::Dialog, "confirm", "Confirm the dialog", &["y"]);
    pub const CANCEL: Self =
        bind(Action::Cancel, HelpSection::Dialog, "cancel", "Close the dialog without an effect", &["n"]);
    pub const NEXT_FIELD: Self = bind(
        Action::NextField,
        HelpSection::Dialog,
        "next field",
        "Edit the reason of an action; back to its confirmation",
        &["tab", "shift-tab"],
    );
}

/// Returns the action that a key is bound to where the keys go to `context`.
#[must_use]
pub fn bound<O: Copy>(table: &[Binding<O>], context: KeyContext, chord: &str) -> Option<Action<O>> {
    let fixed = match (context, chord) {
        (_, "ctrl-c") => Some(Action::Interrupt),
        (KeyContext::Dialog, "esc" | "q") => Some(Action::Cancel),
        (KeyContext::Dialog, "down") => Some(Action::Move(Move::Down)),
        (KeyContext::Dialog, "up") => Some(Action::Move(Move::Up)),
        (KeyContext::Dialog, "pgdn") => Some(Action::Move(Move::PageDown)),
        (KeyContext::Dialog, "pgup") => Some(Action::Move(Move::PageUp)),
        (KeyContext::Prompt, "esc") => Some(Action::Back),
        (KeyContext::Prompt, "enter") => Some(Action::Open),
        (KeyContext::Prompt, "down" | "ctrl-n") => Some(Action::Move(Move::Down)),
        (KeyContext::Prompt, "up" | "ctrl-p") => Some(Action::Move(Move::Up)),
        _ => None,
    };
    let dialog = |binding: &&Binding<O>| match context {
        KeyContext::Panes => binding.section != HelpSection::Dialog,
        KeyContext::Dialog => binding.section == HelpSection::Dialog,
        // Letters are text.
        KeyContext::Prompt => binding.section == HelpSection::Dialog && chord.chars().count() > 1,
    };
    let found = table.iter().filter(dialog).find(|binding| binding.keys.contains(&chord));
    fixed.or(found.map(|binding| binding.action))
}

/// Returns the binding of an action.
#[must_use]
pub fn binding<O: PartialEq>(table: &'static [Binding<O>], action: Action<O>) -> Option<&'static Binding<O>> {
    table.iter().find(|binding| binding.action == action)
}

/// Returns the bindings that match `text`, best match first: in the name, in the description, or as
/// letters of the name in this order. Answers of dialogs are left out.
#[must_use]
pub fn matching<O>(table: &'static [Binding<O>], text: &str) -> Vec<&'static Binding<O>> {
    let text = text.trim().to_lowercase();
    let mut found: Vec<_> = table
        .iter()
        .filter(|binding| binding.section != HelpSection::Dialog)
        .filter_map(|binding| {
            let (name, does) = (binding.name.to_lowercase(), binding.does.to_lowercase());
            let rank = match () {
                () if name.starts_with(&text) => 0,
                () if name.contains(&text) => 1,
                () if does.contains(&text) => 2,
                () if letters_in_order(&text, &name) => 3,
                () => return None,
            };
            Some((rank, binding))
        })
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, binding)| binding).collect()
}

fn letters_in_order(letters: &str, text: &str) -> bool {
    let mut rest = text.chars();
    letters.chars().all(|letter| rest.any(|c| c == letter))
}
