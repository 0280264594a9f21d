//! What the model last answered to held-out prompts.

use mpo_data::AnswerLanguage;
use mpo_trainer::SampledAnswer;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Widget as _, Wrap};

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
    let language = match answer.answer_language {
        AnswerLanguage::Kept => String::new(),
        AnswerLanguage::Undecided => " in no language that can be told".into(),
        AnswerLanguage::Other(Some(other)) => format!(" in {}", other.name()),
        AnswerLanguage::Other(None) => " in another language".into(),
    };
    let (name, kind, outcome) = (answer.language.name(), answer.kind(), answer.outcome());
    let became = format!("{name} {kind}, {outcome}{language}: ");
    let end = if answer.complete { "" } else { " …" };
    [
        Line::from(vec![Span::from(became).bold(), Span::from(visible::line(&answer.prompt)).dim()]),
        Line::from(format!("  {}{end}", visible::line(&answer.answer))),
    ]
}

/// How many lines can be above those that are shown.
pub(super) fn below(lines: &[Line<'static>], area: Rect) -> u16 {
    let room = usize::from(area.height.saturating_sub(1));
    let needed: usize = lines.iter().map(|line| height(line, area.width)).sum();
    u16::try_from(needed.saturating_sub(room)).unwrap_or(u16::MAX)
}

/// How many lines of a terminal so many columns wide a line takes. It breaks between words, so its width does not tell: it is
/// drawn where nobody sees it.
fn height(line: &Line<'static>, width: u16) -> usize {
    // Of two that follow each other the second one's first word did not fit on the first, so together they fill one at least.
    let most = 2 * line.width().div_ceil(usize::from(width.max(1))) + 1;
    let area = Rect::new(0, 0, width, u16::try_from(most).unwrap_or(u16::MAX));
    let mut unseen = Buffer::empty(area);
    wrapped(vec![line.clone()]).render(area, &mut unseen);
    let is_blank = |y: &u16| (0..width).all(|x| unseen[(x, *y)].symbol() == " ");
    let last = (0..area.height).rev().find(|y| !is_blank(y));
    usize::from(last.unwrap_or(0)) + 1
}

fn wrapped(lines: Vec<Line<'static>>) -> Paragraph<'static> {
    Paragraph::new(lines).wrap(Wrap { trim: false })
}

pub(super) fn draw(lines: Vec<Line<'static>>, above: u16, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title(" answers, ↑↓ ");
    frame.render_widget(wrapped(lines).scroll((above, 0)).block(block), area);
}
