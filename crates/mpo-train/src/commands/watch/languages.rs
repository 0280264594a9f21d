//! A line for each language: its gap, how near that is to the goal, and what the model answers in it.

use std::collections::BTreeMap;

use mpo_data::Language;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Row, Table};

use super::number::percent;
use super::seen::Seen;

/// Steps whose batches are taken together where nothing is held out: one batch says little.
const STEPS: usize = 10;
/// Columns of a bar.
const BAR: usize = 12;
/// Columns of the table's columns, the name's first.
const WIDTHS: [u16; 7] = [14, 6, 8, BAR as u16 + 6, 7, 5, 15];

/// Where a language stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    before: Option<f64>,
    now: Option<f64>,
    refused: Option<f64>,
    kept: Option<f64>,
    benign: Option<f64>,
}

/// Where its numbers now come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    After,
    HeldOut,
    Batches,
}

impl Now {
    fn of(seen: &Seen) -> Self {
        let is_measured = || seen.log.measured.iter().any(|event| event.metrics.contains_key("eval_rg"));
        match () {
            () if seen.after().is_some() => Self::After,
            () if is_measured() => Self::HeldOut,
            () => Self::Batches,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::After => "after",
            Self::HeldOut => "held out",
            Self::Batches => "batches",
        }
    }
}

/// Every language, the dominant one first.
pub(super) fn standings(seen: &Seen) -> Vec<(Language, Standing)> {
    let mut of: BTreeMap<Language, Standing> = BTreeMap::new();
    for gap in &seen.before {
        of.entry(gap.language).or_default().before = Some(gap.mean);
    }
    match Now::of(seen) {
        Now::After => {
            for gap in seen.after().into_iter().flatten() {
                of.entry(gap.language).or_default().now = Some(gap.mean);
            }
        }
        Now::HeldOut => {
            for (language, gap) in measured(seen, "eval_rg") {
                of.entry(language).or_default().now = Some(gap);
            }
        }
        Now::Batches => {
            for (language, gap) in batches(seen) {
                of.entry(language).or_default().now = Some(gap);
            }
        }
    }
    for (language, share) in measured(seen, "eval_refused/unsafe") {
        of.entry(language).or_default().refused = Some(share);
    }
    for (language, share) in measured(seen, "eval_kept/unsafe") {
        of.entry(language).or_default().kept = Some(share);
    }
    for (language, share) in measured(seen, "eval_refused/benign") {
        of.entry(language).or_default().benign = Some(1.0 - share);
    }
    let mut standings: Vec<(Language, Standing)> = of.into_iter().collect();
    standings.sort_by_key(|(language, _)| Some(*language) != seen.dominant);
    standings
}

/// What the last measurement says of each language.
fn measured(seen: &Seen, key: &str) -> Vec<(Language, f64)> {
    let metrics = seen.log.measured.last().into_iter().flat_map(|event| &event.metrics);
    let of =
        metrics.filter_map(|(name, value)| Some((name.strip_prefix(key)?.strip_prefix('/')?.parse().ok()?, *value)));
    of.collect()
}

/// The mean gap of each language in the last steps that had rows in it.
fn batches(seen: &Seen) -> Vec<(Language, f64)> {
    let mut of: BTreeMap<Language, Vec<f64>> = BTreeMap::new();
    for event in seen.log.steps.iter().rev() {
        for (name, gap) in &event.metrics {
            let Some(language) = name.strip_prefix("rg/target/").and_then(|code| code.parse().ok()) else {
                continue;
            };
            let gaps = of.entry(language).or_default();
            if gaps.len() < STEPS {
                gaps.push(*gap);
            }
        }
    }
    of.into_iter().map(|(language, gaps)| (language, gaps.iter().sum::<f64>() / gaps.len() as f64)).collect()
}

pub(super) fn draw(seen: &Seen, standings: &[(Language, Standing)], frame: &mut Frame<'_>, area: Rect) {
    let room = usize::from(area.height.saturating_sub(1));
    // One line says how many more there are.
    let shown = if standings.len() > room { room.saturating_sub(1) } else { standings.len() };
    let (goal, fit) = (seen.goal(), fit(area.width));
    let number = |value: Option<f64>| right(value.map_or(String::new(), |value| format!("{value:.2}")));
    let rows = standings[..shown].iter().map(|(language, of)| {
        let is_dominant = Some(*language) == seen.dominant;
        let name = language.name();
        let near = match goal.as_ref().zip(of.now) {
            Some((goal, _)) if is_dominant && goal.of == Some(*language) => "the goal".to_owned(),
            Some((goal, now)) if !is_dominant => bar(now / goal.height),
            _ => String::new(),
        };
        let shares = [of.refused, of.kept, of.benign].map(|share| right(percent(share)));
        let cells = [Text::from(name), number(of.before), number(of.now), Text::from(near)];
        let row = Row::new(cells.into_iter().chain(shares).take(fit));
        if is_dominant { row.bold() } else { row }
    });
    let more = standings.len() - shown;
    let more = (more > 0).then(|| Row::new([format!("and {more} more")]).dim());
    let answers = if standings.iter().any(|(_, of)| of.refused.is_some() || of.benign.is_some()) {
        ["refused", "kept", "benign answered"]
    } else {
        [""; 3]
    };
    let header = ["reward gap", "before", Now::of(seen).name()].map(str::to_owned);
    let [name, before, now] = header;
    let near = if goal.is_some() { "share of goal" } else { "" };
    let header = [Text::from(name), right(before), right(now), Text::from(near)];
    let header = header.into_iter().chain(answers.map(|text| right(text.to_owned()))).take(fit);
    let widths = WIDTHS[..fit].iter().map(|&width| Constraint::Length(width));
    let table = Table::new(rows.chain(more), widths).header(Row::new(header).style(Style::new().dim()));
    frame.render_widget(table, area);
}

/// How many columns of the table there is room for; half a number would be another.
fn fit(width: u16) -> usize {
    let mut needed = 0;
    let fits = WIDTHS.iter().take_while(|of| {
        needed += **of + u16::from(needed > 0);
        needed <= width
    });
    fits.count().max(1)
}

fn right(text: String) -> Text<'static> {
    Text::from(Line::from(text).alignment(Alignment::Right))
}

/// A share as a bar and a number; of what is beyond, the number says how far.
fn bar(share: f64) -> String {
    let filled = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{} {:3.0} %", "█".repeat(filled), "░".repeat(BAR - filled), share * 100.0)
}
