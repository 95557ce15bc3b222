//! What the tour imports: real audit logs where they are, else a few records made up here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The mapping for CloudTrail, which the made-up records follow too.
pub(super) const CLOUDTRAIL: &str = include_str!("../../../docs/examples/cloudtrail.mapping.toml");
/// The mapping for S3 access alerts.
pub(super) const S3_ACCESS: &str = include_str!("../../../docs/examples/s3-access.mapping.toml");

const PEOPLE: [&str; 4] = ["mara.lindqvist", "tomas.okafor", "ines.duarte", "yuki.brandt"];
const ACTS: [&str; 5] = ["ConsoleLogin", "AssumeRole", "CreateUser", "DeleteBucket", "GetObject"];

/// Sixty records in the form of CloudTrail; always the same ones.
pub(super) fn made_up() -> String {
    let mut lines = String::new();
    for number in 0..60_usize {
        let person = PEOPLE.get((number * 7 / 3) % PEOPLE.len()).copied().unwrap_or_default();
        let act = ACTS.get((number * 5 / 2) % ACTS.len()).copied().unwrap_or_default();
        let record = serde_json::json!({
            "eventID": uuid::Uuid::from_u128(0x0b11_e77e_0000_4000_8000_0000_0000_0000 + number as u128),
            "@timestamp": format!("2026-03-02T{:02}:{:02}:00Z", 8 + number / 10, (number * 13) % 60),
            "eventSource": "iam.amazonaws.com",
            "eventName": act,
            "eventType": "AwsApiCall",
            "awsRegion": "eu-central-1",
            "recipientAccountId": "123456789012",
            "requestID": format!("request-{number}"),
            "userIdentity": {"type": "IAMUser", "userName": person, "arn": format!("arn:aws:iam::123456789012:user/{person}")},
            "sourceIPAddress": format!("192.0.2.{}", 10 + number % PEOPLE.len()),
            "userAgent": "console.amazonaws.com",
        });
        let _ = writeln!(lines, "{record}");
    }
    lines
}

/// The user name that stands in the most records.
pub(super) fn busiest_person(records: &str) -> Option<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for line in records.lines() {
        let record = serde_json::from_str::<serde_json::Value>(line).ok()?;
        if let Some(name) = record
            .pointer("/userIdentity/userName")
            .and_then(serde_json::Value::as_str)
        {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name)
}

/// How many files below a folder hold a text.
pub(super) fn files_with(folder: &Path, text: &str) -> std::io::Result<(usize, usize)> {
    let (mut all, mut with) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            all += 1;
            let bytes = std::fs::read(&path)?;
            if bytes.windows(text.len().max(1)).any(|window| window == text.as_bytes()) {
                with += 1;
            }
        }
    }
    Ok((with, all))
}

/// The month that is under way (UTC), as dates: its first day, and that of the next.
pub(super) fn this_month() -> (String, String) {
    use jiff::ToSpan;
    let now = crate::env::Clock::now(&crate::env::System);
    let micros = i64::try_from(now.0).unwrap_or_default();
    let today = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    let first = today.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
    let next = first.checked_add(1.month()).unwrap_or(first);
    (first.to_string(), next.to_string())
}
