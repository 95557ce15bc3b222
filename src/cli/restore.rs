//! `oubliette restore`: puts a backup back into a new directory, or proves that it could be.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::failure::{Exit, Failure};
use crate::app::{self, Drilled, Restored};
use crate::spec::note::VerifierKey;
use crate::spec::report::Verdict;
use crate::spec::verify::Trust;

/// Put a backup back into a new directory; or prove with --drill that it could be.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette restore --drill --from B --vault V/a --vault V/b
  oubliette restore --from B --data NEW --vault V/a --vault V/b --keys K
  oubliette serve --data NEW    (with vault_dirs and keys_dir set to V and K)

The vault and the signing keys are used as they are now, where they are; no backup holds them. A backup that is older than what
the vault remembers is refused without --accept-rollback, which freezes the old log and lets a new one go on.")]
pub(super) struct Restore {
    /// The backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The key store's part of it, if that lies apart.
    #[arg(long, value_name = "DIR")]
    keystore_from: Option<PathBuf>,
    /// A new or empty data directory.
    #[arg(long, value_name = "DIR", required_unless_present = "drill")]
    data: Option<PathBuf>,
    /// A mirror of the vault, or a folder that holds its mirrors. Repeatable; default: the setting vault_dirs.
    #[arg(long, value_name = "DIR")]
    vault: Vec<PathBuf>,
    /// The signing keys; default: the setting keys_dir.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Lose what is newer than the backup: freeze the old log, and go on in a new one.
    #[arg(long)]
    accept_rollback: bool,
    /// Let the API keys of the backup work again, also those that were revoked since. Without this all of them are revoked, and
    /// one new admin key is made and shown once.
    #[arg(long)]
    keep_api_keys: bool,
    /// Prove the backup and change nothing: no signing key is read, the vault is not written to, nothing live is touched. Exit
    /// 1 if something speaks against it.
    #[arg(long, conflicts_with_all = ["data", "keys", "accept_rollback", "keep_api_keys"])]
    drill: bool,
    /// A checkpoint key of a ledger that you know from elsewhere (name+id+base64), for the drill's verification. Repeatable.
    #[arg(long = "key", value_name = "VKEY", requires = "drill")]
    pinned: Vec<VerifierKey>,
    /// Where the drill's copy of the key store lies while it runs; default: the system's temporary folder.
    #[arg(long, value_name = "DIR", requires = "drill")]
    scratch: Option<PathBuf>,
}

impl Restore {
    pub(super) fn run(self, mut context: Context) -> Result<Exit, Failure> {
        if !self.vault.is_empty() {
            context.settings.vault_dirs = Some(mirrors(&self.vault));
        } else if context.settings.vault_dirs.is_none() {
            return Err(Failure::usage(
                "say where the vault is: --vault DIR, for each of its mirrors",
            ));
        }
        let restore = app::Restore {
            from: self.from,
            keystore_from: self.keystore_from,
            accept_rollback: self.accept_rollback,
            keep_api_keys: self.keep_api_keys,
        };
        let runtime = super::init::runtime()?;
        crate::env::raise_open_files();
        if self.drill {
            let trust = Trust {
                keys: self.pinned,
                ..Trust::default()
            };
            let scratch = self.scratch.unwrap_or_else(std::env::temp_dir);
            let bar = context.progress(None, "events");
            let drilled = app::drill(&context.settings, &restore, &trust, &scratch, |done, _| {
                bar.set_position(done)
            });
            let drilled = runtime.block_on(drilled)?;
            bar.finish_and_clear();
            context.print(&drilled, || drill_words(&drilled))?;
            return Ok(if drilled.proven { Exit::Fine } else { Exit::Findings });
        }
        let Some(data) = self.data else {
            return Err(Failure::usage("say where the backup is to be put back: --data DIR"));
        };
        context.settings.data = data;
        match self.keys {
            Some(keys) => context.settings.keys_dir = Some(keys),
            None if context.settings.keys_dir.is_none() => {
                return Err(Failure::usage("say where the signing keys are: --keys DIR"));
            }
            None => {}
        }
        let restored = runtime.block_on(app::restore(&context.settings, &restore))?;
        context.print(&restored, || words(&restored, &context))?;
        Ok(Exit::Fine)
    }
}

