//! Operations on the store as a whole.

use super::super::page::{ApiKeyPage, BackupPage, LedgerPage};
use super::super::{api_keys, backups, health, ledgers};
use super::operation::{APPENDS, Operation};
use crate::service::Code;
use crate::service::access::{NewApiKey, ShownApiKey};
use crate::service::backup::{BackupRequest, BackupView};
use crate::service::ledger::{CreatedLedger, NewLedger};

pub(super) fn operations() -> Vec<Operation> {
    let of_ledgers: Vec<Operation> = vec![
        Operation::of(
            ("get", "/v1/ledgers"),
            ledgers::list,
            ("administration", "listLedgers"),
            "List the ledgers",
        )
        .json::<LedgerPage<'_>>(200, "A page of ledgers."),
        Operation::of(
            ("post", "/v1/ledgers"),
            ledgers::create,
            ("administration", "createLedger"),
            "Make a ledger",
        )
        .body::<NewLedger>()
        .json::<CreatedLedger>(201, "The ledger, with keys of its own.")
        .codes(APPENDS)
        .codes(&[Code::LedgerExists, Code::PersonalDataRefused]),
        Operation::of(
            ("get", "/v1/api-keys"),
            api_keys::list,
            ("administration", "listApiKeys"),
            "List the API keys",
        )
        .json::<ApiKeyPage<'_>>(200, "A page of keys, without their secrets."),
        Operation::of(
            ("post", "/v1/api-keys"),
            api_keys::create,
            ("administration", "createApiKey"),
            "Make an API key",
        )
        .note("The key is shown this one time.")
        .body::<NewApiKey>()
        .json::<ShownApiKey>(201, "The key.")
        .codes(APPENDS)
        .codes(&[Code::LedgerNotFound]),
        Operation::of(
            ("delete", "/v1/api-keys/{id}"),
            api_keys::revoke,
            ("administration", "revokeApiKey"),
            "Revoke an API key",
        )
        .note("At once and for good.")
        .empty(204, "It is revoked.")
        .codes(APPENDS)
        .codes(&[Code::NotFound]),
    ];
    let mut all = of_server();
    all.extend(of_ledgers);
    all.extend(of_backups());
    all
}

fn of_backups() -> Vec<Operation> {
    vec![
        Operation::of(
            ("get", "/v1/backups"),
            backups::list,
            ("administration", "listBackups"),
            "List the backups",
        )
        .note("Those that this store knows of, newest first, and when the epoch dies under which their keys hang.")
        .json::<BackupPage<'_>>(200, "A page of backups."),
        Operation::of(
            ("post", "/v1/backups"),
            backups::create,
            ("administration", "createBackup"),
            "Make a backup",
        )
        .note(
            "Copies the ledgers' store and the key store into folders under the server's `backup_dir`, while both are in use. \
             Never the vault, never signing keys. Answers at once; ask for the backup until it is `completed`.",
        )
        .body::<BackupRequest>()
        .json::<BackupView>(202, "The backup, running.")
        .codes(APPENDS)
        .codes(&[Code::BackupRunning, Code::PersonalDataRefused]),
        Operation::of(
            ("get", "/v1/backups/{id}"),
            backups::one,
            ("administration", "getBackup"),
            "One backup",
        )
        .json::<BackupView>(200, "The backup.")
        .codes(&[Code::NotFound]),
    ]
}

fn of_server() -> Vec<Operation> {
    vec![
        Operation::of(
            ("get", "/healthz"),
            health::alive,
            ("server", "alive"),
            "Whether the process lives",
        )
        .json::<health::Health>(200, "It does."),
        Operation::of(
            ("get", "/readyz"),
            health::ready,
            ("server", "ready"),
            "Whether events are taken",
        )
        .note("An idle ledger is ready.")
        .json::<health::Health>(200, "They are.")
        .codes(&[
            Code::NotReady,
            Code::KeyUnavailable,
            Code::StorageFailed,
            Code::Internal,
        ]),
        Operation::of(
            ("get", "/metrics"),
            health::metrics,
            ("server", "metrics"),
            "What was measured",
        )
        .media(
            200,
            "The Prometheus text format.",
            "text/plain; version=0.0.4; charset=utf-8",
        )
        .codes(&[Code::NotFound]),
        Operation::of(
            ("get", "/openapi.json"),
            super::json,
            ("server", "openapi"),
            "This document",
        )
        .object(200, "OpenAPI 3.1."),
        Operation::of(
            ("get", "/docs"),
            super::docs,
            ("server", "docs"),
            "This document as a page",
        )
        .media(
            200,
            "A page that loads nothing from elsewhere.",
            "text/html; charset=utf-8",
        ),
    ]
}
