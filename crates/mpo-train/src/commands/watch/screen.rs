//! Where each part of a run is drawn.

use std::time::{SystemTime, UNIX_EPOCH};

use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout};

use super::seen::Seen;
use super::{answers, curves, head, languages};

/// Lines below which a chart says nothing.
const CHART: u16 = 5;
/// Lines below which answers do not.
const ANSWERS: u16 = 3;

/// A run, and where its user is in it.
pub(super) struct Screen {
    seen: Seen,
    /// Lines of answers above those that are shown.
    above: u16,
}

impl Screen {
    pub(super) fn new(seen: Seen) -> Self {
        Self { seen, above: 0 }
    }

    /// Something was written.
    pub(super) fn show(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// A key other than those that end it.
    pub(super) fn press(&mut self, key: KeyCode) {
        self.above = match key {
            KeyCode::Down | KeyCode::Char('j') => self.above.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.above.saturating_sub(1),
            _ => self.above,
        };
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.draw_at(frame, now.as_secs_f64());
    }

    /// At a time, in seconds since 1970.
    pub(super) fn draw_at(&mut self, frame: &mut Frame<'_>, now: f64) {
        let seen = &self.seen;
        let standings = languages::standings(seen);
        let answers = answers::lines(seen);
        // The languages are the point of a run; charts and answers share what they leave, if it is enough.
        let (height, title) = (frame.area().height, head::lines(seen));
        let table = if standings.is_empty() { 0 } else { standings.len() as u16 + 1 };
        let table = table.min(height / 2);
        let rest = height.saturating_sub(title + table);
        let has_charts = !seen.log.steps.is_empty() && rest >= CHART;
        let has_answers = !answers.is_empty() && rest >= ANSWERS + if has_charts { CHART } else { 0 };
        let share = |is_shown: bool| if is_shown { Constraint::Fill(1) } else { Constraint::Length(0) };
        let [top, charts, middle, bottom] = Layout::vertical([
            Constraint::Length(title),
            share(has_charts),
            Constraint::Length(table),
            share(has_answers),
        ])
        .areas(frame.area());
        head::draw(seen, now, frame, top);
        if has_charts {
            let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(charts);
            curves::losses(seen, frame, left);
            curves::gaps(seen, frame, right);
        }
        languages::draw(seen, &standings, frame, middle);
        if has_answers {
            self.above = self.above.min(answers::below(&answers, bottom));
            answers::draw(answers, self.above, frame, bottom);
        }
    }
}
