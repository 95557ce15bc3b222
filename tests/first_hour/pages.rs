//! The fenced blocks of the pages, and what each says of how it is run.
//!
//! A block of commands is fenced as `sh` and run, or as `sh no-run: REASON`. Every other block names its language.
//! `<!-- commands: after README.md -->` in a page: its commands begin where that page's first block of commands ends.

use super::{read, root};

/// A fenced block.
pub(super) struct Block {
    /// Page and line, for whoever must mend it.
    pub(super) place: String,
    /// What stands after the opening fence.
    pub(super) info: String,
    /// What stands between the fences.
    pub(super) text: String,
}

/// What is done with a block.
#[derive(PartialEq)]
pub(super) enum Kind {
    /// Commands that are run.
    Run,
    /// Commands that are not, for a reason that is given.
    NotRun,
    /// No commands.
    Other,
}

impl Block {
    pub(super) fn kind(&self) -> Result<Kind, String> {
        let place = &self.place;
        match self.info.split_once(' ').unwrap_or((&self.info, "")) {
            ("", _) => Err(format!(
                "{place}: a fence names its language: sh for commands, else text, toml …"
            )),
            ("sh", "") => Ok(Kind::Run),
            ("sh", marker) if marker.strip_prefix("no-run: ").is_some_and(|why| why.len() > 5) => Ok(Kind::NotRun),
            ("sh", _) => Err(format!("{place}: write ```sh, or ```sh no-run: REASON")),
            ("bash" | "shell" | "console" | "shell-session", _) => Err(format!("{place}: fence commands as sh")),
            _ => Ok(Kind::Other),
        }
    }
}

/// The pages whose commands are run, relative to the root.
pub(super) fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "deploy/README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    pages
}

/// The page that the commands of this one follow.
pub(super) fn before(page: &str) -> Option<String> {
    let text = read(page);
    let (_, rest) = text.split_once("<!-- commands: after ")?;
    rest.split_once(" -->").map(|(name, _)| name.to_owned())
}

/// The blocks of a page, in order.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let (text, mut found, mut open) = (read(page), Vec::new(), None::<Block>);
    for (line, number) in text.lines().zip(1..) {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block {
                    place: format!("{page}:{number}"),
                    info: info.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a fence is not closed");
    found
}
