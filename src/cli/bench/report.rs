//! The report: each figure beside the bound it is held against and the target that it is to meet.

use std::fmt;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::bounds::Bounds;
use super::erase;
use super::growth::{self, Mark};
use super::load::Appends;
use super::machine::{Cost, Machine};
use super::mixed::Mixed;
use super::postgres::Postgres;
use super::server::Memory;
use super::verify::Verified;

/// Share of the signing bound that batches are to reach.
const BATCH_SHARE: f64 = 0.40;
/// The 99th percentile of single appends is to stay below this, in milliseconds.
const SINGLE_P99_MS: f64 = 20.0;
/// Share of the strict verification bound that verifying from disk is to reach.
const VERIFY_SHARE: f64 = 0.70;

/// Everything that was measured; absent: not asked for.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bounds: Option<Bounds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<Appends>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) single: Option<Appends>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mixed: Option<Mixed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verified: Option<Verified>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) growth: Vec<Mark>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) erasures: Vec<erase::Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) postgres: Option<Postgres>,
}

impl Report {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            bounds: None,
            batch: None,
            single: None,
            mixed: None,
            verified: None,
            growth: Vec::new(),
            erasures: Vec::new(),
            server_memory: None,
            postgres: None,
        }
    }
}

/// A line: what, our figure, the bound, our share of it, the target and whether it is met.
struct Lines(Table);

impl Lines {
    fn new() -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["what", "figure", "bound or peer", "share", "target"]);
        Self(table)
    }

    fn add(&mut self, what: &str, figure: String) {
        self.held(what, figure, String::new(), String::new(), String::new());
    }

    fn held(&mut self, what: &str, figure: String, bound: String, share: String, target: String) {
        self.0.add_row([what.to_owned(), figure, bound, share, target]);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        let mut lines = Lines::new();
        self.bounds.iter().for_each(|bounds| bound_lines(&mut lines, bounds));
        self.batch.iter().for_each(|batch| self.batch_lines(&mut lines, batch));
        self.single
            .iter()
            .for_each(|single| self.single_lines(&mut lines, single));
        self.mixed.iter().for_each(|mixed| mixed_lines(&mut lines, mixed));
        self.verified
            .iter()
            .for_each(|verified| self.verify_lines(&mut lines, verified));
        self.memory_lines(&mut lines);
        if let Some(why) = self
            .postgres
            .as_ref()
            .and_then(|postgres| postgres.not_available.as_ref())
        {
            lines.add("PostgreSQL", format!("not available: {why}"));
        }
        if !lines.0.is_empty() {
            writeln!(f, "{}", lines.0)?;
        }
        if !self.growth.is_empty() {
            write!(f, "{}", growth::table(&self.growth))?;
        }
        if !self.erasures.is_empty() {
            write!(f, "{}", erase::table(&self.erasures))?;
        }
        Ok(())
    }
}

impl Report {
    fn batch_lines(&self, lines: &mut Lines, batch: &Appends) {
        let what = format!(
            "{} × batches of {}, proof=range",
            batch.load.connections, batch.load.batch
        );
        let (bound, share) = match &self.bounds {
            Some(bounds) => {
                let share = batch.events_per_second / bounds.signs();
                (
                    rate(bounds.signs(), "signatures/s"),
                    share_of(share, share >= BATCH_SHARE),
                )
            }
            None => Default::default(),
        };
        lines.held(
            &what,
            rate(batch.events_per_second, "events/s"),
            bound,
            share,
            "≥ 40 % of signing".into(),
        );
        append_lines(lines, batch);
    }

    fn single_lines(&self, lines: &mut Lines, single: &Appends) {
        let what = format!("{} × one event, proof=each", single.load.connections);
        let peer = self
            .postgres
            .as_ref()
            .filter(|postgres| postgres.not_available.is_none());
        let (bound, share) = match peer {
            Some(postgres) => {
                let share = single.events_per_second / postgres.events_per_second;
                let figure = rate(postgres.events_per_second, "rows/s");
                (
                    format!("{figure}, PostgreSQL {}", postgres.version),
                    share_of(share, share >= 1.0),
                )
            }
            None => Default::default(),
        };
        lines.held(
            &what,
            rate(single.events_per_second, "events/s"),
            bound,
            share,
            "≥ PostgreSQL".into(),
        );
        let p99 = single.latency.p99_ms;
        let met = met(p99 < SINGLE_P99_MS);
        let peer = peer
            .map(|postgres| format!("mean {:.1} ms", postgres.mean_ms))
            .unwrap_or_default();
        lines.held(
            "  p99",
            format!("{p99:.1} ms {met}"),
            peer,
            String::new(),
            "< 20 ms".into(),
        );
        append_lines(lines, single);
    }

