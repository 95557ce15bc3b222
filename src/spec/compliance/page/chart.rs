//! Charts as SVG, in whole numbers, so that they are the same bytes everywhere. Each has a title, a unit, and beside it a
//! table that says the same.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::{DAY, DayCount, ErasureLine};
use crate::spec::ids::Timestamp;
use crate::spec::page::words::{count, duration};

/// Width of every chart, in its own units.
const WIDTH: u64 = 600;
/// Where bars begin in charts of rows.
const LABELS: u64 = 235;
/// What is left for bars there, the number behind them excepted.
const BARS: u64 = 260;
/// Height of a row.
const ROW: u64 = 26;
/// Bars of a chart over time; beyond it months are shown, then years.
const MOST: usize = 93;

/// A row of a chart: its label, its value, and the class that colours it.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: u64,
    pub(super) class: &'static str,
}

/// `of` scaled so that `most` fills `width`; what is there is seen.
fn scaled(of: u64, most: u64, width: u64) -> u64 {
    let length = u128::from(of) * u128::from(width) / u128::from(most.max(1));
    u64::try_from(length).unwrap_or(width).max(u64::from(of > 0))
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Rows with a bar each.
pub(super) fn rows(title: &str, bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0);
    let height = ROW * bars.len() as u64 + 4;
    html! {
        svg class="chart" role="img" aria-label=(title) viewBox={ "0 0 " (WIDTH) " " (height) } {
            title { (title) }
            @for (at, bar) in (0..).zip(bars) {
                @let y = at * ROW + 4;
                g {
                    text x=(LABELS - 8) y=(y + 14) text-anchor="end" { (short(&bar.label, 26)) }
                    rect class=(bar.class) x=(LABELS) y=(y) width=(scaled(bar.value, most, BARS)) height="18" {}
                    text x=(LABELS + scaled(bar.value, most, BARS) + 6) y=(y + 14) { (count(bar.value)) }
                }
            }
        }
    }
}

/// How long erasures took, each against its own limit.
pub(super) fn durations(title: &str, lines: &[ErasureLine]) -> Markup {
    let limit = |line: &ErasureLine| super::super::seconds(line.requested_at, line.due_at);
    let most = lines
        .iter()
        .map(|line| line.seconds.max(limit(line)))
        .max()
        .unwrap_or(0);
    let height = ROW * lines.len() as u64 + 4;
    html! {
        svg class="chart" role="img" aria-label=(title) viewBox={ "0 0 " (WIDTH) " " (height) } {
            title { (title) }
            @for (at, line) in (0..).zip(lines) {
                @let y = at * ROW + 4;
                @let x = LABELS + scaled(limit(line), most, BARS);
                @let class = if line.state.is_late() { "late" } else if line.completed_at.is_some() { "done" } else { "open" };
                g {
                    text x=(LABELS - 8) y=(y + 14) text-anchor="end" { (line.request.to_string().chars().take(8).collect::<String>()) " · " (line.state.words()) }
                    rect class=(class) x=(LABELS) y=(y) width=(scaled(line.seconds, most, BARS)) height="18" {}
                    line class="limit" x1=(x) x2=(x) y1=(y - 3) y2=(y + 21) {}
                    text x=(LABELS + BARS + 8) y=(y + 14) { (duration(line.seconds)) }
                }
            }
        }
    }
}

