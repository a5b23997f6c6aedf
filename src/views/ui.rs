//! State of a screen that does not come from its data: focus, selections, filters, overlays, sizes.
//! Both screens have the same; a screen adds its panes, rows, sheets and actions as types.

use crate::views::action::{Action, Binding, KeyContext};
use crate::views::filter::Filter;
use std::fmt::Debug;
use std::hash::Hash;
use strum::VariantArray;
use tui_input::Input;

/// Maximum number of panes of a screen.
pub const MAX_PANES: usize = 6;

/// Types of a screen.
pub trait ScreenTypes: Copy + Debug + Default + PartialEq + Eq + 'static {
    /// Actions of this screen alone.
    type Action: Copy + Eq + Hash + Debug;
    type Pane: Copy + Eq + Hash + Debug + Default + VariantArray;
    /// Identity of a row, independent of its position.
    type Key: Clone + Eq + Debug;
    /// Column that the main list can be sorted by.
    type Column: Copy + Eq + Debug + Default + VariantArray + Into<&'static str>;
    /// Group of rows of the main list.
    type Group: Copy + Eq + Debug + VariantArray;
    /// Overlay of this screen alone.
    type Sheet: Clone + Debug + SheetState;
    /// State of this screen alone.
    type State: Clone + Debug + Default;
    /// Data of one frame.
    type Model<'a>: ListModel<Self>;

    /// Table of the actions.
    const ACTIONS: &'static [Binding<Self::Action>];

    /// Groups that start folded.
    #[must_use]
    fn starts_folded(_: Self::Group) -> bool {
        false
    }

    /// Returns the action of a click on the scrubber, at a share of its width in parts of 65,535.
    #[must_use]
    fn seek(_: u16) -> Option<Self::Action> {
        None
    }
}

/// Rows of the panes, as one frame shows them.
pub trait ListModel<S: ScreenTypes> {
    /// Returns the number of rows of a pane.
    fn len(&self, pane: S::Pane) -> usize;

    /// Returns the identity of a row; `None` if it cannot be selected.
    fn key(&self, pane: S::Pane, index: usize) -> Option<S::Key>;

    /// Returns the position of the selected row, or of the row that counts as selected.
    fn place(&self, pane: S::Pane, chosen: Option<&S::Key>) -> usize;

    /// Returns the group of a row of the main list, and the key of that group's heading.
    fn group(&self, index: usize) -> Option<(S::Group, S::Key)>;

    /// True if the last row of a pane stands for no selection: the pane follows new rows.
    fn follows(&self, _: S::Pane) -> bool {
        false
    }
}

/// Overlay of one screen: its parts that keys reach.
pub trait SheetState {
    /// Returns the scroll position of a text.
    fn scroll(&mut self) -> Option<&mut usize>;

    /// Returns the selection of a list, and the number of its rows.
    fn selection(&mut self) -> Option<(&mut usize, usize)> {
        None
    }

    /// Returns the text field that receives typed text.
    fn input(&mut self) -> Option<&mut Input> {
        None
    }

    /// True if pasted text may go into the text field.
    fn accepts_paste(&self) -> bool {
        true
    }

    /// Returns the part of the screen that receives the keys.
    fn context(&self) -> KeyContext {
        KeyContext::Panes
    }
}

/// List state: selection, scroll position, filter.
#[derive(Debug, Clone)]
pub struct List<K> {
    pub chosen: Option<K>,
    pub top: usize,
    pub filter: Filter,
}

impl<K> Default for List<K> {
    fn default() -> Self {
        Self { chosen: None, top: 0, filter: Filter::default() }
    }
}

/// Overlay above the panes. The topmost overlay receives the keys.
#[derive(Debug, Clone)]
pub enum Overlay<S: ScreenTypes> {
    Help {
        top: usize,
    },
    Palette {
        input: Input,
        chosen: usize,
    },
    /// Filter being edited, and its previous value.
    Filter {
        input: Input,
        before: Filter,
    },
    /// Confirmation of quitting.
    Quit,
    Sheet(S::Sheet),
}

impl<S: ScreenTypes> Overlay<S> {
    /// Returns the part of the screen that receives the keys.
    #[must_use]
    pub fn context(&self) -> KeyContext {
        match self {
            Self::Help { .. } => KeyContext::Panes,
            Self::Palette { .. } | Self::Filter { .. } => KeyContext::Prompt,
            Self::Quit => KeyContext::Dialog,
            Self::Sheet(sheet) => sheet.context(),
        }
    }

    /// Returns the text field that receives typed text.
    pub fn input(&mut self) -> Option<&mut Input> {
        match self {
            Self::Palette { input, .. } | Self::Filter { input, .. } => Some(input),
            Self::Sheet(sheet) => sheet.input(),
            Self::Help { .. } | Self::Quit => None,
        }
    }
}

/// Sizes of the panes, remembered between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Sizes {
    /// Width of the left column, in percent; `None` for the width that its content needs.
    pub left: Option<u16>,
    /// Height of the preview in rows; `None` for the rows that the list leaves free.
    pub preview: Option<u16>,
    /// True if the preview is shown.
    pub previews: bool,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { left: None, preview: None, previews: true }
    }
}

