//! The layer rule of `docs/architecture.md` as a test: downward only, no cycles, `store` and `keystore` blind to each other.
//!
//! Reads every path in `src/`: `use` trees, paths in bodies, in macros and in attributes, through `self`, `super` and
//! renamed imports. Out of scope: types that a lower layer re-exports, and paths written inside string literals.

#![allow(clippy::expect_used, reason = "a test may panic")]

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::{collections::HashMap, fs, path::Path};

/// A top-level module, the modules of this package that it may use, and what it must never see besides all others of them.
type Layer = (&'static str, &'static str, &'static str);

/// From the bottom up. In the last column, a trailing `*` stands for the rest of a name.
#[rustfmt::skip]
const LAYERS: &[Layer] = &[
    ("spec", "",
        "tokio* futures* rocksdb actix* hyper* ureq rand getrandom std::time::SystemTime std::time::Instant \
        std::fs std::net std::process std::env std::thread"),
    ("trace", "",
        "tokio* rocksdb actix* clap"),
    ("env", "spec",
        "rocksdb actix* clap"),
    ("store", "spec env",
        "actix* clap"),
    ("keystore", "spec env",
        "actix* clap"),
    ("sequencer", "spec trace env store",
        "crate::store::rocksdb rocksdb actix* clap"),
    ("service", "spec env store keystore sequencer",
        "crate::store::rocksdb crate::keystore::rocksdb rocksdb actix* clap"),
    ("config", "spec env store keystore sequencer service",
        "crate::store::rocksdb crate::keystore::rocksdb rocksdb actix*"),
    ("telemetry", "spec trace env config",
        "rocksdb"),
    ("http", "spec env service config telemetry",
        "rocksdb clap"),
    ("app", "spec env store keystore sequencer service config telemetry http",
        "clap"),
    ("cli", "spec env store keystore sequencer service config telemetry app",
        "crate::store::rocksdb crate::keystore::rocksdb rocksdb actix*"),
    ("main", "cli telemetry",
        "rocksdb actix*"),
    ("oubliette-verify", "spec",
        "tokio* rocksdb actix* rand"),
];

fn has_word(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|known| known == word)
}

/// Every path named in one file, resolved as far as the file itself tells: `crate::store::Head`, `std::fs::read`.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
    aliases: HashMap<String, Vec<String>>,
}

impl Paths {
    /// `module` is the place of the file: `["crate", "spec", "hash"]`.
    fn read(source: &str, module: &[String]) -> Self {
        let tokens: TokenStream = source.parse().expect("Rust source");
        let mut paths = Self::default();
        paths.walk(tokens, module);
        // An import may be renamed or named again: `use crate as root; use root::store;`.
        let expanded = paths.found.iter().map(|path| paths.expand(path, 8)).collect();
        Self {
            found: expanded,
            ..paths
        }
    }

    fn expand(&self, path: &[String], depth: usize) -> Vec<String> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        match self.aliases.get(first) {
            Some(full) if depth > 0 && full.as_slice() != [first.as_str()] => {
                self.expand(&[full.as_slice(), rest].concat(), depth - 1)
            }
            _ => path.to_vec(),
        }
    }

    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Ident(word) if word == "use" => at = self.tree(&tokens, at, &[], module),
                TokenTree::Ident(word) if word == "extern" && is_word(tokens.get(at), "crate") => {
                    at = self.tree(&tokens, at + 1, &[], module);
                }
                // `mod name { … }`: `super` inside means this module.
                TokenTree::Ident(word) if word == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at), tokens.get(at + 1))
                    {
                        self.walk(body.stream(), &[module, &[name.to_string()]].concat());
                        at += 2;
                    }
                }
                TokenTree::Ident(_) => {
                    let mut path = vec![name_of(token)];
                    while is_colons(&tokens, at) && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
                        path.extend(tokens.get(at + 2).map(name_of));
                        at += 3;
                    }
                    if path.len() > 1 {
                        self.found.push(resolve(path, module));
                    }
                }
                TokenTree::Group(group) => self.walk(group.stream(), module),
                _ => {}
            }
        }
    }

    /// One branch of a `use` tree, from `at`, under `prefix`; returns the place after it.
    fn tree(&mut self, tokens: &[TokenTree], mut at: usize, prefix: &[String], module: &[String]) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match tokens.get(at) {
                _ if is_colons(tokens, at) => at += 2,
                Some(TokenTree::Ident(word)) if word == "as" => {
                    let alias = tokens.get(at + 1).map(name_of).unwrap_or_default();
                    self.import(path, alias, module);
                    return at + 2;
                }
                Some(token @ TokenTree::Ident(_)) => {
                    path.push(name_of(token));
                    at += 1;
                }
                Some(TokenTree::Punct(mark)) if mark.as_char() == '*' => {
                    path.push("*".to_owned());
                    self.found.push(resolve(path, module));
                    return at + 1;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                    let mut branch = 0;
                    while branch < branches.len() {
                        // After each branch stands a comma or the end.
                        branch = self.tree(&branches, branch, &path, module) + 1;
                    }
                    return at + 1;
                }
                _ => {
                    let alias = path.last().cloned().unwrap_or_default();
                    self.import(path, alias, module);
                    return at;
                }
            }
        }
    }

    fn import(&mut self, mut path: Vec<String>, mut alias: String, module: &[String]) {
        // `use a::b::{self}` imports `b`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
            if alias == "self" {
                alias = path.last().cloned().unwrap_or_default();
            }
        }
        let path = resolve(path, module);
        self.aliases.insert(alias, path.clone());
        self.found.push(path);
    }
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

