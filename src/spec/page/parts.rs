//! What pages are put together from.

use maud::{Markup, html};

use super::words::{count, date_time};
use crate::spec::ids::Timestamp;

/// A section under its heading.
pub(in crate::spec) fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! { section id=(id) { h2 { (title) } (content) } }
}

/// A table that scrolls; a name that begins with # is a column of numbers.
pub(in crate::spec) fn table(columns: &[&str], rows: &[(&str, Vec<Markup>)], omitted: u64) -> Markup {
    table_of("table", columns, rows, omitted)
}

/// A table of few columns, whose words wrap so that all of it is seen on a narrow window, too.
pub(in crate::spec) fn prose(columns: &[&str], rows: &[(&str, Vec<Markup>)]) -> Markup {
    table_of("table wrap", columns, rows, 0)
}

fn table_of(kind: &str, columns: &[&str], rows: &[(&str, Vec<Markup>)], omitted: u64) -> Markup {
    let class = |at: usize| columns.get(at).filter(|name| name.starts_with('#')).map(|_| "n");
    html! {
        div class=(kind) tabindex="0" {
            table {
                thead { tr { @for (at, name) in columns.iter().enumerate() { th class=[class(at)] { (name.trim_start_matches('#')) } } } }
                tbody {
                    @for (kind, cells) in rows {
                        tr class=[Some(*kind).filter(|kind| !kind.is_empty())] {
                            @for (at, cell) in cells.iter().enumerate() { td class=[class(at)] { (cell) } }
                        }
                    }
                }
            }
        }
        @if omitted > 0 { p class="note" { (count(omitted)) " more are counted above and not listed." } }
    }
}

/// Words.
pub(in crate::spec) fn text(words: impl std::fmt::Display) -> Markup {
    html! { (words.to_string()) }
}

/// What is written by machines.
pub(in crate::spec) fn code(words: impl std::fmt::Display) -> Markup {
    html! { code { (words.to_string()) } }
}

/// A number, grouped.
pub(in crate::spec) fn number(value: u64) -> Markup {
    text(count(value))
}

/// A chart under its caption.
pub(in crate::spec) fn figure(caption: &str, unit: &Markup, chart: &Markup) -> Markup {
    html! { figure { figcaption { (caption) " " span { (unit) } } div class="wide" tabindex="0" { (chart) } } }
}

/// The word that JSON has for a value.
pub(in crate::spec) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// A time, or a dash.
pub(in crate::spec) fn moment(time: Option<Timestamp>) -> Markup {
    text(time.map_or_else(|| "–".to_owned(), date_time))
}
