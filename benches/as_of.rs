//! The state of a stream of 1,000 events, in process, on a real store: what time travel costs.
//!
//! `cargo bench --profile dev --bench as_of`. The stream's events lie scattered among those of nine others. Target: 10 ms.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may panic")]

use std::sync::{Arc, LazyLock};

use divan::Bencher;
use oubliette::app::App;
use oubliette::config::Settings;
use oubliette::service::append::{AppendCall, Proof};
use oubliette::service::as_of::Moment;
use oubliette::service::read::Reveal;
use oubliette::service::{Ledger, Service, request};
use oubliette::spec::ids::StreamName;
use serde_json::json;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 1_000;

fn main() {
    divan::main();
}

/// A ledger with ten streams of 1,000 events; it stays until the process ends.
struct Filled {
    app: App,
    ledger: Arc<Ledger>,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

static FILLED: LazyLock<Filled> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = Settings {
        data: folder.path().join("data"),
        ..Settings::default()
    };
    let app = runtime.block_on(async {
        let (app, _) = App::init(&settings, None).await.unwrap();
        let ledger = app.service().ledger(&"main".parse().unwrap()).unwrap();
        for batch in 0..EVENTS / 50 {
            fill(app.service(), &ledger, batch).await;
        }
        app
    });
    let ledger = app.service().ledger(&"main".parse().unwrap()).unwrap();
    Filled {
        app,
        ledger,
        _runtime: runtime,
        _folder: folder,
    }
});

/// 50 events for each of ten streams, one of which has personal data.
async fn fill(service: &Arc<Service>, ledger: &Arc<Ledger>, batch: u64) {
    let event = |n: u64| {
        let stream = n % 10;
        let mut event = json!({"stream": format!("s{stream}"), "type": "order.changed",
            "data": {format!("field{}", n % 97): n, "status": "open", "address": {"city": "Old Town", "line": n % 13}}});
        if stream == 1 {
            event["personal"] = json!([{"subject": "customer-17", "data": {"name": "Ada Example", "visit": n}}]);
        }
        event
    };
    let events: Vec<_> = (batch * 500..batch * 500 + 500).map(event).collect();
    let body = json!({"events": events}).to_string();
    let call = AppendCall::batch(request::parse(body.as_bytes()).unwrap(), Proof::None).unwrap();
    service.append(ledger, call).await.unwrap();
}

fn state(bencher: Bencher<'_, '_>, stream: &str, moment: Moment, reveal: Reveal) {
    let filled = &*FILLED;
    let stream: StreamName = stream.parse().unwrap();
    bencher.bench(|| {
        let state = filled
            .app
            .service()
            .stream_state(&filled.ledger, &stream, moment, reveal);
        assert!(state.unwrap().stream_version > 0);
    });
}

#[divan::bench]
fn state_now(bencher: Bencher<'_, '_>) {
    state(bencher, "s0", Moment::Now, Reveal::Sealed);
}

#[divan::bench]
fn state_in_the_middle(bencher: Bencher<'_, '_>) {
    state(bencher, "s0", Moment::Index(5_000), Reveal::Sealed);
}

#[divan::bench]
fn state_with_sealed_data(bencher: Bencher<'_, '_>) {
    state(bencher, "s1", Moment::Now, Reveal::Sealed);
}

#[divan::bench]
fn state_with_opened_data(bencher: Bencher<'_, '_>) {
    state(bencher, "s1", Moment::Now, Reveal::Open);
}

#[divan::bench]
fn ledger_of_10000_events_with_counts(bencher: Bencher<'_, '_>) {
    let filled = &*FILLED;
    bencher.bench(|| {
        filled
            .app
            .service()
            .ledger_as_of(&filled.ledger, Moment::Now, true)
            .unwrap()
    });
}

#[divan::bench]
fn ledger_of_10000_events_without_counts(bencher: Bencher<'_, '_>) {
    let filled = &*FILLED;
    bencher.bench(|| {
        filled
            .app
            .service()
            .ledger_as_of(&filled.ledger, Moment::Index(5_000), false)
            .unwrap()
    });
}
