//! What the model last answered to held-out prompts.

use mpo_data::AnswerLanguage;
use mpo_trainer::SampledAnswer;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::seen::Seen;
use crate::visible;

/// Answers as lines: what became of one and its prompt, and below it the answer.
pub(super) fn lines(seen: &Seen) -> Vec<Line<'static>> {
    let sampled = seen.log.measured.iter().rev().find(|event| !event.samples.is_empty());
    let Some(event) = sampled else {
        return vec![];
    };
    event.samples.iter().flat_map(lines_of).collect()
}

fn lines_of(answer: &SampledAnswer) -> [Line<'static>; 2] {
    let kind = if answer.is_unsafe { "unsafe" } else { "benign" };
    let outcome = if answer.refused { "refused" } else { "answered" };
    let language = match answer.answer_language {
        AnswerLanguage::Kept => String::new(),
        AnswerLanguage::Undecided => " in no language that can be told".into(),
        AnswerLanguage::Other(Some(other)) => format!(" in {}", other.name()),
        AnswerLanguage::Other(None) => " in another language".into(),
    };
    let became = format!("{} {kind}, {outcome}{language}: ", answer.language.name());
    let end = if answer.complete { "" } else { " …" };
    [
        Line::from(vec![Span::from(became).bold(), Span::from(visible::line(&answer.prompt)).dim()]),
        Line::from(format!("  {}{end}", visible::line(&answer.answer))),
    ]
}

/// How many lines can be above those that are shown.
pub(super) fn below(lines: &[Line<'_>], area: Rect) -> u16 {
    let room = area.height.saturating_sub(1);
    let needed: usize = lines.iter().map(|line| line.width().div_ceil(usize::from(area.width.max(1))).max(1)).sum();
    u16::try_from(needed).unwrap_or(u16::MAX).saturating_sub(room)
}

pub(super) fn draw(lines: Vec<Line<'static>>, above: u16, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title(" answers, ↑↓ ");
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((above, 0)).block(block), area);
}
