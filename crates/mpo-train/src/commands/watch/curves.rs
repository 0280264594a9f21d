//! Curves over the steps: the loss and its parts, and the reward gap with its goal.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType};

use super::number::short;
use super::seen::Seen;

/// A curve under a name, with the number that it has come to.
struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
    color: Color,
    marker: Marker,
}

/// The loss, and what it is made of.
pub(super) fn losses(seen: &Seen, frame: &mut Frame<'_>, area: Rect) {
    let curve = |name, key, color, marker| Curve { name, points: seen.curve(key), color, marker };
    // Points that can be told apart without colour.
    let curves = vec![
        curve("loss", "loss", Color::Reset, Marker::Braille),
        curve("gap", "loss/gap", Color::Cyan, Marker::Dot),
        curve("retain", "loss/retain", Color::Magenta, Marker::Dot),
        curve("target", "loss/target", Color::Cyan, Marker::Dot),
        curve("dominant", "loss/dominant", Color::Magenta, Marker::Dot),
        curve("preferences", "loss/preferences", Color::Cyan, Marker::Dot),
        curve("likelihood", "loss/likelihood", Color::Magenta, Marker::Dot),
        curve("agnostic", "loss/agnostic", Color::Cyan, Marker::Dot),
        curve("specific", "loss/specific", Color::Yellow, Marker::Dot),
        curve("consistency", "loss/consistency", Color::Green, Marker::Dot),
    ];
    draw(curves, frame, area);
}

/// The reward gap of the languages that are trained, and what it is to come up to.
pub(super) fn gaps(seen: &Seen, frame: &mut Frame<'_>, area: Rect) {
    let held_out = held_out(seen);
    let (what, points) = if held_out.len() > 1 { ("held-out gap", held_out) } else { ("gap", seen.curve("rg/target")) };
    let ends = points.first().zip(points.last()).map(|(first, last)| (first.0, last.0));
    let level = |goal: f64| ends.map_or(vec![], |(first, last)| vec![(first, goal), (last, goal)]);
    let goal = seen.goal().map_or(vec![], |goal| level(goal.height));
    let curves = vec![
        Curve { name: what, points, color: Color::Green, marker: Marker::Braille },
        Curve { name: "goal", points: goal, color: Color::Yellow, marker: Marker::Dot },
    ];
    draw(curves, frame, area);
}

/// The mean held-out gap over languages other than the dominant one, by step.
fn held_out(seen: &Seen) -> Vec<(f64, f64)> {
    let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for event in &seen.log.measured {
        for (key, gap) in &event.metrics {
            let language = key.strip_prefix("eval_rg/");
            if language.is_some_and(|code| seen.dominant.is_none_or(|dominant| dominant.code() != code)) {
                steps.entry(event.step).or_default().push(*gap);
            }
        }
    }
    steps.into_iter().map(|(step, gaps)| (step as f64, gaps.iter().sum::<f64>() / gaps.len() as f64)).collect()
}

fn draw(curves: Vec<Curve>, frame: &mut Frame<'_>, area: Rect) {
    let curves: Vec<Curve> = curves.into_iter().filter(|curve| !curve.points.is_empty()).collect();
    let title = curves.iter().flat_map(|curve| {
        let last = curve.points.last().map_or(String::new(), |(_, value)| short(*value));
        [Span::styled(format!(" {} {last}", curve.name), Style::new().fg(curve.color)), Span::from(" ")]
    });
    let title = Line::from_iter(title);
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let (x, y) = (bounds(all().map(|(x, _)| *x)), bounds(all().map(|(_, y)| *y)));
    // The first is drawn last, over the others.
    let datasets = curves.iter().rev().map(|curve| {
        let line = Dataset::default().data(&curve.points).marker(curve.marker).graph_type(GraphType::Line);
        line.style(Style::new().fg(curve.color))
    });
    let chart = Chart::new(datasets.collect())
        .block(Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title(title))
        .x_axis(Axis::default().bounds(x).labels(x.map(|step| format!("{step:.0}"))))
        .y_axis(Axis::default().bounds(y).labels(y.map(short)))
        .legend_position(None);
    frame.render_widget(chart, area);
}

/// From the least to the most, or a little around where that is one.
fn bounds(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (least, most) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
    match () {
        () if !least.is_finite() || !most.is_finite() => [0.0, 1.0],
        () if least == most => [least - 0.5, most + 0.5],
        () => [least, most],
    }
}
