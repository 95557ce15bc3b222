//! Parameters in paths.

use serde_json::{Value, json};

/// The schema of a path's parameter in an operation.
pub(super) fn of_path(name: &str, operation: &str) -> Value {
    match name {
        "ledger" => json!({"$ref": "#/components/schemas/LedgerName"}),
        "stream" => json!({"$ref": "#/components/schemas/StreamName"}),
        "handle" => json!({"$ref": "#/components/schemas/Handle"}),
        "event" => json!({
            "description": "An index, or an event's id.",
            "anyOf": [
                {"type": "integer", "format": "uint64", "minimum": 0},
                {"type": "string", "format": "uuid"},
            ],
        }),
        "path" if operation == "entries" => json!({
            "type": "string",
            "description": "`<index>[.p/<width>]` (C2SP tlog-tiles); anything else is 404.",
            "examples": ["000.p/1"],
        }),
        "path" => json!({
            "type": "string",
            "description": "`<level>/<index>[.p/<width>]` (C2SP tlog-tiles); anything else is 404.",
            "examples": ["0/000.p/1"],
        }),
        _ if operation == "revokeApiKey" => json!({
            "type": "string", "pattern": "^[0-9a-f]{16}$", "description": "The part of the key between `obl_` and the secret.",
        }),
        _ => json!({"type": "string", "format": "uuid"}),
    }
}
