//! The report's pictures, as SVG.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::Range;

use html_escape::encode_text;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::measures::Measure;
use crate::error::EvalError;
use crate::projection::Projection;

/// Colours that the colour-blind can tell apart: those of Okabe and Ito, then five that are no nearer to these and each
/// other, with full sight or without red or green.
const COLOURS: [RGBColor; 12] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(100, 100, 100),
    RGBColor(0, 0, 255),
    RGBColor(0, 17, 136),
    RGBColor(102, 0, 17),
    RGBColor(170, 85, 255),
    RGBColor(187, 204, 119),
];

/// Small, so that letters can be read on a phone; pages scale it up. The height is a chart's, without the legend above it.
const SIZE: (u32, u32) = (560, 290);
const FONT: (&str, u32) = ("sans-serif", 15);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

fn failed(error: impl Display) -> EvalError {
    EvalError::Report(error.to_string())
}

/// A part of a chart that says something where a pointer rests on it.
struct Tip {
    /// From left to right and from top to bottom, in the chart's pixels.
    across: Range<i32>,
    down: Range<i32>,
    text: String,
}

/// Draws a chart below the legend of its series into an SVG text, in the page's own colours.
fn drawn(names: &[&str], draw: impl FnOnce(&Area<'_>) -> Result<Vec<Tip>, EvalError>) -> Result<String, EvalError> {
    let legend = Legend::new(names);
    let mut svg = String::new();
    let tips = {
        let size = (SIZE.0, SIZE.1 + legend.height);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let tips = draw(&legend.draw(&area)?)?;
        area.present().map_err(failed)?;
        tips
    };
    // Black is whatever the page writes in.
    let svg = svg.replace("\"#000000\"", "\"currentColor\"");
    let body = svg.trim_end().strip_suffix("</svg>").ok_or_else(|| failed("a chart without an end"))?;
    let tips = tips.iter().map(|Tip { across, down, text }| {
        let (width, height) = (across.len(), down.len());
        let (x, y, text) = (across.start, down.start, encode_text(text));
        format!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="transparent"><title>{text}</title></rect>"#
        )
    });
    Ok(format!("{body}{}</svg>", tips.collect::<String>()))
}

/// The least and the largest of some numbers, with room around them.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low < high {
        low - 0.06 * (high - low)..high + 0.06 * (high - low)
    } else if low.is_finite() {
        // As much as the only number is: one of 2e-5 would lie on a line of zeros between −1 and 1.
        let room = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
        low - room..low + room
    } else {
        0.0..1.0
    }
}

/// Names and colours above a chart, which takes as many lines as they need.
struct Legend {
    /// With the place of each.
    names: Vec<(String, (i32, i32))>,
    height: u32,
}

impl Legend {
    fn new(names: &[&str]) -> Self {
        let (mut x, mut y) = (14, 8);
        let mut placed = vec![];
        for name in names {
            let name = short(name);
            let width = 30 + 8 * name.chars().count() as i32;
            if x > 14 && x + width > SIZE.0 as i32 {
                (x, y) = (14, y + 20);
            }
            placed.push((name, (x, y)));
            x += width;
        }
        Self { names: placed, height: y as u32 + 22 }
    }

    /// Draws it; returns what is left below.
    fn draw<'a>(&self, area: &Area<'a>) -> Result<Area<'a>, EvalError> {
        let (top, below) = area.split_vertically(self.height);
        for (number, (name, (x, y))) in self.names.iter().enumerate() {
            let key = Rectangle::new([(*x, *y), (x + 12, y + 12)], colour(number).filled());
            top.draw(&key).map_err(failed)?;
            let text = Text::new(name.clone(), (x + 17, y - 1), FONT.into_font());
            top.draw(&text).map_err(failed)?;
        }
        Ok(below)
    }
}

/// A name that fits into a line. Runs differ at the end as often as at the beginning, so the middle of long ones goes.
fn short(name: &str) -> String {
    const LONGEST: usize = 40;
    const END: usize = 16;
    let count = name.chars().count();
    if count <= LONGEST {
        return name.to_owned();
    }
    let beginning = name.chars().take(LONGEST - END - 1);
    let end = name.chars().skip(count - END);
    beginning.chain(['…']).chain(end).collect()
}

