//! A data directory that is opened without a server: what a start and a tick do.

use tempfile::TempDir;

use super::*;
use crate::service::append::{AppendCall, Proof};
use crate::spec::ids::SubjectId;

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

/// An event that names somebody: whom no event names a start forgets.
pub(super) async fn append_about(app: &App, subject: &str) {
    let text = format!(r#"{{"events": [{{"type": "made", "personal": [{{"subject": "{subject}", "data": 1}}]}}]}}"#);
    let (service, request) = (app.service(), serde_json::from_str(&text).unwrap());
    let call = AppendCall::to_stream("people".parse().unwrap(), request, Proof::None);
    service.append(&service.all_ledgers()[0], call).await.unwrap();
}

#[test]
fn a_tick_confirms_people_however_many_others_no_event_names_yet() {
    const UNNAMED: usize = 3_000;
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        data: folder.path().join("data"),
        ..Settings::default()
    };
    let (app, _) = block_on(App::init(&settings, None)).unwrap();
    let (keystore, ledger) = (&app.service().keystore, app.service().all_ledgers()[0].record.id);
    let unnamed: Vec<SubjectId> = (0..UNNAMED).map(|n| format!("new-{n}").parse().unwrap()).collect();
    keystore.provision_handles(ledger, &unnamed).unwrap();
    let named: Vec<_> = (0..20).map(|number| format!("named-{number}")).collect();
    block_on(async {
        for subject in &named {
            append_about(&app, subject).await;
        }
        app.service().tick().await;
    });
    assert_eq!(keystore.new_handles(ledger, None, usize::MAX).unwrap().len(), UNNAMED);
    block_on(app.close());
    let app = block_on(App::open(&settings)).unwrap();
    let keystore = &app.service().keystore;
    assert_eq!(keystore.new_handles(ledger, None, usize::MAX).unwrap(), []);
    assert_eq!(keystore.census(ledger).unwrap().active, 20);
    block_on(app.close());
}
