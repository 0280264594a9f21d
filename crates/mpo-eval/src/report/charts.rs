//! The report's pictures, as SVG.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Measure;
use crate::error::EvalError;
use crate::projection::Projection;

/// Colours that the colour-blind can tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(100, 100, 100),
];

/// Small, so that letters can be read on a phone; pages scale it up.
const SIZE: (u32, u32) = (560, 320);
const FONT: (&str, u32) = ("sans-serif", 15);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

fn failed(error: impl Display) -> EvalError {
    EvalError::Report(error.to_string())
}

/// Draws into an SVG text.
fn drawn(draw: impl FnOnce(&Area<'_>) -> Result<(), EvalError>) -> Result<String, EvalError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// The least and the largest of some numbers, with room around them.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    match low < high {
        true => low - 0.06 * (high - low)..high + 0.06 * (high - low),
        false if low.is_finite() => low - 1.0..low + 1.0,
        false => 0.0..1.0,
    }
}

/// Names and colours above a chart; returns what is left below.
fn legend<'a>(area: &Area<'a>, names: &[&str]) -> Result<Area<'a>, EvalError> {
    let (mut x, mut y) = (14, 8);
    let mut places = vec![];
    for name in names {
        let width = 30 + 8 * name.chars().count() as i32;
        if x > 14 && x + width > SIZE.0 as i32 {
            (x, y) = (14, y + 20);
        }
        places.push((x, y));
        x += width;
    }
    let (top, below) = area.split_vertically(y + 22);
    for (number, (name, (x, y))) in names.iter().zip(places).enumerate() {
        let key = Rectangle::new([(x, y), (x + 12, y + 12)], colour(number).filled());
        top.draw(&key).map_err(failed)?;
        let text = Text::new((*name).to_owned(), (x + 17, y - 1), FONT.into_font());
        top.draw(&text).map_err(failed)?;
    }
    Ok(below)
}

/// Bars with intervals: a group for each language, a bar for each run.
pub(super) fn bars(measure: &Measure) -> Result<String, EvalError> {
    let names: Vec<&str> = measure
        .series
        .iter()
        .map(|series| series.name.as_str())
        .collect();
    let scale = if measure.percent { 100.0 } else { 1.0 };
    let values = measure
        .series
        .iter()
        .flat_map(|series| series.values.iter().flatten());
    let ends = values.flat_map(|value| {
        [
            value.low.unwrap_or(value.value),
            value.high.unwrap_or(value.value),
        ]
    });
    let mut heights = range(ends.map(|end| end * scale).chain([0.0]));
    if measure.percent {
        heights = 0.0..100.0;
    }
    drawn(|area| {
        let below = legend(area, &names)?;
        let groups = measure.labels.len();
        let mut chart = ChartBuilder::on(&below)
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..groups as f64, heights)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(0)
            .y_labels(6)
            .y_label_formatter(&|y| match measure.percent {
                true => format!("{y:.0} %"),
                false => format!("{y:.2}"),
            })
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
                if let (Some(low), Some(high)) = (value.low, value.high) {
                    let middle = left + 0.46 * width;
                    let whisker = vec![(middle, low * scale), (middle, high * scale)];
                    let whisker = PathElement::new(whisker, BLACK.mix(0.7).stroke_width(2));
                    chart.draw_series([whisker]).map_err(failed)?;
                }
            }
        }
        let (columns, _) = chart.plotting_area().get_pixel_range();
        let bottom = below.dim_in_pixel().1 as i32 - 32;
        let (base, _) = below.get_base_pixel();
        for (group, label) in measure.labels.iter().enumerate() {
            let part = f64::from(columns.end - columns.start) / groups as f64;
            let x = f64::from(columns.start - base) + (group as f64 + 0.5) * part;
            // Names that would run into each other are cut.
            let room = (part / 8.0).max(3.0) as usize;
            let short: String = label.chars().take(room).collect();
            let x = x as i32 - 4 * short.chars().count() as i32;
            below
                .draw(&Text::new(short, (x, bottom), FONT.into_font()))
                .map_err(failed)?;
        }
        Ok(())
    })
}

/// Curves by step.
pub(super) fn lines(
    lines: &[(String, Vec<(f64, f64)>)],
    across: &str,
    up: &str,
) -> Result<String, EvalError> {
    let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (xs, ys) = (range(points().map(|p| p.0)), range(points().map(|p| p.1)));
    drawn(|area| {
        let below = legend(area, &names)?;
        let mut chart = ChartBuilder::on(&below)
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(xs, ys)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(across)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_desc(up)
            .y_labels(6)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        for (number, (_, points)) in lines.iter().enumerate() {
            let style = colour(number).stroke_width(2);
            let line = LineSeries::new(points.iter().copied(), style);
            chart.draw_series(line).map_err(failed)?;
        }
        Ok(())
    })
}

/// Answers on two components: colour says safe or unsafe, the letters which language.
pub(super) fn scatter(projection: &Projection) -> Result<String, EvalError> {
    let points = &projection.points;
    let (xs, ys) = (
        range(points.iter().map(|p| p.x)),
        range(points.iter().map(|p| p.y)),
    );
    drawn(|area| {
        let below = legend(area, &["safe answers", "unsafe answers"])?;
        let mut chart = ChartBuilder::on(&below)
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(52)
            .build_cartesian_2d(xs, ys)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        let letters = points.iter().map(|point| {
            let shade = colour(usize::from(!point.is_safe));
            let font = ("sans-serif", 13).into_font().color(&shade);
            Text::new(point.language.code().to_owned(), (point.x, point.y), font)
        });
        chart.draw_series(letters).map_err(failed)?;
        Ok(())
    })
}
