//! What is told of each mark, for the table and for the picture alike, and the targets.

use comfy_table::{CellAlignment, Table, presets};

use super::{Asked, Exported, Mark};

/// A figure of a mark; none where it was not measured.
type Figure = fn(&Mark) -> Option<f64>;

/// One measure: a panel of the picture, and a row of the table for each of its lines.
pub(super) struct Measure {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// What is drawn, by name; a single one needs none.
    pub(super) lines: &'static [(&'static str, Figure)],
    pub(super) target: Option<Target>,
}

/// A bound that the last mark is held against.
pub(super) struct Target {
    pub(super) words: &'static str,
    /// The bound, if these marks are enough to know it.
    bound: fn(&[Mark]) -> Option<f64>,
    /// Whether figures are to stay above it.
    floor: bool,
}

impl Measure {
    /// The bound, for the picture.
    pub(super) fn bound(&self, marks: &[Mark]) -> Option<f64> {
        self.target.as_ref().and_then(|target| (target.bound)(marks))
    }

    /// Whether a line meets the target at the last mark that has a figure.
    fn held(&self, figure: Figure, marks: &[Mark]) -> Option<bool> {
        let last = marks.iter().rev().find_map(figure)?;
        let bound = self.bound(marks)?;
        Some(if self.target.as_ref()?.floor {
            last >= bound
        } else {
            last < bound
        })
    }
}

const fn least(words: &'static str, bound: fn(&[Mark]) -> Option<f64>) -> Option<Target> {
    Some(Target {
        words,
        bound,
        floor: true,
    })
}

const fn most(words: &'static str, bound: fn(&[Mark]) -> Option<f64>) -> Option<Target> {
    Some(Target {
        words,
        bound,
        floor: false,
    })
}

/// An append may cost a fifth more than it did at 100,000 events; known once the ledger is larger than that.
fn append_bound(marks: &[Mark]) -> Option<f64> {
    let near = marks.iter().find(|mark| (100_000..200_000).contains(&mark.events))?;
    let beyond = marks.last()?.events > near.events;
    beyond.then_some(near.append.server_micros * 1.2)
}

fn micros(asked: &Asked) -> Option<f64> {
    Some(asked.server_micros)
}

fn export(mark: &Mark, format: &str, figure: fn(&Exported) -> f64) -> Option<f64> {
    mark.exports.iter().find(|export| export.format == format).map(figure)
}

/// What is drawn, panel by panel.
pub(super) const DRAWN: [Measure; 12] = [
    Measure {
        title: "Append in batches",
        unit: "events/s",
        lines: &[("", |mark| Some(mark.append.events_per_second))],
        target: None,
    },
    Measure {
        title: "Server's processor time an append",
        unit: "µs",
        lines: &[("", |mark| Some(mark.append.server_micros))],
        target: most("< +20 % of 100 k", append_bound),
    },
    Measure {
        title: "Read by id, 64 in flight",
        unit: "reads/s",
        lines: &[("", |mark| Some(mark.by_id.per_second))],
        target: least("≥ 20,000", |_| Some(20_000.0)),
    },
    Measure {
        title: "Page of a stream, 20 events",
        unit: "ms",
        lines: &[
            ("p50", |mark| Some(mark.stream_page.latency.p50_ms)),
            ("p99", |mark| Some(mark.stream_page.latency.p99_ms)),
        ],
        target: None,
    },
    Measure {
        title: "Page about a person, 20 events",
        unit: "ms",
        lines: &[
            ("p50", |mark| Some(mark.handle_page.latency.p50_ms)),
            ("p99", |mark| Some(mark.handle_page.latency.p99_ms)),
        ],
        target: None,
    },
    Measure {
        title: "Inclusion proof",
        unit: "ms",
        lines: &[
            ("p50", |mark| Some(mark.inclusion_proof.latency.p50_ms)),
            ("p99", |mark| Some(mark.inclusion_proof.latency.p99_ms)),
        ],
        target: most("< 1", |_| Some(1.0)),
    },
    Measure {
        title: "State of a stream of 1,000 events",
        unit: "ms",
        lines: &[
            ("p50", |mark| Some(mark.state.latency.p50_ms)),
            ("p99", |mark| Some(mark.state.latency.p99_ms)),
        ],
        target: most("< 10", |_| Some(10.0)),
    },
    Measure {
        title: "Start until ready",
        unit: "ms",
        lines: &[("", |mark| Some(mark.start_ms))],
        target: most("< 2,000", |_| Some(2_000.0)),
    },
    Measure {
        title: "Server's memory",
        unit: "MiB",
        lines: &[
            ("resident", |mark| Some(mark.memory.resident_mib as f64)),
            ("peak", |mark| Some(mark.memory.peak_mib as f64)),
        ],
        target: most("< 512", |_| Some(512.0)),
    },
    Measure {
        title: "Disk an event",
        unit: "bytes",
        lines: &[
            ("ledger", |mark| Some(mark.disk.ledger)),
            ("key store, vault", |mark| Some(mark.disk.keystore + mark.disk.vault)),
        ],
        target: None,
    },
    Measure {
        title: "Export",
        unit: "MB/s",
        lines: &[
            ("bundle", |mark| export(mark, "bundle", |export| export.mb_per_second)),
            ("NDJSON", |mark| export(mark, "ndjson", |export| export.mb_per_second)),
        ],
        target: least("≥ 100", |_| Some(100.0)),
    },
    Measure {
        title: "Server's peak memory in an export",
        unit: "MiB",
        lines: &[
            ("bundle", |mark| export(mark, "bundle", |export| export.peak_mib as f64)),
            ("NDJSON", |mark| export(mark, "ndjson", |export| export.peak_mib as f64)),
        ],
        target: None,
    },
];