/// Bars with intervals: a group for each language, a bar for each run.
pub(super) fn bars(measure: &Measure) -> Result<String, EvalError> {
    let names: Vec<&str> = measure.series.iter().map(|series| series.name.as_str()).collect();
    let scale = if measure.percent { 100.0 } else { 1.0 };
    let values = measure.series.iter().flat_map(|series| series.values.iter().flatten());
    let ends = values.flat_map(|value| [value.low.unwrap_or(value.value), value.high.unwrap_or(value.value)]);
    let mut heights =
        range(ends.map(|end| end * scale).chain([0.0]).chain(measure.goal.iter().map(|goal| goal.height)));
    if measure.percent {
        heights = 0.0..100.0;
    }
    drawn(&names, |area| {
        let groups = measure.labels.len();
        let mut tips = vec![];
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..groups as f64, heights.clone())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(0)
            .y_labels(6)
            .y_label_formatter(&|y| if measure.percent { format!("{y:.0} %") } else { shown(*y) })
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        let width = 0.8 / names.len().max(1) as f64;
        for (number, series) in measure.series.iter().enumerate() {
            for (group, value) in series.values.iter().enumerate() {
                let Some(value) = value else { continue };
                let left = group as f64 + 0.1 + number as f64 * width;
                let bar = [(left, 0.0), (left + 0.92 * width, value.value * scale)];
                let bar = Rectangle::new(bar, colour(number).filled());
                chart.draw_series([bar]).map_err(failed)?;
                let [from, to] = [left, left + width].map(|x| chart.backend_coord(&(x, 0.0)).0);
                let [top, bottom] = [heights.end, heights.start].map(|y| chart.backend_coord(&(0.0, y)).1);
                let text = format!("{}, {}: {}", measure.labels[group], series.name, value.shown(measure.percent));
                tips.push(Tip { across: from..to, down: top..bottom, text });
                if let (Some(low), Some(high)) = (value.low, value.high) {
                    let middle = left + 0.46 * width;
                    let whisker = vec![(middle, low * scale), (middle, high * scale)];
                    let whisker = PathElement::new(whisker, BLACK.mix(0.7).stroke_width(2));
                    chart.draw_series([whisker]).map_err(failed)?;
                }
            }
        }
        if let Some(goal) = &measure.goal {
            let ends = [0.0, groups as f64].map(|x| (x, goal.height));
            let line = DashedLineSeries::new(ends, 6, 4, BLACK.mix(0.6).stroke_width(1));
            chart.draw_series(line).map_err(failed)?;
        }
        let (columns, _) = chart.plotting_area().get_pixel_range();
        let bottom = area.dim_in_pixel().1 as i32 - 32;
        let (base, _) = area.get_base_pixel();
        for (group, label) in measure.labels.iter().enumerate() {
            let part = f64::from(columns.end - columns.start) / groups as f64;
            let x = f64::from(columns.start - base) + (group as f64 + 0.5) * part;
            // Names that would run into each other are cut.
            let room = (part / 8.0).max(3.0) as usize;
            let short: String = label.chars().take(room).collect();
            let x = x as i32 - 4 * short.chars().count() as i32;
            let font =
                if measure.is_dominant(label) { FONT.into_font().style(FontStyle::Bold) } else { FONT.into_font() };
            let label = Text::new(short, (x, bottom), font);
            area.draw(&label).map_err(failed)?;
        }
        Ok(tips)
    })
}

/// A number beside an axis: no minus before a zero, and no row of zeros before a small number.
fn shown(number: f64) -> String {
    match number.abs() {
        0.0..1e-12 => "0".into(),
        1e-12..1e-3 => format!("{number:.0e}"),
        1e-3..0.095 => format!("{number:.3}"),
        _ => format!("{number:.2}"),
    }
}

/// From how many points on a curve is smoothed.
const MANY: usize = 40;
/// Places of a chart that say what lies there, at most.
const PLACES: usize = 200;

/// The exponential mean of a curve, over a twentieth of its points.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (points.len() as f64 / 20.0).max(1.0);
    let mut mean = None;
    let next = |&(x, y): &(f64, f64)| {
        let value = mean.map_or(y, |mean: f64| keep * mean + (1.0 - keep) * y);
        mean = Some(value);
        (x, value)
    };
    points.iter().map(next).collect()
}

/// How many whole numbers lie in a range.
fn whole_numbers(range: &Range<f64>) -> usize {
    (range.end.floor() - range.start.ceil() + 1.0).max(0.0) as usize
}

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stroke {
    Whole,
    Faint,
    Dashed,
}

/// A curve of a chart.
#[derive(Debug)]
pub(super) struct Curve<'a> {
    pub(super) points: Cow<'a, [(f64, f64)]>,
    /// The number of its entry in the legend.
    pub(super) key: usize,
    pub(super) stroke: Stroke,
    /// What it is called where a pointer rests; none of one that another tells of.
    pub(super) name: Option<String>,
}