    /// Every event has one signature and every commit a checkpoint: both are verified strictly, and both count.
    fn verify_lines(&self, lines: &mut Lines, verified: &Verified) {
        let (bound, share) = match &self.bounds {
            Some(bounds) => {
                let share = verified.signatures_per_second / bounds.verifies();
                (
                    rate(bounds.verifies(), "verifications/s"),
                    share_of(share, share >= VERIFY_SHARE),
                )
            }
            None => Default::default(),
        };
        let figure = rate(verified.signatures_per_second, "signatures/s");
        lines.held(
            "verify the ledger from disk, strictly",
            figure,
            bound,
            share,
            "≥ 70 % of verify_strict".into(),
        );
        let (events, checkpoints) = (grouped(verified.events as f64), grouped(verified.checkpoints as f64));
        let speed = rate(verified.events_per_second, "events/s");
        lines.add(
            "  of these",
            format!("{events} events, {checkpoints} checkpoints; {speed}"),
        );
        lines.add("  cores: server, load, others", cores(&verified.cost));
    }

    fn memory_lines(&self, lines: &mut Lines) {
        if let Some(memory) = &self.server_memory {
            let figure = format!("{} MiB, peak {}", memory.resident_mib, memory.peak_mib);
            lines.held(
                "server memory at the end",
                figure,
                String::new(),
                String::new(),
                "< 512 MiB".into(),
            );
        }
    }
}

fn bound_lines(lines: &mut Lines, bounds: &Bounds) {
    let all = |figures: &[f64]| {
        figures
            .iter()
            .map(|figure| grouped(*figure))
            .collect::<Vec<_>>()
            .join(", then ")
    };
    lines.add(
        "Ed25519 signatures, all cores",
        format!("{}/s", all(&bounds.signs_per_second)),
    );
    lines.add(
        "Ed25519 verify_strict, all cores",
        format!("{}/s", all(&bounds.verifies_per_second)),
    );
    for (events, figure) in &bounds.store_events_per_second {
        lines.add(
            &format!("store alone, {events} events a synced commit"),
            rate(*figure, "events/s"),
        );
    }
    lines.add(
        "disk sync of 4 KiB",
        format!("p50 {:.2} ms, p99 {:.2} ms", bounds.sync.p50_ms, bounds.sync.p99_ms),
    );
}

fn append_lines(lines: &mut Lines, appends: &Appends) {
    let latency = &appends.latency;
    lines.add(
        "  latency p50 / p99 / p99.9",
        format!(
            "{:.1} / {:.1} / {:.1} ms",
            latency.p50_ms, latency.p99_ms, latency.p999_ms
        ),
    );
    lines.add("  cores: server, load, others", cores(&appends.cost));
    let micros = appends.cost.server_cores / appends.events_per_second * 1e6;
    lines.add("  server's processor time an event", format!("{micros:.1} µs"));
    let checked = &appends.checked;
    lines.add(
        "  receipts verified, all of them",
        format!(
            "{} at {}/s",
            grouped(checked.receipts as f64),
            grouped(checked.receipts_per_second)
        ),
    );
}

fn mixed_lines(lines: &mut Lines, mixed: &Mixed) {
    for part in &mixed.parts {
        let latency = format!("p50 {:.1}, p99 {:.1} ms", part.latency.p50_ms, part.latency.p99_ms);
        let what = format!("mixed: {} × {}", part.connections, part.what);
        lines.held(
            &what,
            rate(part.per_second, "/s"),
            latency,
            String::new(),
            String::new(),
        );
    }
    lines.add("  cores: server, load, others", cores(&mixed.cost));
}

fn cores(cost: &Cost) -> String {
    format!(
        "{:.2}, {:.2}, {:.2}",
        cost.server_cores, cost.client_cores, cost.other_cores
    )
}

fn rate(figure: f64, unit: &str) -> String {
    format!("{} {unit}", grouped(figure))
}

fn share_of(share: f64, is_met: bool) -> String {
    format!("{:.0} % {}", share * 100.0, met(is_met))
}

fn met(is_met: bool) -> &'static str {
    if is_met { "(met)" } else { "(NOT met)" }
}

/// `130,512`.
pub(super) fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
