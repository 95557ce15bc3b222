//! A token of SoftHSM2 in a folder of its own. Its library reads its settings from the environment when it is loaded: who
//! uses the token is a process that was started with [`SoftToken::environment`].

use std::path::{Path, PathBuf};
use std::process::Command;

/// The user's PIN of every token.
pub(crate) const PIN: &str = "4711-user-pin";
/// The label of every token.
pub(crate) const LABEL: &str = "oubliette test";
const MISSING: &str = "SoftHSM2 is missing; `make test` installs it (Debian: softhsm2)";
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// The library.
pub(crate) fn module() -> &'static str {
    let found = MODULES.into_iter().find(|path| Path::new(path).exists());
    found.expect(MISSING)
}

/// A token.
pub(crate) struct SoftToken {
    pub(crate) folder: tempfile::TempDir,
    settings: String,
    pin_file: String,
}

impl SoftToken {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (settings, pin_file) = (path("softhsm2.conf"), path("pin"));
        std::fs::create_dir(path("tokens")).unwrap();
        std::fs::write(&settings, format!("directories.tokendir = {}\n", path("tokens"))).unwrap();
        std::fs::write(&pin_file, format!("{PIN}\n")).unwrap();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL])
            .args(["--so-pin", "so-pin", "--pin", PIN])
            .env("SOFTHSM2_CONF", &settings)
            .output()
            .expect(MISSING);
        assert!(made.status.success(), "{made:?}");
        Self {
            folder,
            settings,
            pin_file,
        }
    }

    /// Where the token's objects lie.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// Takes the token away, as if its device were unplugged.
    pub(crate) fn put_away(&self) {
        std::fs::rename(self.tokens(), self.folder.path().join("away")).unwrap();
    }

    /// Brings it back.
    pub(crate) fn bring_back(&self) {
        std::fs::rename(self.folder.path().join("away"), self.tokens()).unwrap();
    }

    /// For a process that is to find the token.
    pub(crate) fn found_by(&self) -> (&str, &str) {
        ("SOFTHSM2_CONF", &self.settings)
    }

    /// The same, with the settings that make it the vault's.
    pub(crate) fn environment(&self) -> [(&str, &str); 5] {
        [
            self.found_by(),
            ("OUBLIETTE_VAULT_KIND", "pkcs11"),
            ("OUBLIETTE_VAULT_MODULE", module()),
            ("OUBLIETTE_VAULT_TOKEN", LABEL),
            ("OUBLIETTE_VAULT_PIN_FILE", &self.pin_file),
        ]
    }
}