/// Curves by step. Long ones are smoothed, with the numbers themselves behind them.
pub(super) fn lines(lines: &[(String, Vec<(f64, f64)>)], across: &str, up: &str) -> Result<String, EvalError> {
    let keys: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
    let of = lines.iter().enumerate().flat_map(|(key, (name, points))| {
        let is_long = points.len() > MANY;
        let stroke = if is_long { Stroke::Faint } else { Stroke::Whole };
        let own = Curve { points: points.into(), key, stroke, name: Some(name.clone()) };
        let smoothed = || Curve { points: smoothed(points).into(), key, stroke: Stroke::Whole, name: None };
        [own].into_iter().chain(is_long.then(smoothed))
    });
    curves(&keys, &of.collect::<Vec<_>>(), across, up)
}

/// Curves over whole numbers, with a legend of `keys`.
pub(super) fn curves(keys: &[&str], lines: &[Curve<'_>], across: &str, up: &str) -> Result<String, EvalError> {
    let points = || lines.iter().flat_map(|line| &*line.points);
    let (xs, ys) = (range(points().map(|p| p.0)), range(points().map(|p| p.1)));
    drawn(keys, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(xs.clone(), ys.clone())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(across)
            .x_labels(whole_numbers(&xs).clamp(2, 10))
            .x_label_formatter(&|x| if x.fract().abs() < 1e-9 { format!("{x:.0}") } else { String::new() })
            .y_desc(up)
            .y_labels(6)
            .y_label_formatter(&|y| shown(*y))
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        for Curve { points, key, stroke, .. } in lines {
            let (points, colour) = (points.iter().copied(), colour(*key));
            match stroke {
                Stroke::Whole => {
                    chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
                }
                Stroke::Faint => {
                    chart.draw_series(LineSeries::new(points, colour.mix(0.3).stroke_width(1))).map_err(failed)?;
                }
                Stroke::Dashed => {
                    let dashed = DashedLineSeries::new(points, 6, 4, colour.stroke_width(2));
                    chart.draw_series(dashed).map_err(failed)?;
                }
            }
        }
        // Strips from one step to the next, of at most so many of them.
        let mut steps: Vec<f64> = points().map(|point| point.0).collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        let every = steps.len().div_ceil(PLACES).max(1);
        let steps: Vec<f64> = steps.into_iter().step_by(every).collect();
        let pixel = |x: f64| chart.backend_coord(&(x, ys.start)).0;
        let [top, bottom] = [ys.end, ys.start].map(|y| chart.backend_coord(&(xs.start, y)).1);
        let tips = steps.iter().enumerate().map(|(at, &step)| {
            let before = at.checked_sub(1).map_or(xs.start, |before| (steps[before] + step) / 2.0);
            let after = steps.get(at + 1).map_or(xs.end, |after| (after + step) / 2.0);
            let values = lines.iter().filter_map(|line| {
                let value = line.points.iter().find(|point| point.0 == step)?.1;
                Some(format!("\n{}: {}", line.name.as_ref()?, shown(value)))
            });
            let text = format!("{across} {step:.0}{}", values.collect::<String>());
            Tip { across: pixel(before)..pixel(after), down: top..bottom, text }
        });
        Ok(tips.collect())
    })
}