/// What only the table tells.
const FURTHER: [Measure; 6] = [
    Measure {
        title: "Server's processor time",
        unit: "µs",
        lines: &[
            ("read by id", |mark| micros(&mark.by_id)),
            ("page of a stream", |mark| micros(&mark.stream_page)),
            ("page about a person", |mark| micros(&mark.handle_page)),
            ("inclusion proof", |mark| micros(&mark.inclusion_proof)),
            ("state of a stream", |mark| micros(&mark.state)),
        ],
        target: None,
    },
    Measure {
        title: "Read by id",
        unit: "ms",
        lines: &[
            ("p50", |mark| Some(mark.by_id.latency.p50_ms)),
            ("p99", |mark| Some(mark.by_id.latency.p99_ms)),
        ],
        target: None,
    },
    Measure {
        title: "Read from the disk for a read by id",
        unit: "KiB",
        lines: &[("", |mark| Some(mark.by_id.disk_kib))],
        target: None,
    },
    Measure {
        title: "The disk's bound: its files in random pieces of 4 KiB, 64 in flight",
        unit: "reads/s",
        lines: &[("", |mark| Some(mark.random_reads))],
        target: None,
    },
    Measure {
        title: "Disk an event, ledger's",
        unit: "bytes",
        lines: &[
            ("headers", |mark| mark.disk.by_kind.get("headers").copied()),
            ("bodies", |mark| mark.disk.by_kind.get("bodies").copied()),
            ("sealed blocks", |mark| mark.disk.by_kind.get("sealed").copied()),
            ("tree", |mark| mark.disk.by_kind.get("tree").copied()),
            ("indexes", |mark| mark.disk.by_kind.get("indexes").copied()),
            ("log", |mark| mark.disk.by_kind.get("log").copied()),
        ],
        target: None,
    },
    Measure {
        title: "Cores kept busy by others",
        unit: "",
        lines: &[("", |mark| Some(mark.append.other_cores))],
        target: None,
    },
];

/// A table of all marks, in Markdown.
pub(in super::super) fn table(marks: &[Mark]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let sizes = marks.iter().map(|mark| number(mark.events as f64));
    table.set_header(
        ["events".to_owned()]
            .into_iter()
            .chain(sizes)
            .chain(["target".to_owned()]),
    );
    for measure in DRAWN.iter().chain(&FURTHER) {
        for (name, figure) in measure.lines {
            let figures = marks
                .iter()
                .map(|mark| figure(mark).map_or_else(|| "–".to_owned(), number));
            let cells = [label(measure, name)].into_iter().chain(figures);
            table.add_row(cells.chain([verdict(measure, *figure, marks)]));
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn label(measure: &Measure, name: &str) -> String {
    let title = [measure.title, name]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    if measure.unit.is_empty() {
        title
    } else {
        format!("{title} ({})", measure.unit)
    }
}

fn verdict(measure: &Measure, figure: Figure, marks: &[Mark]) -> String {
    let Some(target) = &measure.target else {
        return String::new();
    };
    let verdict = match measure.held(figure, marks) {
        Some(true) => ": met",
        Some(false) => ": NOT met",
        None => "",
    };
    format!("{}{verdict}", target.words)
}

/// Three digits that count, thousands apart.
pub(super) fn number(figure: f64) -> String {
    let magnitude = figure.abs();
    if magnitude >= 100.0 {
        super::super::report::grouped(figure)
    } else if magnitude >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}
