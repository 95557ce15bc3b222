//! `oubliette vault`: moves the vault to another place.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Exit, Failure};
use super::{Context, DataDir};
use crate::app::{self, MovedVault};
use crate::config::{Settings, VaultKind};

/// Move the vault: to other folders, into an HSM, or out of one.
#[derive(Debug, Subcommand)]
pub(super) enum Vault {
    /// Move the vault of a data directory that nobody serves.
    Move(Move),
}

/// Move the vault of a data directory that nobody serves.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette vault move --data D --to /mnt/a/vault --to /mnt/b/vault
  oubliette vault move --data D --to V/a --to V/b --to-kind pkcs11 --to-module M.so --to-token T --to-pin-file P
  oubliette vault move --data D --to V/a --to V/b    (with vault_kind = \"pkcs11\" set: out of the HSM)

Every ledger gets a new epoch, whose key is made in the new vault. Then every key of the old vault is destroyed: backups of the key
store open no more, so take one at once. If it breaks off, the same command goes on. Copies of the old vault that were made
by hand are yours to destroy.")]
pub(super) struct Move {
    #[command(flatten)]
    data: DataDir,
    /// A new folder for the vault. Repeatable: one for each mirror, best on devices of their own.
    #[arg(long = "to", value_name = "DIR", required = true)]
    to: Vec<PathBuf>,
    /// Where the epoch keys are to live.
    #[arg(long, value_enum, default_value_t = ToKind::File)]
    to_kind: ToKind,
    /// The PKCS#11 library of the HSM that they go to.
    #[arg(long, value_name = "FILE")]
    to_module: Option<PathBuf>,
    /// The label of its token.
    #[arg(long, value_name = "LABEL")]
    to_token: Option<String>,
    /// The file with its PIN; default: OUBLIETTE_VAULT_PIN.
    #[arg(long, value_name = "FILE")]
    to_pin_file: Option<PathBuf>,
    /// Move although backups of the key store can still be opened: none of them opens afterwards.
    #[arg(long)]
    forget_backups: bool,
}

/// As the setting `vault_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ToKind {
    /// In files, mirrored.
    File,
    /// In a hardware security module, over PKCS#11.
    Pkcs11,
}

impl Vault {
    pub(super) fn run(self, context: Context) -> Result<Exit, Failure> {
        let Self::Move(wanted) = self;
        wanted.run(context)
    }
}

impl Move {
    fn run(self, mut context: Context) -> Result<Exit, Failure> {
        context.with_data(&self.data);
        context.settings.check_values()?;
        let target = self.target(&context.settings)?;
        target.check_values()?;
        let runtime = super::init::runtime()?;
        crate::env::raise_open_files();
        let moved = runtime.block_on(app::move_vault(&context.settings, &target, self.forget_backups))?;
        context.print(&moved, || words(&moved, &target))?;
        Ok(Exit::Fine)
    }

    /// Its paths are what is to be set afterwards, so they do not depend on where this runs.
    fn target(&self, settings: &Settings) -> Result<Settings, Failure> {
        let place = |path: &PathBuf| std::path::absolute(path).map_err(|error| Failure::file(path, &error));
        Ok(Settings {
            vault_dirs: Some(self.to.iter().map(place).collect::<Result<_, _>>()?),
            vault_kind: match self.to_kind {
                ToKind::File => VaultKind::File,
                ToKind::Pkcs11 => VaultKind::Pkcs11,
            },
            vault_module: self.to_module.clone(),
            vault_token: self.to_token.clone(),
            vault_pin_file: self.to_pin_file.as_ref().map(place).transpose()?,
            ..settings.clone()
        })
    }
}

fn words(moved: &MovedVault, target: &Settings) -> String {
    let mut text = "Moved the vault. Every key of the old one is destroyed.\n".to_owned();
    for ledger in &moved.ledgers {
        text += &format!("  {}: epoch {}, now {}\n", ledger.ledger, ledger.from, ledger.to);
    }
    text += &format!("\nSet, and then serve:\n  vault_dirs = {:?}\n", moved.vault_dirs);
    if let (Some(module), Some(token)) = (&target.vault_module, &target.vault_token) {
        text += &format!("  vault_kind = \"pkcs11\"\n  vault_module = {module:?}\n  vault_token = {token:?}\n");
        if let Some(pin) = &target.vault_pin_file {
            text += &format!("  vault_pin_file = {pin:?}\n");
        }
    } else {
        text += "  vault_kind = \"file\", and no vault_module, vault_token or vault_pin_file\n";
    }
    if moved.vault_shares_device {
        text += super::init::SHARED_DEVICE;
    }
    text + "\nTake a backup at once: those from before do not open any more. Remove the old folders, and destroy every copy of them."
}
