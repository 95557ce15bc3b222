//! Acts that the ledger records of itself: reveals, exports, API keys. Totals count all of them, lists stop at
//! [`MAX_ROWS`].

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use uuid::Uuid;

use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use crate::spec::compliance::{
    By, ExportAct, Exports, KeyAct, Keys, MAX_ROWS, Reveal, Reveals, RoleCount, SigningKeyLine, UnreadableEvent,
};
use crate::spec::ids::EventType;
use crate::store::{Direction, Lookup};

const KEY_CREATED: &str = "api_key.created";
const KEY_REVOKED: &str = "api_key.revoked";
const REVEALED: &str = "personal_data.revealed";
const EXPORT_CREATED: &str = "export.created";
const EXPORT_DOWNLOADED: &str = "export.downloaded";

/// What was gathered so far.
pub(super) struct Acts {
    pub(super) reveals: Reveals,
    pub(super) exports: Exports,
    pub(super) keys: KeyActs,
    /// Acts that are damaged.
    pub(super) unreadable: Vec<UnreadableEvent>,
    left: HashSet<Uuid>,
}

/// Acts on API keys: few, for a key lives long.
#[derive(Default)]
pub(super) struct KeyActs(Vec<KeyAct>);

impl Default for Acts {
    fn default() -> Self {
        Self {
            reveals: Reveals {
                requests: 0,
                blocks: 0,
                list: Vec::new(),
                omitted: 0,
            },
            exports: Exports {
                created: 0,
                downloaded: 0,
                parts: 0,
                left: 0,
                opened: 0,
                list: Vec::new(),
                omitted: 0,
            },
            keys: KeyActs::default(),
            unreadable: Vec::new(),
            left: HashSet::new(),
        }
    }
}

#[derive(Deserialize)]
struct Revealed {
    key: Box<str>,
    roles: Vec<Box<str>>,
    blocks: u64,
    events: Vec<IgnoredAny>,
    handles: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Exported {
    export: Uuid,
    by: Box<str>,
    roles: Vec<Box<str>>,
    request: Option<super::super::export::ExportRequest>,
    #[serde(default)]
    reveal: bool,
    bytes: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct KeyChanged {
    by: Box<str>,
    key: NamedKey,
}

#[derive(Deserialize)]
struct NamedKey {
    id: Box<str>,
    #[serde(default)]
    roles: Vec<Box<str>>,
}

/// An API key with its roles.
pub(super) fn by<'a>(key: &str, roles: impl Iterator<Item = &'a str>) -> By {
    By {
        key: key.into(),
        roles: roles.map(Into::into).collect(),
    }
}

fn payload<T: DeserializeOwned>(event: &StoredEvent) -> Result<T, Error> {
    let damaged = || {
        Error::new(
            Code::Damaged,
            format!(
                "the {} at index {} cannot be read",
                event.header.event_type, event.index
            ),
        )
    };
    let data = event.data().ok_or_else(damaged)?;
    serde_json::from_slice(&data.bytes).map_err(|error| damaged().caused_by(error))
}

fn list<T>(rows: &mut Vec<T>, omitted: &mut u64, row: T) {
    if rows.len() < MAX_ROWS {
        rows.push(row)
    } else {
        *omitted += 1
    }
}

impl Acts {
    /// Whether events of this type are acts.
    pub(super) fn wants(event_type: &str) -> bool {
        [KEY_CREATED, KEY_REVOKED, REVEALED, EXPORT_CREATED, EXPORT_DOWNLOADED].contains(&event_type)
    }

    /// Adds an act, or notes that it is damaged. Only Oubliette writes events of these types.
    pub(super) fn add(&mut self, event_type: &str, index: u64, event: Result<StoredEvent, Error>) -> Result<(), Error> {
        let section = match event_type {
            REVEALED => "reveals",
            EXPORT_CREATED | EXPORT_DOWNLOADED => "exports",
            _ => "keys",
        };
        match event.and_then(|event| self.add_read(&event)) {
            Err(error) if error.code == Code::Damaged => {
                let section = section.into();
                self.unreadable.push(UnreadableEvent { index, section });
                Ok(())
            }
            added => added,
        }
    }

    fn add_read(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match event.header.event_type.as_str() {
            REVEALED => self.reveal(event, payload(event)?),
            EXPORT_CREATED => self.export(event, "created", payload(event)?),
            EXPORT_DOWNLOADED => self.export(event, "downloaded", payload(event)?),
            KEY_CREATED => self.keys.0.push(key_act(event, "created")?),
            KEY_REVOKED => self.keys.0.push(key_act(event, "revoked")?),
            _ => {}
        }
        Ok(())
    }

