//! The picture: a panel a measure over a logarithmic axis of events, as SVG text without fonts, scripts or links.

use std::fmt::Write;

use super::Mark;
use super::measures::{DRAWN, Measure, number};

const COLUMNS: usize = 3;
/// Size of a panel, and of the plot in it, in pixels.
const PANEL: (f64, f64) = (340.0, 220.0);
const PLOT: (f64, f64) = (250.0, 120.0);
/// Where the plot begins in its panel.
const ORIGIN: (f64, f64) = (62.0, 58.0);
const HEAD: f64 = 64.0;
const FOOT: f64 = 16.0;
const COLOURS: [&str; 3] = ["#1f5fa8", "#c2571a", "#3d7d3a"];
/// A target that lies further than this beyond the figures is told in words alone: it would flatten them.
const IN_SIGHT: f64 = 3.0;

/// Draws all marks. `caption` says on what they were measured.
pub(in super::super) fn chart(marks: &[Mark], caption: &str) -> String {
    let rows = DRAWN.len().div_ceil(COLUMNS);
    let (width, height) = (PANEL.0 * COLUMNS as f64, HEAD + PANEL.1 * rows as f64 + FOOT);
    let mut svg = String::new();
    let drawn = draw(&mut svg, marks, caption, (width, height));
    debug_assert!(drawn.is_ok(), "writing to a string does not fail");
    svg
}

fn draw(svg: &mut String, marks: &[Mark], caption: &str, (width, height): (f64, f64)) -> std::fmt::Result {
    write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#222\">\n\
         <title>How each measure grows with the ledger</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"18\" font-weight=\"600\">How each measure grows with the ledger</text>\n\
         <text x=\"16\" y=\"47\" fill=\"#555\">{}</text>\n",
        escaped(caption)
    )?;
    for (at, measure) in DRAWN.iter().enumerate() {
        let (x, y) = ((at % COLUMNS) as f64 * PANEL.0, HEAD + (at / COLUMNS) as f64 * PANEL.1);
        writeln!(svg, "<g transform=\"translate({x} {y})\">")?;
        panel(svg, measure, marks)?;
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Ok(())
}

fn panel(svg: &mut String, measure: &Measure, marks: &[Mark]) -> std::fmt::Result {
    let words = measure
        .target
        .as_ref()
        .map(|target| format!(" · target {}", target.words));
    writeln!(
        svg,
        "<text x=\"16\" y=\"22\" font-size=\"13\" font-weight=\"600\">{}</text>\
         <text x=\"16\" y=\"38\" fill=\"#555\">{}{}</text>",
        escaped(measure.title),
        escaped(measure.unit),
        escaped(&words.unwrap_or_default())
    )?;
    let highest = measure
        .lines
        .iter()
        .flat_map(|(_, figure)| marks.iter().filter_map(figure))
        .fold(0.0, f64::max);
    let bound = measure.bound(marks).filter(|bound| *bound <= highest * IN_SIGHT);
    let top = round_up(highest.max(bound.unwrap_or(0.0)));
    axes(svg, marks, top)?;
    if let Some(bound) = bound {
        let y = y_of(bound, top);
        writeln!(
            svg,
            "<line x1=\"{}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>",
            ORIGIN.0,
            ORIGIN.0 + PLOT.0
        )?;
    }
    legend(svg, measure)?;
    for ((_, figure), colour) in measure.lines.iter().zip(COLOURS) {
        line(svg, marks, top, *figure, colour)?;
    }
    Ok(())
}

fn axes(svg: &mut String, marks: &[Mark], top: f64) -> std::fmt::Result {
    for part in [0.0, 0.5, 1.0] {
        let y = y_of(top * part, top);
        writeln!(
            svg,
            "<line x1=\"{0}\" x2=\"{1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\" fill=\"#555\">{4}</text>",
            ORIGIN.0,
            ORIGIN.0 + PLOT.0,
            ORIGIN.0 - 6.0,
            y + 4.0,
            tick(top * part)
        )?;
    }
    for mark in marks {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            x_of(mark, marks),
            ORIGIN.1 + PLOT.1 + 16.0,
            short(mark.events)
        )?;
    }
    Ok(())
}

/// Names of the lines, if there are several.
fn legend(svg: &mut String, measure: &Measure) -> std::fmt::Result {
    let named = measure
        .lines
        .iter()
        .zip(COLOURS)
        .filter(|((name, _), _)| !name.is_empty());
    for (at, ((name, _), colour)) in named.enumerate() {
        let x = ORIGIN.0 + 4.0 + 82.0 * at as f64;
        let y = ORIGIN.1 + PLOT.1 + 32.0;
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{}</text>",
            y - 5.0,
            x + 14.0,
            escaped(name)
        )?;
    }
    Ok(())
}

fn line(
    svg: &mut String,
    marks: &[Mark],
    top: f64,
    figure: fn(&Mark) -> Option<f64>,
    colour: &str,
) -> std::fmt::Result {
    let points: Vec<_> = marks
        .iter()
        .filter_map(|mark| figure(mark).map(|value| (x_of(mark, marks), y_of(value, top), value)))
        .collect();
    let path: Vec<_> = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
    writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    )?;
    for (x, y, value) in points {
        writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"><title>{0}</title></circle>\
             <text x=\"{x:.1}\" y=\"{1:.1}\" text-anchor=\"middle\" font-size=\"10\" fill=\"{colour}\">{0}</text>",
            number(value),
            y - 6.0
        )?;
    }
    Ok(())
}

/// Decades are as wide as each other. The first and the last mark stand a little inside.
fn x_of(mark: &Mark, marks: &[Mark]) -> f64 {
    const INSET: f64 = 18.0;
    let decades = |mark: &Mark| (mark.events.max(1) as f64).log10();
    let (first, last) = (marks.first().map_or(0.0, decades), marks.last().map_or(1.0, decades));
    let share = if last > first {
        (decades(mark) - first) / (last - first)
    } else {
        0.5
    };
    ORIGIN.0 + INSET + share * (PLOT.0 - 2.0 * INSET)
}

fn y_of(value: f64, top: f64) -> f64 {
    ORIGIN.1 + PLOT.1 * (1.0 - value / top)
}

/// The next of 1, 1.5, 2, 3, 5, 8 times a power of ten, with some air for the words above a point.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let wanted = value * 1.12;
    let power = 10_f64.powf(wanted.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0];
    steps
        .into_iter()
        .map(|step| step * power)
        .find(|top| *top >= wanted)
        .unwrap_or(wanted)
}

/// A round figure of the axis, short.
fn tick(value: f64) -> String {
    if value >= 1_000.0 {
        format!("{} k", value / 1e3)
    } else {
        format!("{}", (value * 1e6).round() / 1e6)
    }
}

/// `10 k`, `1 M`.
fn short(events: u64) -> String {
    let rounded = |unit: f64| (events as f64 / unit * 10.0).round() / 10.0;
    if events >= 950_000 {
        format!("{} M", rounded(1e6))
    } else {
        format!("{} k", rounded(1e3))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