fn name_of(token: &TokenTree) -> String {
    token.to_string().trim_start_matches("r#").to_owned()
}

/// Turns `self`, `super` and the library's own name into a path from `crate`.
fn resolve(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base: Vec<String> = Vec::new();
    for (index, name) in path.iter().enumerate() {
        match name.as_str() {
            "self" if index == 0 => base = module.to_vec(),
            "super" if index == 0 => base = module.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default(),
            "super" => drop(base.pop()),
            "oubliette" if index == 0 => base.push("crate".to_owned()),
            _ => base.push(name.clone()),
        }
    }
    base
}

/// What `layer` may not name, among the paths of one file. A layer that the table does not know has one finding: that.
fn violations(layer: &str, module: &[String], source: &str) -> Vec<String> {
    let Some((_, may_use, never)) = LAYERS.iter().find(|(name, ..)| *name == layer) else {
        return vec![format!("`{layer}` has no place in the table of tests/layers.rs")];
    };
    let is_layer = |name: &str| LAYERS.iter().any(|(known, ..)| *known == name);
    let mut findings: Vec<String> = Vec::new();
    for path in Paths::read(source, module).found {
        let text = path.join("::");
        let upward = match path.as_slice() {
            [root, name, ..] if root == "crate" => {
                name == "*" || is_layer(name) && name != layer && !has_word(may_use, name)
            }
            _ => false,
        };
        if upward || never.split_whitespace().any(|pattern| covers(pattern, &path)) {
            findings.push(format!("`{layer}` must not see `{text}`"));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Whether `path` is what `pattern` names, or lies in it.
fn covers(pattern: &str, path: &[String]) -> bool {
    let parts: Vec<&str> = pattern.split("::").collect();
    parts.len() <= path.len()
        && parts.iter().zip(path).all(|(part, name)| match part.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => part == name,
        })
}

/// The layer and module path of a file below `src/`; nothing for the library root, which may name all layers.
fn place(file: &Path) -> Option<(String, Vec<String>)> {
    let names: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let inner = match names.split_last()? {
        (last, above) if last == "mod" => above,
        _ => &names,
    };
    match inner {
        [only] if only == "lib" => None,
        [only] if only == "main" => Some((only.clone(), vec!["crate".to_owned()])),
        [bin, name, ..] if bin == "bin" => Some((name.clone(), vec!["crate".to_owned()])),
        [layer, ..] => Some((layer.clone(), [&["crate".to_owned()], inner].concat())),
        [] => None,
    }
}

fn visit(folder: &Path, check: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            visit(&path, check);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            check(&path);
        }
    }
}

#[test]
fn every_file_keeps_to_its_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut findings = Vec::new();
    visit(&src, &mut |path| {
        let file = path.strip_prefix(&src).expect("below src");
        if let Some((layer, module)) = place(file) {
            let source = fs::read_to_string(path).expect("UTF-8 source");
            findings.extend(
                violations(&layer, &module, &source)
                    .iter()
                    .map(|finding| format!("{}: {finding}", file.display())),
            );
        }
    });
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn the_table_has_no_cycles() {
    let rank = |name: &str| {
        LAYERS
            .iter()
            .position(|(known, ..)| *known == name)
            .expect("a known layer")
    };
    for (layer, may_use, _) in LAYERS {
        for below in may_use.split_whitespace() {
            assert!(
                rank(below) < rank(layer),
                "{layer} may not use {below}, which stands above it"
            );
        }
    }
}

#[cfg(test)]
mod checker {
    use super::*;

    fn in_file(file: &str, source: &str) -> Vec<String> {
        let (layer, module) = place(Path::new(file)).expect("a layer");
        violations(&layer, &module, source)
    }

