//! The first lines: which run it is, how far it is, and how it goes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::LineGauge;

use super::number::short;
use super::seen::{Seen, Stage};
use crate::duration::of_seconds;
use crate::visible;

/// How many they are.
pub(super) fn lines(seen: &Seen) -> u16 {
    3 + u16::from(warning(seen).is_some())
}

pub(super) fn draw(seen: &Seen, now: f64, frame: &mut Frame<'_>, area: Rect) {
    let heights = [1, 1, 1, lines(seen) - 3].map(Constraint::Length);
    let [title, way, pace, warned] = Layout::vertical(heights).areas(area);
    let (stage, color) = match seen.stage() {
        Stage::Preparing => ("preparing", Color::Yellow),
        Stage::Training => ("training", Color::Green),
        Stage::Measuring => ("measuring after", Color::Green),
        Stage::Finished => ("finished", Color::Cyan),
    };
    let mut right = vec![Span::styled(stage, Style::new().fg(color).bold())];
    // A run that is stopped says so by nothing else.
    if let Some(latest) = seen.log.latest.filter(|_| seen.stage() != Stage::Finished) {
        right.push(format!(", last heard of {} ago", of_seconds(now - latest)).into());
    }
    right.push("  q quits".dim());
    let right = Line::from(right);
    let [left_area, right_area] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(right.width() as u16)]).spacing(1).areas(title);
    let name = Span::from(visible::line(&seen.name)).bold();
    let of = seen.of.iter().map(|of| Span::from(format!(" · {}", visible::line(of))));
    frame.render_widget(Line::from_iter(std::iter::once(name).chain(of)), left_area);
    frame.render_widget(right, right_area);
    match &seen.log.started {
        None => {
            let before = "rows are read, gaps measured or the reference asked; no step is taken yet";
            frame.render_widget(Line::from(before), way);
        }
        Some(started) => {
            let step = seen.log.steps.last().map_or(started.step, |event| event.step);
            let ratio = step as f64 / started.total_steps.max(1) as f64;
            let gauge = LineGauge::default()
                .ratio(ratio.min(1.0))
                .label(format!("step {step}/{}", started.total_steps))
                .filled_symbol("█")
                .unfilled_symbol("░")
                .filled_style(Style::new().fg(color));
            frame.render_widget(gauge, way);
        }
    }
    frame.render_widget(Line::from(paces(seen).join(" · ")), pace);
    if let Some(warning) = warning(seen) {
        frame.render_widget(Line::from(warning).fg(Color::Red), warned);
    }
}

/// Time, speed and the numbers that say whether training is healthy.
fn paces(seen: &Seen) -> Vec<String> {
    let Some(event) = seen.log.steps.last() else {
        return vec![];
    };
    let time = seen.log.elapsed.map(|seconds| format!("{} elapsed", of_seconds(seconds)));
    let left = event.seconds_left.filter(|_| seen.stage() == Stage::Training);
    let left = left.map(|seconds| format!("{} left", of_seconds(seconds)));
    let speed = format!("{:.0} tokens/s", event.tokens_per_second);
    let number = |key, name| seen.last(key).map(|value| format!("{name} {}", short(value)));
    let health = [("learning_rate", "lr"), ("grad_norm", "grad norm")].map(|(key, name)| number(key, name));
    time.into_iter().chain(left).chain([speed]).chain(health.into_iter().flatten()).collect()
}

/// What the last measurement warned of.
fn warning(seen: &Seen) -> Option<String> {
    let measured = seen.log.measured.last()?;
    let warnings: Vec<String> = measured.warnings.iter().map(visible::line).collect();
    (!warnings.is_empty()).then(|| format!("warning: {}", warnings.join("; ")))
}