/// State of a screen.
#[derive(Debug, Clone)]
pub struct Ui<S: ScreenTypes> {
    pub focus: S::Pane,
    pub zoomed: bool,
    pub lists: [List<S::Key>; MAX_PANES],
    pub overlays: Vec<Overlay<S>>,
    /// Groups folded or unfolded by hand.
    pub folds: Vec<(S::Group, bool)>,
    pub sort: S::Column,
    pub reversed: bool,
    pub sizes: Sizes,
    /// Notice about the last action.
    pub toast: Option<String>,
    pub own: S::State,
}

impl<S: ScreenTypes> Default for Ui<S> {
    fn default() -> Self {
        Self {
            focus: S::Pane::default(),
            zoomed: false,
            lists: std::array::from_fn(|_| List::default()),
            overlays: Vec::new(),
            folds: Vec::new(),
            sort: S::Column::default(),
            reversed: false,
            sizes: Sizes::default(),
            toast: None,
            own: S::State::default(),
        }
    }
}

impl<S: ScreenTypes> Ui<S> {
    #[must_use]
    pub fn list(&self, pane: S::Pane) -> &List<S::Key> {
        match position(pane) {
            1 => &self.lists[1],
            2 => &self.lists[2],
            3 => &self.lists[3],
            4 => &self.lists[4],
            5 => &self.lists[5],
            _ => &self.lists[0],
        }
    }

    pub fn list_mut(&mut self, pane: S::Pane) -> &mut List<S::Key> {
        match position(pane) {
            1 => &mut self.lists[1],
            2 => &mut self.lists[2],
            3 => &mut self.lists[3],
            4 => &mut self.lists[4],
            5 => &mut self.lists[5],
            _ => &mut self.lists[0],
        }
    }

    /// Forgets the selections, scroll positions and filters of all panes.
    pub fn clear_lists(&mut self) {
        self.lists = std::array::from_fn(|_| List::default());
    }

    #[must_use]
    pub fn folded(&self, group: S::Group) -> bool {
        let by_hand = self.folds.iter().find(|(of, _)| *of == group).map(|(_, folded)| *folded);
        by_hand.unwrap_or_else(|| S::starts_folded(group))
    }

    pub fn fold(&mut self, group: S::Group, fold: bool) {
        self.folds.retain(|(of, _)| *of != group);
        self.folds.push((group, fold));
    }

    /// True if a filter of the focused pane is active.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.list(self.focus).filter.active()
    }

    /// Returns the topmost overlay, if it is one of this screen alone.
    #[must_use]
    pub fn sheet(&self) -> Option<&S::Sheet> {
        match self.overlays.last() {
            Some(Overlay::Sheet(sheet)) => Some(sheet),
            _ => None,
        }
    }

    pub fn sheet_mut(&mut self) -> Option<&mut S::Sheet> {
        match self.overlays.last_mut() {
            Some(Overlay::Sheet(sheet)) => Some(sheet),
            _ => None,
        }
    }

    /// Opens an overlay of this screen.
    pub fn open(&mut self, sheet: S::Sheet) {
        self.overlays.push(Overlay::Sheet(sheet));
    }

    /// Shows a notice in the footer.
    pub fn say(&mut self, text: impl Into<String>) {
        self.toast = Some(text.into());
    }
}

/// Returns the position of a pane among those of its screen.
#[must_use]
pub fn position<P: VariantArray + PartialEq + 'static>(pane: P) -> usize {
    P::VARIANTS.iter().position(|known| *known == pane).unwrap_or(0)
}

/// Data and state of one frame.
pub struct ScreenFrame<'a, 'm, S: ScreenTypes> {
    pub model: &'a S::Model<'m>,
    pub ui: &'a Ui<S>,
}

#[expect(clippy::expl_impl_clone_on_copy, reason = "a derived one would ask it of the types of the screen")]
impl<S: ScreenTypes> Clone for ScreenFrame<'_, '_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ScreenTypes> Copy for ScreenFrame<'_, '_, S> {}

/// The data are used most: a view reads them as fields of the frame.
impl<'m, S: ScreenTypes> std::ops::Deref for ScreenFrame<'_, 'm, S> {
    type Target = S::Model<'m>;

    fn deref(&self) -> &Self::Target {
        self.model
    }
}

/// Returns the action of a topmost overlay's or a pane's key.
#[must_use]
pub fn bound<S: ScreenTypes>(ui: &Ui<S>, chord: &str) -> Option<Action<S::Action>> {
    let context = ui.overlays.last().map_or(KeyContext::Panes, Overlay::context);
    // On an overlay, q closes the overlay instead of quitting the program.
    if chord == "q" && context == KeyContext::Panes && !ui.overlays.is_empty() {
        return Some(Action::Back);
    }
    crate::views::action::bound(S::ACTIONS, context, chord)
}
