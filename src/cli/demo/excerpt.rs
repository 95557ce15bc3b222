//! What the tour shows of an output: the lines that matter.

use serde_json::Value;

/// The beginning.
pub(super) fn first_lines(text: &str, count: usize) -> String {
    text.lines().take(count).collect::<Vec<_>>().join("\n")
}

/// The verdict and what was checked.
pub(super) fn headline(report: &str) -> String {
    let checked = report
        .lines()
        .filter(|line| line.starts_with("Checked") || line.starts_with("Bodies"));
    report.lines().take(1).chain(checked).collect::<Vec<_>>().join("\n")
}

/// The verdict and the first finding.
pub(super) fn places(report: &str) -> String {
    let findings = report
        .lines()
        .skip_while(|line| !line.starts_with("Findings"))
        .skip(1)
        .take(3);
    report.lines().take(1).chain(findings).collect::<Vec<_>>().join("\n")
}

/// One revealed event about the person, and the number of them.
pub(super) fn about(lines: &str, person: &str) -> String {
    let events: Vec<Value> = lines
        .lines()
        .filter(|line| line.contains(person))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let first = events.first().map(|event| brief(event, person)).unwrap_or_default();
    format!("{first}\n({} events like this one about {person})", events.len())
}

/// The events whose first block of personal data is in a state.
pub(super) fn in_state(lines: &str, state: &str) -> Vec<Value> {
    let is_in = |event: &Value| event.pointer("/personal/0/state").is_some_and(|now| now == state);
    let events = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
    events.filter(is_in).collect()
}

/// One event of a state, and the number of them.
pub(super) fn one_of(lines: &str, state: &str) -> String {
    let events = in_state(lines, state);
    let first = events.first().map(|event| brief(event, "")).unwrap_or_default();
    format!("{first}\n({} events like this one)", events.len())
}

/// What matters of an event, on three lines.
fn brief(event: &Value, person: &str) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let blocks = event.get("personal").and_then(Value::as_array).into_iter().flatten();
    let personal = blocks.map(|block| {
        let field = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        let data = block
            .get("data")
            .map(|data| format!(": {}", around(&data.to_string(), person)));
        format!(
            "\n  personal, {:<9}{}{}",
            field("category"),
            field("state"),
            data.unwrap_or_default()
        )
    });
    format!(
        "{} at {}{}",
        text("type"),
        text("occurred_at"),
        personal.collect::<String>()
    )
}

/// The part of a long text where a word stands.
fn around(text: &str, word: &str) -> String {
    const BEFORE: usize = 50;
    const LENGTH: usize = 100;
    let at = text
        .find(word)
        .and_then(|at| text.get(..at))
        .map_or(0, |before| before.chars().count());
    let skipped = at.saturating_sub(BEFORE);
    let part: String = text.chars().skip(skipped).take(LENGTH).collect();
    let dots = |cut: bool| if cut { "…" } else { "" };
    format!(
        "{}{part}{}",
        dots(skipped > 0),
        dots(text.chars().count() > skipped + LENGTH)
    )
}
