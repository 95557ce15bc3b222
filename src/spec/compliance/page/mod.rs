//! The report as one HTML page: self-contained, printable, without scripts. Made from the signed report alone and always to
//! the same bytes, so that a verifier makes it anew and compares. The file is embedded as a block of data.
//!
//! Whatever a caller or an operator named goes through the escaping of `maud`; no text is written raw but the style and the
//! embedded JSON, in which `<` is written `\u003c`.

mod chart;
mod section;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::verify::verdict_word;
use super::{ComplianceReport, SignedReport};
use crate::spec::report::Verdict;
use words::{count, date_time};

/// How a page names its renderer: another one may write the same report otherwise.
pub(super) const RENDERER: &str = "oubliette-report-page/1";
/// What stands before the embedded file.
pub(super) const MARK: &str = "<script type=\"application/json\" id=\"oubliette-report\">";
/// What stands after it.
const END: &str = "</script>";

const STYLE: &str = include_str!("style.css");
/// Elements that begin a line, so that a difference can be named by it.
const LINES: [&str; 12] = [
    "<meta", "<style", "<body", "<header", "<section", "<svg", "<g", "<tr", "<p", "<li", "<dt", "<script",
];

/// The page of a report.
pub fn render(report: &ComplianceReport, signed: &SignedReport) -> String {
    let embedded = SignedReport {
        report: None,
        ..signed.clone()
    };
    let embedded = serde_json::to_string(&embedded)
        .unwrap_or_default()
        .replace('<', "\\u003c");
    let title = format!("Compliance report: {}", report.origin);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(RENDERER);
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report))
                main {
                    (tiles(report))
                    (section::integrity(report))
                    (section::unreadable(report))
                    (section::erasures(report))
                    (section::subjects(report))
                    (section::events(report))
                    (section::reveals(report))
                    (section::exports(report))
                    (section::keys(report))
                    (section::verifications(report))
                    (section::refused(report))
                    (section::limits(report))
                    (section::proof(report))
                }
                (PreEscaped(MARK)) (PreEscaped(embedded)) (PreEscaped(END))
            }
        }
    };
    // Text holds no `<`, so these are elements and nothing else.
    LINES
        .iter()
        .fold(page.into_string(), |page, tag| page.replace(tag, &format!("\n{tag}")))
        + "\n"
}

/// The file that a page carries.
pub(super) fn embedded(file: &[u8]) -> Option<&[u8]> {
    let at = find(file, MARK)?;
    let rest = file.get(at + MARK.len()..)?;
    rest.get(..find(rest, END)?)
}

/// Whether a page says that this renderer made it.
pub(super) fn is_own(file: &[u8]) -> bool {
    find(file, &format!("<meta name=\"generator\" content=\"{RENDERER}\">")).is_some()
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}

fn head(report: &ComplianceReport) -> Markup {
    html! {
        header {
            h1 { "Compliance report" }
            p class="origin" { (report.origin) }
            dl {
                dt { "Period" } dd { (date_time(report.period.from)) " up to, not including, " (date_time(report.period.to)) }
                dt { "Made" } dd { (date_time(report.made_at)) " with API key " code { (report.by.key) } " (" (report.by.roles.join(", ")) ")" }
                dt { "Report" } dd { code { (report.id) } " · ledger " (report.ledger) }
            }
            @if !report.period.ended {
                p class="warn" { "The period was not over when this report was made: it shows the part that was." }
            }
            @if report.events.total == 0 {
                p class="warn" { "No event was recorded in this period." }
            }
        }
    }
}

fn tiles(report: &ComplianceReport) -> Markup {
    let (class, verdict) = match report.integrity.verdict {
        Some(Verdict::Valid) => ("good", verdict_word(Verdict::Valid)),
        Some(verdict) => ("bad", verdict_word(verdict)),
        None => ("open", "not verified"),
    };
    let late = report.erasures.late();
    html! {
        div class="tiles" {
            (tile(class, verdict, "history at the end of the period"))
            (tile(if late > 0 { "bad" } else { "good" }, &count(late), "erasures beyond their month"))
            (tile("plain", &count(report.erasures.total), "erasures open or ended"))
            (tile("plain", &count(report.events.total), "events recorded"))
            (tile("plain", &count(report.reveals.requests), "requests that opened personal data"))
            (tile("plain", &count(report.exports.left), "exports that left"))
        }
    }
}

fn tile(class: &str, value: &str, label: &str) -> Markup {
    html! { div class={ "tile " (class) } { strong { (value) } span { (label) } } }
}
