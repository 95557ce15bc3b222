//! Pages: the readable form of a signed document, as one HTML file without scripts or other resources, which prints. A page
//! is made from the signed document alone and always to the same bytes, so that a verifier makes it anew and compares. The
//! document is embedded as a block of data.
//!
//! Whatever a caller or an operator named goes through the escaping of `maud`; no text is written raw but the style and the
//! embedded JSON, in which `<` is written `\u003c`. Out of scope: what a page says (`compliance`, `certificate`).

pub(super) mod parts;
pub(super) mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::evidence::Review;
use super::report::{FindingCode, Verdict};

const STYLE: &str = include_str!("style.css");
const BEGIN: &str = "<script type=\"application/json\" id=\"";
/// What stands after the embedded document.
const END: &str = "</script>";
/// Elements that begin a line, so that a difference can be named by it.
const LINES: [&str; 12] = [
    "<meta", "<style", "<body", "<header", "<section", "<svg", "<g", "<tr", "<p", "<li", "<dt", "<script",
];

/// A kind of page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// How its pages name their renderer: another one may write the same document otherwise.
    pub(super) renderer: &'static str,
    /// The id of the block of data.
    pub(super) id: &'static str,
}

impl Kind {
    /// A page with its block of data.
    pub(super) fn page(self, title: &str, body: &Markup, embedded: &impl serde::Serialize) -> String {
        let embedded = serde_json::to_string(embedded)
            .unwrap_or_default()
            .replace('<', "\\u003c");
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="generator" content=(self.renderer);
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (body)
                    (PreEscaped(self.mark())) (PreEscaped(embedded)) (PreEscaped(END))
                }
            }
        };
        // Text holds no `<`, so these are elements and nothing else.
        LINES
            .iter()
            .fold(page.into_string(), |page, tag| page.replace(tag, &format!("\n{tag}")))
            + "\n"
    }

    fn mark(self) -> String {
        format!("{BEGIN}{}\">", self.id)
    }

    /// Whether a file is a page of this kind, be it a damaged one.
    pub(super) fn is(self, file: &[u8]) -> bool {
        let begins = file.get(..15);
        begins.is_some_and(|text| text.eq_ignore_ascii_case(b"<!DOCTYPE html>")) && find(file, &self.mark()).is_some()
    }

    /// The document that a page carries.
    pub(super) fn embedded(self, file: &[u8]) -> Option<&[u8]> {
        let mark = self.mark();
        let rest = file.get(find(file, &mark)? + mark.len()..)?;
        rest.get(..find(rest, END)?)
    }

    /// Whether a page says that this renderer made it.
    fn is_own(self, file: &[u8]) -> bool {
        let renderer = self.renderer;
        find(file, &format!("<meta name=\"generator\" content=\"{renderer}\">")).is_some()
    }

    /// The page is the one that this renderer makes of the signed document. It is made anew only if that has no findings.
    pub(super) fn check(self, review: &mut Review<'_>, file: &[u8], make: impl FnOnce() -> String) {
        if review.findings.verdict() != Verdict::Valid {
            let (expected, found) = (
                "data that holds",
                "data with findings: the page was not made anew from it",
            );
            return review.find(None, "page", FindingCode::PageUnchecked, expected, found);
        }
        let made = make();
        if made.as_bytes() == file {
            return;
        }
        if !self.is_own(file) {
            let expected = format!("a page of the renderer {}", self.renderer);
            let found = "a page of another one: only the data in it is checked, not what the page shows";
            return review.find(None, "page", FindingCode::PageUnchecked, expected, found);
        }
        let (place, made, shown) = difference(&made, &String::from_utf8_lossy(file));
        review.find(None, place, FindingCode::FactMismatch, made, shown);
    }
}

/// Where two pages part, by section and line, and both texts there.
fn difference(made: &str, shown: &str) -> (String, String, String) {
    let (mut section, mut lines) = ("head".to_owned(), made.lines().zip(shown.lines()));
    let differing = (1_u64..).zip(&mut lines).find(|(_, (made, shown))| {
        if let Some((_, id)) = made.split_once("<section id=\"") {
            id.split('"').next().unwrap_or_default().clone_into(&mut section);
        }
        made != shown
    });
    let (number, made, shown) = differing.map_or((0, "no more", "more, or less"), |(number, (made, shown))| {
        (number, made, shown)
    });
    let (made, shown) = around_difference(made, shown);
    (format!("page, {section}, line {number}"), made, shown)
}

/// The two texts from a little before they part.
fn around_difference(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let cut = |text: &str| text.chars().skip(same.saturating_sub(40)).take(120).collect();
    (cut(a), cut(b))
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}