    #[test]
    fn each_row_of_the_table_is_enforced() {
        for (file, source) in [
            ("spec/hash.rs", "use crate::env::Clock;"),
            ("spec/hash.rs", "use std::time::SystemTime;"),
            ("spec/hash.rs", "use std::{time::{Duration, SystemTime}};"),
            ("spec/hash.rs", "fn f() -> u8 { rand::random() }"),
            ("spec/hash.rs", "#[tokio::main] async fn f() {}"),
            ("spec/hash.rs", "type D = rocksdb::DB;"),
            ("spec/hash.rs", "use actix_web::web;"),
            ("spec/hash.rs", "extern crate rand;"),
            ("store/mod.rs", "use crate::keystore::KeyStore;"),
            ("store/rocksdb/commit.rs", "use crate::sequencer::plan;"),
            ("keystore/rocksdb/mod.rs", "use crate::store::LedgerStore;"),
            ("sequencer/plan.rs", "use crate::keystore::KeyStore;"),
            ("sequencer/publish.rs", "use crate::http::routes;"),
            ("service/append.rs", "use crate::store::rocksdb::Engine;"),
            ("service/erase.rs", "use crate::keystore::{KeyStore, rocksdb};"),
            ("service/append.rs", "use actix_web::HttpRequest;"),
            ("service/append.rs", "use clap::Parser;"),
            ("service/append.rs", "use crate::config::Settings;"),
            ("http/events.rs", "use crate::store::LedgerStore;"),
            ("http/events.rs", "use crate::keystore::KeyStore;"),
            ("http/events.rs", "use crate::sequencer::Pool;"),
            ("cli/serve.rs", "use crate::http::routes;"),
            ("cli/backup.rs", "use crate::store::rocksdb::Engine;"),
            ("main.rs", "fn main() { oubliette::app::run() }"),
            ("bin/oubliette-verify.rs", "use oubliette::service::verify;"),
        ] {
            assert_eq!(in_file(file, source).len(), 1, "{file}: {source}");
        }
    }

    #[test]
    fn no_way_of_writing_a_path_escapes() {
        for source in [
            "use {crate::store::Head};",
            "pub(crate) use crate::store;",
            "use crate::{spec, store::{self, Head}};",
            "use super::super::store::Head;",
            "use super::super::{store};",
            "mod inner { use super::super::super::store::Head; }",
            "use crate as root; fn f() { root::store::open() }",
            "use crate::{self as root}; use root::store;",
            "fn f() { let head = crate::store::Head::default(); }",
            "fn f() -> Vec<<crate::store::Head as Trait>::Out> { vec![] }",
            "fn f() { assert_eq!(1, crate :: store :: ONE); }",
            "macro_rules! m { () => { $crate::store::open() } }",
            "#[derive(crate::store::Macro)] struct S;",
            "fn f(head: &::oubliette::store::Head) {}",
            "use crate::r#store::Head;",
            "use crate::*;",
            "use super::super::*;",
        ] {
            assert!(!in_file("keystore/vault.rs", source).is_empty(), "{source}");
        }
        assert!(!in_file("spec/hash.rs", "use std::time as t; fn f() { t::SystemTime::now(); }").is_empty());
        assert!(!in_file("spec/hash.rs", "use std::time; fn f() { time::SystemTime::now(); }").is_empty());
    }

    #[test]
    fn what_is_allowed_passes() {
        for (file, source) in [
            (
                "spec/hash.rs",
                "use super::event::Event; use crate::spec::ids; use std::time::Duration;",
            ),
            (
                "spec/hash.rs",
                "//! See [`crate::store`].\n// use crate::store;\n/* crate::store */ const S: &str = \"crate::store\";",
            ),
            ("spec/mod.rs", "mod tests { use super::*; use super::hash::*; }"),
            (
                "spec/hash.rs",
                "struct Random { rand: u64 } fn f(rand: u64) -> Random { Random { rand } }",
            ),
            (
                "store/mod.rs",
                "mod rocksdb; pub use self::rocksdb::Engine; use crate::spec::event::Event;",
            ),
            (
                "store/mod.rs",
                "use rocksdb::DB; use crate::env::Clock; use crate::Result;",
            ),
            (
                "service/erase.rs",
                "use crate::{keystore::KeyStore, sequencer::Pool, store::LedgerStore};",
            ),
            (
                "http/routes.rs",
                "use crate::service::append; use actix_web::web; use super::events;",
            ),
            (
                "app.rs",
                "use crate::{http, keystore::rocksdb as keys, store::rocksdb};",
            ),
            ("cli/serve.rs", "use crate::{app, config::Settings}; use clap::Args;"),
            ("main.rs", "use oubliette::cli; fn main() { cli::run() }"),
            ("bin/oubliette-verify.rs", "use oubliette::spec::verify; use std::fs;"),
        ] {
            assert_eq!(in_file(file, source), [""; 0], "{file}: {source}");
        }
    }

    #[test]
    fn an_unknown_module_needs_a_place_in_the_table() {
        assert_eq!(in_file("utils.rs", "").len(), 1);
        assert_eq!(in_file("bin/other.rs", "").len(), 1);
    }

    #[test]
    fn the_library_root_may_name_all_layers() {
        assert!(place(Path::new("lib.rs")).is_none());
    }
}