/// Events over time, in stacked columns.
pub(super) fn days(title: &str, days: &[DayCount]) -> (Markup, &'static str) {
    let (columns, unit) = columns(days);
    let both = |(_, callers, own): &(String, u64, u64)| callers.saturating_add(*own);
    let most = columns.iter().map(both).max().unwrap_or(0);
    let (left, high, wide) = (70, 150, ((WIDTH - 80) / (columns.len() as u64).max(1)).max(1));
    let (bar, step) = ((wide * 4 / 5).clamp(1, 60), columns.len().div_ceil(6).max(1));
    let chart = html! {
        svg class="chart" role="img" aria-label=(title) viewBox={ "0 0 " (WIDTH) " 205" } {
            title { (title) }
            @for quarter in [0, 2, 4] {
                @let y = 14 + high - high * quarter / 4;
                g {
                    line class="axis" x1=(left) x2=(WIDTH) y1=(y) y2=(y) {}
                    text x=(left - 6) y=(y + 5) text-anchor="end" { (count(most / 4 * quarter + most % 4 * quarter / 4)) }
                }
            }
            @for (at, (label, callers, own)) in (0_u64..).zip(&columns) {
                @let x = left + at * wide + (wide - bar) / 2;
                @let (low, top) = (scaled(*callers, most, high), scaled(*own, most, high));
                g {
                    rect class="callers" x=(x) y=(14 + high - low.min(high)) width=(bar) height=(low) {}
                    rect class="own" x=(x) y=(14 + high - (low + top).min(high)) width=(bar) height=(top.min(high - low.min(high))) {}
                    @if at.is_multiple_of(step as u64) { text x=(x) y=(14 + high + 22) { (label) } }
                }
            }
        }
    };
    (chart, unit)
}

/// Columns of days, or of months, years, decades or centuries where there are too many; none left out.
fn columns(days: &[DayCount]) -> (Vec<(String, u64, u64)>, &'static str) {
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return (Vec::new(), "day");
    };
    // A step of each unit never leaps over one.
    let units = [
        (10, "", "day", 1),
        (7, "", "month", 28),
        (4, "", "year", 365),
        (3, "0s", "decade", 365),
        (2, "00s", "century", 365),
    ];
    for (length, ending, unit, step) in units {
        let label = |day: Timestamp| format!("{}{ending}", day.to_string().get(..length).unwrap_or_default());
        let (mut columns, mut next) = (BTreeMap::new(), Some(first.day.0));
        while let Some(day) = next.filter(|day| *day <= last.day.0 && columns.len() <= MOST) {
            columns.entry(label(Timestamp(day))).or_insert((0_u64, 0_u64));
            next = day.checked_add(step * DAY);
        }
        for day in days {
            let (callers, own) = columns.entry(label(day.day)).or_default();
            (*callers, *own) = (callers.saturating_add(day.callers), own.saturating_add(day.own));
        }
        if columns.len() <= MOST || length == 2 {
            let column = |(label, (callers, own))| (label, callers, own);
            return (columns.into_iter().take(MOST).map(column).collect(), unit);
        }
    }
    (Vec::new(), "century")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn day(number: u64) -> DayCount {
        DayCount {
            day: Timestamp((20_000 + number) * DAY),
            callers: 2,
            own: 1,
        }
    }

    #[test]
    fn days_without_events_have_a_column_and_long_periods_are_months_or_years() {
        let (few, unit) = columns(&[day(0), day(3)]);
        assert_eq!((few.len(), unit), (4, "day"));
        assert_eq!((few[1].1, few[3].1, few[3].2), (0, 2, 1));
        assert_eq!(columns(&[day(0), day(200)]).1, "month");
        let (years, unit) = columns(&[day(0), day(9), day(6_000)]);
        assert_eq!(unit, "year");
        assert_eq!(years.iter().map(|(_, callers, own)| callers + own).sum::<u64>(), 9);
        assert!(columns(&[]).0.is_empty());
    }

    /// What a hostile page may carry: times beyond the year 9999 and in any order, the largest counts.
    #[test]
    fn any_days_and_counts_make_a_chart() {
        let many: Vec<_> = (0..521)
            .map(|year| DayCount {
                day: Timestamp(year * 366 * DAY),
                callers: u64::MAX,
                own: u64::MAX,
            })
            .collect();
        let (centuries, unit) = columns(&many);
        assert!(centuries.len() <= MOST && unit == "decade", "{unit}");
        let ends = [Timestamp(u64::MAX), Timestamp(0), Timestamp(u64::MAX - 1)];
        let odd = ends.map(|day| DayCount { day, ..many[0] });
        for days in [&many[..], &odd, &many[..1]] {
            assert!(super::days("t", days).0.into_string().ends_with("</svg>"));
        }
    }

    #[test]
    fn bars_keep_their_proportions_whatever_the_numbers() {
        assert_eq!(scaled(u64::MAX, u64::MAX, 380), 380);
        assert_eq!(scaled(1, u64::MAX, 380), 1);
        assert_eq!(scaled(0, 0, 380), 0);
    }
}