/// Answers on two components: colour says safe or unsafe, the letters which language.
pub(super) fn scatter(projection: &Projection) -> Result<String, EvalError> {
    let points = &projection.points;
    let (xs, ys) = (range(points.iter().map(|p| p.x)), range(points.iter().map(|p| p.y)));
    drawn(&["safe answers", "unsafe answers"], |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(52)
            .build_cartesian_2d(xs, ys)
            .map_err(failed)?;
        chart.configure_mesh().light_line_style(TRANSPARENT).label_style(FONT).draw().map_err(failed)?;
        let letters = points.iter().map(|point| {
            let shade = colour(usize::from(!point.is_safe));
            let font = ("sans-serif", 13).into_font().color(&shade);
            Text::new(point.language.code().to_owned(), (point.x, point.y), font)
        });
        chart.draw_series(letters).map_err(failed)?;
        Ok(vec![])
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The height of a chart of so many lines with such names.
    fn height(count: usize, name: &str) -> u32 {
        let line = |number| (format!("{name}{number}"), vec![(0.0, 0.0), (1.0, 1.0)]);
        let curves: Vec<_> = (0..count).map(line).collect();
        let svg = lines(&curves, "step", "loss").unwrap();
        let (_, height) = svg.split_once("height=\"").unwrap();
        height.split('"').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_legend_takes_nothing_from_its_chart() {
        assert_eq!(height(2, "run"), 320);
        // One line of the legend holds one of these names.
        let long = "a-run-with-a-rather-long-name-";
        assert_eq!(height(12, long), 320 + 11 * 20);
        assert_eq!(height(12, &long.repeat(9)), 320 + 11 * 20);
    }

    #[test]
    fn a_line_without_ups_and_downs_has_room_of_its_own_size() {
        let around = |values: &[f64]| range(values.iter().copied());
        assert_eq!(around(&[2e-5, 2e-5]), 1e-5..2e-5 + 1e-5);
        assert_eq!(around(&[f64::NEG_INFINITY, -4.0, f64::NAN, f64::INFINITY]), -6.0..-2.0);
        assert_eq!(around(&[0.0]), -1.0..1.0);
        assert_eq!(around(&[]), 0.0..1.0);
    }

    #[test]
    fn a_pointer_finds_what_every_run_had_at_a_step() {
        let curves = [("a<b".to_owned(), vec![(1.0, 0.5), (2.0, -0.25)]), ("c".to_owned(), vec![(2.0, 2e-5)])];
        let svg = lines(&curves, "step", "loss").unwrap();
        assert!(svg.contains("<title>step 1\na&lt;b: 0.50</title>"), "{svg}");
        assert!(svg.contains("<title>step 2\na&lt;b: -0.25\nc: 2e-5</title>"), "{svg}");
        let many: Vec<(f64, f64)> = (0..5_000).map(|step| (f64::from(step), 0.0)).collect();
        let svg = lines(&[("run".into(), many)], "step", "loss").unwrap();
        assert_eq!(svg.matches("<title>").count(), PLACES);
    }

    #[test]
    fn a_few_steps_have_a_tick_each() {
        for last in [2, 3, 4, 7, 9, 40] {
            let curve: Vec<(f64, f64)> = (1..=last).map(|step| (f64::from(step), 5.5)).collect();
            let svg = lines(&[("run".into(), curve)], "step", "loss").unwrap();
            let ticks = svg.split("<text").filter_map(|text| {
                let (_, text) = text.split_once('>')?;
                let text = text.split_once("</text>")?.0.trim();
                (!text.contains('.')).then(|| text.parse::<u32>().ok())?
            });
            let ticks: Vec<u32> = ticks.collect();
            if last < 10 {
                assert_eq!(ticks, (1..=last as u32).collect::<Vec<_>>(), "{last}");
            } else {
                assert!((3..=10).contains(&ticks.len()), "{ticks:?}");
            }
            // None that says nothing; the other upright line is the axis beside them.
            let is_upright = |points: &str| {
                let xs: Vec<&str> = points.split(' ').filter_map(|point| Some(point.split_once(',')?.0)).collect();
                matches!(xs[..], [one, other] if one == other)
            };
            let lines = svg.split("points=\"").skip(1).filter_map(|rest| rest.split_once('"'));
            assert_eq!(lines.filter(|(points, _)| is_upright(points)).count(), ticks.len() + 1, "{svg}");
        }
    }

    #[test]
    fn a_smoothed_curve_follows_its_mean() {
        let points: Vec<(f64, f64)> = (0..400).map(|step| (f64::from(step), f64::from(step % 2))).collect();
        let smoothed = smoothed(&points);
        assert_eq!((smoothed.len(), smoothed[0]), (400, (0.0, 0.0)));
        assert!((smoothed[399].1 - 0.5).abs() < 0.05, "{:?}", smoothed[399]);
    }

    #[test]
    fn numbers_beside_an_axis() {
        assert_eq!([0.0, -0.0, 2e-5, 0.012, -1.5, 120.0].map(shown), ["0", "0", "2e-5", "0.012", "-1.50", "120.00"]);
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(short("mpo, before"), "mpo, before");
        let name = short(&format!("{}, before", "あ".repeat(50)));
        assert_eq!(name.chars().count(), 40);
        assert!(name.starts_with('あ') && name.ends_with("あ, before"), "{name}");
    }

    #[test]
    fn twelve_series_have_colours_of_their_own() {
        let colours: BTreeSet<_> = (0..12).map(|n| colour(n).rgb()).collect();
        assert_eq!(colours.len(), 12);
    }
}
