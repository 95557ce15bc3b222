//! The report as one HTML page (`spec::page`), made from the signed report alone.

mod chart;
mod life;
mod section;

use maud::{Markup, html};

use super::verify::verdict_word;
use super::{ComplianceReport, SignedReport};
use crate::spec::page::Kind;
use crate::spec::page::words::{count, date_time};
use crate::spec::report::Verdict;

/// The pages of reports.
pub(super) const KIND: Kind = Kind {
    renderer: "oubliette-report-page/2",
    id: "oubliette-report",
};

/// The page of a report.
pub fn render(report: &ComplianceReport, signed: &SignedReport) -> String {
    let embedded = SignedReport {
        report: None,
        ..signed.clone()
    };
    let body = html! {
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
            (life::holds(report))
            (life::restrictions(report))
            (life::retention(report))
            (life::redactions(report))
            (life::leaks(report))
            (life::backups(report))
            (life::rotations(report))
            (section::keys(report))
            (section::verifications(report))
            (section::refused(report))
            (section::limits(report))
            (section::proof(report))
        }
    };
    KIND.page(&format!("Compliance report: {}", report.origin), &body, &embedded)
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