    fn reveal(&mut self, event: &StoredEvent, revealed: Revealed) {
        let reveals = &mut self.reveals;
        reveals.requests += 1;
        reveals.blocks = reveals.blocks.saturating_add(revealed.blocks);
        let row = Reveal {
            at: event.header.recorded_at,
            index: event.index,
            by: By {
                key: revealed.key,
                roles: revealed.roles,
            },
            events: revealed.events.len() as u64,
            blocks: revealed.blocks,
            people: revealed.handles.len() as u64,
        };
        list(&mut reveals.list, &mut reveals.omitted, row);
    }

    fn export(&mut self, event: &StoredEvent, act: &str, exported: Exported) {
        let opened = exported.reveal || exported.request.as_ref().is_some_and(|request| request.reveal);
        let exports = &mut self.exports;
        let act = if act == "downloaded" && exported.bytes.is_some() {
            "part"
        } else {
            act
        };
        match act {
            "created" => exports.created += 1,
            "part" => exports.parts += 1,
            _ => exports.downloaded += 1,
        }
        if act != "created" {
            exports.opened += u64::from(opened);
            exports.left += u64::from(self.left.insert(exported.export));
        }
        let row = ExportAct {
            at: event.header.recorded_at,
            index: event.index,
            act: act.into(),
            export: exported.export,
            by: By {
                key: exported.by,
                roles: exported.roles,
            },
            opened,
            what: exported.request.map(|request| request.words().into()),
        };
        list(&mut exports.list, &mut exports.omitted, row);
    }
}

fn key_act(event: &StoredEvent, act: &str) -> Result<KeyAct, Error> {
    let KeyChanged { by, key } = payload(event)?;
    Ok(KeyAct {
        at: event.header.recorded_at,
        index: event.index,
        act: act.into(),
        key: key.id,
        roles: key.roles,
        by,
    })
}

impl Service {
    /// The keys: what signs, what is live, what was made and revoked.
    pub(super) fn report_keys(&self, ledger: &Ledger, gathered: &mut Acts, end: u64) -> Result<Keys, Error> {
        let KeyActs(mut acts) = std::mem::take(&mut gathered.keys);
        self.roles_of_revoked(ledger, &mut acts, end, &mut gathered.unreadable)?;
        let of = |wanted: &str| {
            count_roles(
                acts.iter()
                    .filter(|act| *act.act == *wanted)
                    .flat_map(|act| act.roles.iter().cloned()),
            )
        };
        let live = self.api_keys();
        let live = live.iter().filter(|key| {
            key.ledgers
                .as_ref()
                .is_none_or(|ledgers| ledgers.contains(&ledger.record.name))
        });
        let live = live.flat_map(|key| key.roles.iter().map(|role| role.as_str().into()));
        let signing = ledger.keys().into_iter().map(|key| SigningKeyLine {
            role: key.key.role,
            key_id: key.key.key_id,
            from: key.from,
            to: key.to,
        });
        let first = self.all_ledgers().first().map(|first| first.record.number);
        Ok(Keys {
            signing: signing.collect(),
            live_by_role: count_roles(live),
            recorded_here: first == Some(ledger.record.number),
            created_by_role: of("created"),
            revoked_by_role: of("revoked"),
            omitted: acts.len().saturating_sub(MAX_ROWS) as u64,
            acts: {
                acts.truncate(MAX_ROWS);
                acts
            },
        })
    }

    /// A revocation names the key's id alone; its roles stand in the event that made it.
    fn roles_of_revoked(
        &self,
        ledger: &Ledger,
        acts: &mut [KeyAct],
        end: u64,
        unreadable: &mut Vec<UnreadableEvent>,
    ) -> Result<(), Error> {
        if !acts.iter().any(|act| &*act.act == "revoked") {
            return Ok(());
        }
        let created: EventType = super::super::ledger::system_name(KEY_CREATED)?;
        let lookup = Lookup::Type(created);
        let indexes = self
            .store
            .find(ledger.record.number, &lookup, 0..end, Direction::Forward, usize::MAX)?;
        for index in indexes {
            let made = self
                .stored_event(ledger, index)
                .and_then(|event| key_act(&event, "created"));
            let made = match made {
                Err(error) if error.code == Code::Damaged => {
                    let section = "keys".into();
                    unreadable.push(UnreadableEvent { index, section });
                    continue;
                }
                made => made?,
            };
            for act in acts
                .iter_mut()
                .filter(|act| &*act.act == "revoked" && act.key == made.key)
            {
                act.roles.clone_from(&made.roles);
            }
        }
        Ok(())
    }
}

fn count_roles(roles: impl Iterator<Item = Box<str>>) -> Vec<RoleCount> {
    let mut counts = std::collections::BTreeMap::<Box<str>, u64>::new();
    roles.for_each(|role| *counts.entry(role).or_default() += 1);
    counts
        .into_iter()
        .map(|(role, count)| RoleCount { role, count })
        .collect()
}
