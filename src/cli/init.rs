//! `oubliette init`.

use clap::Args;

use super::failure::{Exit, Failure};
use super::{Context, DataDir};
use crate::app::{App, Initialised};
use crate::spec::ids::Origin;

/// Make a data directory with the ledger `main` and a first API key.
#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    data: DataDir,
    /// The ledger's global name, a URL without scheme; by default a random one.
    #[arg(long)]
    origin: Option<Origin>,
}

impl Init {
    pub(super) fn run(self, mut context: Context) -> Result<Exit, Failure> {
        context.with_data(&self.data);
        let (app, made) = runtime()?.block_on(App::init(&context.settings, self.origin))?;
        drop(app);
        let data = context.settings.data.display().to_string();
        context
            .print(&made, || words(&made, &data))
            .map_err(|failure| unheard(failure, &data))?;
        Ok(Exit::Fine)
    }
}

/// The keys were meant to be shown this once.
fn unheard(failure: Failure, data: &str) -> Failure {
    let detail = format!(
        "{}. The ledger was made, but its keys could not be shown: `oubliette api-key create --data {data}` makes another \
         API key. The recovery key is kept nowhere: to have one, remove {data} while nothing is in it, and init again",
        failure.detail
    );
    Failure::new(failure.exit, failure.code, detail)
}

/// Said whenever a vault comes to lie beside the key store.
pub(super) const SHARED_DEVICE: &str = "
Warning: vault and key store share a device. One snapshot of that volume copies both, and nobody can undo such a
copy. For production put the vault on a device of its own (setting vault_dirs).
";

fn words(made: &Initialised, data: &str) -> String {
    let recovery = made
        .ledger
        .recovery_key
        .as_ref()
        .map(|key| key.as_str())
        .unwrap_or_default();
    let warning = if made.vault_shares_device {
        format!("\n\n{}", SHARED_DEVICE.trim())
    } else {
        String::new()
    };
    format!(
        "Made the ledger `{}` in {data}.\n\n\
         origin         {}\n\
         vkey           {}\n               \
         (the checkpoint key: give it to your auditors to pin)\n\
         API key        {}\n               \
         (every role; shown this once)\n\
         recovery key   {recovery}\n               \
         (shown this once and kept nowhere: write it down offline; it replaces lost signing keys){warning}\n\n\
         Next: oubliette serve --data {data}",
        made.ledger.ledger, made.ledger.origin, made.ledger.vkey, *made.key.api_key,
    )
}

/// The asynchronous runtime of a command that opens the directory itself.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_not_be_shown_have_a_mend() {
        let failure = unheard(Failure::new(Exit::Io, "output_failed", "standard output: full"), "D");
        assert_eq!((failure.code.as_str(), failure.exit), ("output_failed", Exit::Io));
        assert!(failure.detail.contains("oubliette api-key create --data D"));
    }
}
