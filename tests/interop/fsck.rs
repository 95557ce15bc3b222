//! `fsck` of transparency-dev/tessera reads a whole log as tiles and checks every hash: over our API with an API key, from
//! an exported folder, and from that folder through a static file server.

use std::path::Path;
use std::process::Command;

use crate::export::export;
use crate::support::{Data, Server};
use crate::tools::{go_programs, static_server};
use crate::trees::grow_to;

/// What it says. It ends well whatever it finds.
fn fsck(programs: &Path, folder: &Path, vkey: &str, url: &str, more: &[&str]) -> String {
    let key = folder.join("fsck.vkey");
    std::fs::write(&key, vkey).unwrap();
    let output = Command::new(programs.join("fsck"))
        .args(["--ui=false", "--logtostderr", "-v=1", "--N=2"])
        .arg(format!("--storage_url={url}"))
        .arg(format!("--public_key={}", key.display()))
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn is_sound(said: &str) {
    assert!(
        said.contains("Completed ranges") && !said.contains("fsck failed"),
        "{said}"
    );
}

fn key_option(server: &Server, roles: &[&str]) -> String {
    let wanted = serde_json::json!({"name": "fsck", "roles": roles});
    let made = server.client().post("/v1/api-keys", &wanted).expect(201);
    format!("--bearer_token={}", made["api_key"].as_str().unwrap())
}

#[test]
fn tesseras_fsck_finds_served_and_exported_logs_of_many_sizes_sound() {
    let Some(programs) = go_programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = Data::new();
    let server = data.serve();
    let key = key_option(&server, &["auditor"]);
    let client = server.client();
    let log = format!("http://{}/v1/ledgers/main/log/", server.address());
    let out = folder.path().join("log");
    for size in [5, 6, 255, 256, 257, 511, 513, 1_500] {
        grow_to(&client, size);
        is_sound(&fsck(programs, folder.path(), data.vkey(), &log, &[&key]));
        export(&server, &data, &out, &["--entries"]);
        is_sound(&fsck(
            programs,
            folder.path(),
            data.vkey(),
            &format!("file://{}", out.display()),
            &[],
        ));
    }
    let Some((_server, url)) = static_server(&out) else {
        return;
    };
    is_sound(&fsck(programs, folder.path(), data.vkey(), &url, &[]));
    // That it can fail: another key, no access to entries, one false byte in the folder.
    let other = Data::new();
    let said = fsck(programs, folder.path(), other.vkey(), &url, &[]);
    assert!(said.contains("fsck failed"), "{said}");
    let reader = key_option(&server, &["reader"]);
    let said = fsck(programs, folder.path(), data.vkey(), &log, &[&reader]);
    assert!(said.contains("fsck failed"), "{said}");
    let tile = out.join("tile/entries/003");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    let said = fsck(programs, folder.path(), data.vkey(), &url, &[]);
    assert!(said.contains("fsck failed"), "{said}");
}
