//! Diagnostics pane: synctop's own log and the engine's stderr, drawn by tui-logger with filters by
//! level and target.

use crate::views::run::state::{Pane, RunFrame};
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;
use ratatui::widgets::{BorderType, Widget};
use tui_logger::{TuiLoggerLevelOutput, TuiLoggerSmartWidget, TuiLoggerWidget};

pub fn draw(pen: &mut Pen, screen: &RunFrame) {
    let look = screen.look;
    let focused = screen.ui.focus == Pane::Diagnostics;
    pen.pane_title(5, focused, "diagnostics", "t targets, f one target, + - levels shown, c C levels kept", "");
    let area = Rect { y: pen.area.y + 1, height: pen.area.height.saturating_sub(1), ..pen.area };
    pen.put(3, 1, "no output yet", look.dim());
    // The list of targets has borders, which need room.
    if !screen.ui.own.targets || area.height < 4 || area.width < 30 {
        let widget = TuiLoggerWidget::default()
            .style(look.plain())
            .style_error(look.bad())
            .style_warn(look.warn())
            .style_info(look.plain())
            .style_debug(look.dim())
            .style_trace(look.dim())
            .output_separator(' ')
            .output_timestamp(Some("%H:%M:%S".into()))
            .output_level(Some(TuiLoggerLevelOutput::Long))
            .output_target(true)
            .output_file(false)
            .output_line(false)
            .state(&screen.ui.own.diagnostics);
        return pen.widget(area, |area, buffer| widget.render(area, buffer));
    }
    let widget = TuiLoggerSmartWidget::default()
        .style(look.plain())
        .style_error(look.bad())
        .style_warn(look.warn())
        .style_info(look.plain())
        .style_debug(look.dim())
        .style_trace(look.dim())
        .style_off(look.dim())
        .style_show(look.strong())
        .style_hide(look.dim())
        .border_style(look.dim())
        .border_type(BorderType::Plain)
        .highlight_style(look.chosen())
        .output_separator(' ')
        .output_timestamp(Some("%H:%M:%S".into()))
        .output_level(Some(TuiLoggerLevelOutput::Long))
        .output_target(true)
        .output_file(false)
        .output_line(false)
        .title_target(" targets ")
        .title_log(" messages ")
        .state(&screen.ui.own.diagnostics);
    pen.widget(area, |area, buffer| widget.render(area, buffer));
}