/// A folder that is no mirror but holds some stands for those.
fn mirrors(named: &[PathBuf]) -> Vec<PathBuf> {
    let is_mirror = |folder: &PathBuf| folder.join("vault").is_file();
    let within = |folder: &PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(is_mirror).collect();
        found.sort();
        found
    };
    let expand = |folder: &PathBuf| match within(folder) {
        found if !is_mirror(folder) && !found.is_empty() => found,
        _ => vec![folder.clone()],
    };
    named.iter().flat_map(expand).collect()
}

fn words(restored: &Restored, context: &Context) -> String {
    let settings = context.settings.resolved();
    let mut text = format!(
        "Restored the backup of {} ({} bytes) to {}.\n",
        restored.taken_at,
        restored.bytes,
        settings.data.display()
    );
    for ledger in &restored.ledgers {
        let frozen = if ledger.frozen { ", frozen" } else { "" };
        text += &format!(
            "  {} ({}): {} events{frozen}\n",
            ledger.ledger, ledger.origin, ledger.tree_size
        );
    }
    for rollback in &restored.rollbacks {
        let lost = match rollback.lost {
            0 => "events of its last second may be lost".to_owned(),
            lost => format!("{lost} events or more are lost"),
        };
        text += &format!(
            "\nRolled back: {lost}. `{}` goes on under a new origin; its auditors need its key:\n  origin  {}\n  vkey    {}\n",
            rollback.ledger, rollback.origin, rollback.vkey
        );
        text += "  holds, restrictions and erasures that waited, if they were placed in what is lost, are gone: place them anew\n";
        if rollback.erasures_recovered > 0 {
            text += &format!(
                "  {} erasures that the old log lost are on record again\n",
                rollback.erasures_recovered
            );
        }
        if let Some(key) = &rollback.recovery_key {
            text += &format!("  recovery key (shown this once): {}\n", key.as_str());
        }
    }
    text += &match &restored.api_key {
        Some(shown) => format!(
            "\n{} API keys of the backup are revoked. A new one with the role admin, shown this once:\n  {}\n",
            restored.api_keys_revoked,
            shown.api_key.as_str()
        ),
        None => format!(
            "\n{} API keys are as they were then: revoke again what was revoked since (`oubliette api-key list`).\n",
            restored.api_keys
        ),
    };
    text += &format!(
        "\nSet, and then serve:\n  data = {:?}\n  vault_dirs = {:?}\n  keys_dir = {:?}",
        settings.data,
        settings.vault_dirs.unwrap_or_default(),
        settings.keys_dir.unwrap_or_default()
    );
    text
}

fn drill_words(drilled: &Drilled) -> String {
    let mut text = format!(
        "The backup of {} can {}be put back.\n{} files, {} bytes: as its manifest says.\n",
        drilled.taken_at,
        if drilled.proven { "" } else { "NOT " },
        drilled.files,
        drilled.bytes
    );
    for one in &drilled.ledgers {
        let (people, sample) = (&one.people, &one.sample);
        text += &format!(
            "\n{} ({})\n  {} events, {}: {} findings\n  {} events behind what the vault remembers\n  people: {} active ({} partly \
             erased), {} erasing, {} erased\n  newest sealed blocks: {} of {} people tried; {} opened, {} erased, {} restricted, {} \
             without their key\n",
            one.ledger,
            one.origin,
            one.report.tree_size,
            verdict(one.report.verdict),
            one.report.findings.len(),
            one.behind,
            people.active,
            people.partly_erased,
            people.erasing,
            people.erased,
            sample.blocks,
            sample.people,
            sample.opened,
            sample.erased,
            sample.restricted,
            sample.unavailable
        );
    }
    text.trim_end().to_owned()
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Incomplete => "incomplete",
        Verdict::Tampered => "tampered",
    }
}
