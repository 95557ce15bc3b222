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
        line(svg, &points(marks, top, *figure), colour)?;
        let others = measure
            .lines
            .iter()
            .map(|(_, other)| points(marks, top, *other))
            .collect::<Vec<_>>();
        labels(svg, &points(marks, top, *figure), &others.concat(), colour)?;
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

/// A figure where it stands in the picture.
#[derive(Debug, Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    value: f64,
}

fn points(marks: &[Mark], top: f64, figure: fn(&Mark) -> Option<f64>) -> Vec<Point> {
    let point = |mark: &Mark| {
        figure(mark).map(|value| Point {
            x: x_of(mark, marks),
            y: y_of(value, top),
            value,
        })
    };
    marks.iter().filter_map(point).collect()
}

fn line(svg: &mut String, points: &[Point], colour: &str) -> std::fmt::Result {
    let path: Vec<_> = points
        .iter()
        .map(|Point { x, y, .. }| format!("{x:.1},{y:.1}"))
        .collect();
    writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    )
}

/// The figure stands above its point, or below where another point lies close above.
fn labels(svg: &mut String, points: &[Point], all: &[Point], colour: &str) -> std::fmt::Result {
    for Point { x, y, value } in points {
        let close = |other: &Point| (other.x - x).abs() < 1.0 && other.y < *y && y - other.y < 16.0;
        let text = if all.iter().any(close) { y + 13.0 } else { y - 6.0 };
        writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{text:.1}\" text-anchor=\"middle\" font-size=\"10\" fill=\"{colour}\">{}</text>",
            number(*value)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Appending, Asked, Disk, Exported, Mark};
    use super::*;
    use crate::cli::bench::load::Latency;
    use crate::cli::bench::server::Memory;

    fn asked(per_second: f64) -> Asked {
        Asked {
            connections: 1,
            per_second,
            latency: Latency::default(),
            server_micros: 10.0,
            disk_kib: 0.0,
            checked: 1,
        }
    }

    fn mark(events: u64, server_micros: f64) -> Mark {
        let disk = Disk {
            ledger: 1_000.0,
            keystore: 5.0,
            vault: 1.0,
            by_kind: [("log", 900.0)].into(),
        };
        let export = Exported {
            format: "bundle",
            bytes: 1,
            mb_per_second: 99.0,
            resident_mib: 80,
            peak_mib: 90,
            server_cores: 1.0,
            other_cores: 0.0,
        };
        Mark {
            events,
            append: Appending {
                server_micros,
                ..Appending::default()
            },
            by_id: asked(25_000.0),
            stream_page: asked(900.0),
            handle_page: asked(800.0),
            inclusion_proof: asked(5_000.0),
            state: asked(200.0),
            start_ms: 300.0,
            memory: Memory::default(),
            disk,
            random_reads: 1_000.0,
            exports: if events < 1_000_000 { vec![export] } else { Vec::new() },
        }
    }

    #[test]
    fn every_measure_has_a_panel_and_words_are_escaped() {
        let svg = chart(&[mark(10_000, 40.0), mark(100_000, 41.0)], "1 < 2 & \u{a0}");
        assert_eq!(svg.matches("<g ").count(), DRAWN.len());
        assert!(svg.contains("1 &lt; 2 &amp; ") && svg.contains(">100 k<") && svg.contains("target &lt; 10"));
        assert_eq!(
            svg.matches("<polyline").count(),
            DRAWN.iter().map(|drawn| drawn.lines.len()).sum::<usize>()
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn targets_are_judged_at_the_last_mark_with_a_figure() {
        let row = |marks: &[Mark], begin: &str| {
            let table = super::super::table(marks);
            table.lines().find(|line| line.contains(begin)).unwrap().to_owned()
        };
        let grown = |micros| [mark(10_000, 90.0), mark(100_000, 40.0), mark(1_000_000, micros)];
        assert!(row(&grown(47.0), "an append").contains(": met"));
        assert!(row(&grown(49.0), "an append").contains("NOT met"));
        assert!(
            !row(&grown(49.0)[..2], "an append").contains("met"),
            "nothing to compare with"
        );
        let bundle = row(&grown(47.0), "Export, bundle");
        let cells: Vec<_> = bundle.split('|').skip(2).map(str::trim).collect();
        assert_eq!(cells, ["99.0", "99.0", "–", "≥ 100: NOT met", ""]);
        assert!(
            row(&grown(47.0), "Export, NDJSON").ends_with("≥ 100 |"),
            "not measured, so not judged"
        );
        assert!(row(&grown(47.0), "Read by id, 64").contains("≥ 20,000: met"));
    }
}
