//! The pages say what the code says: codes, chapters, links. Text only, so it needs the pure layer alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use oubliette::spec::report::{FindingCode, Verdict};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(
        [
            "deploy/README.md",
            "README.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "keys/README.md",
        ]
        .map(|page| root().join(page)),
    );
    pages
}

#[test]
fn every_error_code_stands_in_the_api_guide() {
    let guide = read("docs/api.md");
    let source = read("src/service/error.rs");
    let (_, table) = source.split_once("codes! {").unwrap();
    let (table, _) = table.split_once("\n}").unwrap();
    let codes: Vec<&str> = table.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(guide.contains(&format!("`{code}`")), "docs/api.md does not name {code}");
    }
}

#[test]
fn every_route_stands_in_the_api_guide() {
    let guide = read("docs/api.md");
    for line in read("src/http/mod.rs")
        .lines()
        .filter(|line| line.contains(".route(\""))
    {
        let route = line.split('"').nth(1).unwrap();
        // `{event}` and `{id}` are written in words there.
        let fixed = route.split('{').next().unwrap().trim_end_matches('/');
        assert!(guide.contains(fixed), "docs/api.md does not name {route}");
    }
}

#[test]
fn every_finding_code_stands_in_the_chapter_on_verification_with_its_verdict() {
    let chapter = read("docs/spec/11-verification.md");
    for code in FindingCode::ALL {
        let letter = if code.verdict() == Verdict::Tampered { 'T' } else { 'I' };
        assert!(
            chapter.contains(&format!("| `{code}` | {letter} |")),
            "{code}, {letter}"
        );
    }
}

#[test]
fn every_page_that_the_code_names_exists() {
    for file in files(&root().join("src"), "rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("docs/") {
            let is_path = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
            let path: String = text[at..].chars().take_while(|c| is_path(*c)).collect();
            let path = path.trim_end_matches('.');
            assert!(root().join(path).exists(), "{} names {path}", file.display());
        }
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let path = target.split('#').next().unwrap();
            assert!(
                page.parent().unwrap().join(path).exists(),
                "{} links to {target}",
                page.display()
            );
        }
    }
}

/// "16 MiB", "1,000" or "16,384" as a number.
fn amount(words: &str) -> u64 {
    let (number, unit) = words.split_once(' ').unwrap_or((words, ""));
    let number: u64 = number.replace(',', "").parse().unwrap_or_else(|_| panic!("{words}"));
    number
        * if unit == "MiB" {
            1 << 20
        } else if unit == "KiB" {
            1 << 10
        } else {
            1
        }
}

/// `16 << 20`, `16 * 1024` or `16_384` as a number.
fn constant(text: &str) -> Option<u64> {
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    match (text.split_once("<<"), text.split_once('*')) {
        (Some((number_of, shift)), _) => Some(number(number_of)? << number(shift)?),
        (_, Some((left, right))) => Some(number(left)? * number(right)?),
        _ => number(text),
    }
}

#[test]
fn every_limit_in_the_table_is_the_one_in_the_code() {
    let page = read("docs/limits.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.contains("`src/"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 10);
    for row in rows {
        let (most, place) = (row[2], row[4]);
        let mut names = place.split('`').skip(1).step_by(2);
        let (file, name) = (names.next().unwrap(), names.next().unwrap());
        let source = read(file);
        let values: Vec<u64> = source
            .lines()
            .filter_map(|line| {
                let (before, after) = line.split_once(name)?;
                let whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
                let value = after.rsplit(['=', ':']).next()?.trim().trim_end_matches([';', ',']);
                (whole && after.starts_with(':')).then(|| constant(value)).flatten()
            })
            .collect();
        assert_eq!(values, [amount(most)], "{most}: {file}, {name}");
    }
}
