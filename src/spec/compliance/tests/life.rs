//! Erasures against their month, and what else has a beginning and an end.

use super::*;

pub(super) fn proceeding(id: u128, begun: &str, ended: Option<&str>) -> Proceeding {
    Proceeding {
        id: Uuid::from_u128(id),
        index: 1,
        begun_at: time(begun),
        ended_at: ended.map(time),
        state: if ended.is_some() { "released" } else { "active" }.into(),
        code: Some(HOSTILE.into()),
        by: By {
            key: "00ff".into(),
            roles: vec!["officer".into()],
        },
        counts: [("people".into(), 2)].into(),
    }
}

/// One that ended before the period, one that ended in it, one that is open, one that began after it.
pub(super) fn proceedings() -> Proceedings {
    let list = vec![
        proceeding(4, "2026-03-01T00:00:00Z", None),
        proceeding(3, "2026-02-03T00:00:00Z", None),
        proceeding(2, "2026-01-03T00:00:00Z", Some("2026-02-04T00:00:00Z")),
        proceeding(1, "2026-01-03T00:00:00Z", Some("2026-01-04T00:00:00Z")),
    ];
    Proceedings::of(list, period(), 10)
}

pub(super) fn backups() -> Backups {
    let line = |index: u64, begun: &str, expired: bool| BackupLine {
        backup: Uuid::from_u128(u128::from(index)),
        index,
        begun_at: time(begun),
        by: By {
            key: "00ff".into(),
            roles: Vec::new(),
        },
        known: Some(KnownCopy {
            state: "completed".into(),
            epoch: 3,
            keys_die_at: (!expired).then(|| time("2026-03-07T00:00:00Z")),
            expired,
        }),
    };
    let list = vec![
        line(1, "2026-01-03T00:00:00Z", true),
        line(2, "2026-01-04T00:00:00Z", false),
        line(3, "2026-02-04T00:00:00Z", true),
    ];
    Backups::of(list, period())
}

pub(super) fn rotations() -> Rotations {
    let line = |index: u64, act, from: Option<u32>, to: Option<u32>| Rotation {
        at: time("2026-02-03T00:00:00Z"),
        index,
        act,
        from,
        to,
        by: None,
    };
    let list = vec![
        line(9, RotationAct::Renewed, None, None),
        line(2, RotationAct::ChangedByErasure, Some(1), Some(2)),
        line(3, RotationAct::ChangedByErasure, Some(1), Some(2)),
        line(4, RotationAct::Changed, Some(2), Some(3)),
        line(5, RotationAct::Destroyed, Some(1), None),
    ];
    Rotations::of(list, 10)
}

#[test]
fn late_erasures_come_first_and_are_counted_apart() {
    let erasures = erasures();
    let order: Vec<_> = erasures
        .list
        .iter()
        .map(|line| (line.request.as_u128(), line.state))
        .collect();
    assert_eq!(
        order,
        [
            (3, ErasureState::Overdue),
            (2, ErasureState::CompletedLate),
            (1, ErasureState::Completed),
            (4, ErasureState::Open),
        ]
    );
    assert_eq!((erasures.total, erasures.requested, erasures.completed), (4, 2, 2));
    assert_eq!(
        (
            erasures.completed_late,
            erasures.overdue,
            erasures.open,
            erasures.late()
        ),
        (1, 1, 1, 2)
    );
    assert_eq!(erasures.list[1].seconds_late, 2 * 86_400);
    assert_eq!(erasures.list[2].seconds, 9);
    let cut = Erasures::of(erasures.list, period(), 1);
    assert_eq!((cut.list.len(), cut.omitted, cut.total, cut.open), (1, 3, 4, 1));
}

#[test]
fn what_was_open_in_the_period_is_in_the_report_as_it_stood_at_its_end() {
    let holds = proceedings();
    let ids: Vec<_> = holds.list.iter().map(|line| line.id.as_u128()).collect();
    assert_eq!(ids, [2, 3]);
    assert_eq!((holds.total, holds.begun, holds.ended, holds.open), (2, 1, 1, 1));
    let cut = Proceedings::of(holds.list, period(), 1);
    assert_eq!((cut.list.len(), cut.omitted, cut.total, cut.open), (1, 1, 2, 1));
    let backups = backups();
    let kept: Vec<_> = backups.list.iter().map(|line| line.index).collect();
    assert_eq!((kept.as_slice(), backups.begun), ([2, 3].as_slice(), 1));
    let rotations = rotations();
    assert_eq!(
        (rotations.changed, rotations.destroyed, rotations.renewed),
        (2, 1, 1),
        "two erasures shared a change"
    );
}

#[test]
fn an_erasure_that_waits_counts_against_its_month_and_one_that_was_taken_back_does_not() {
    let mut waiting = line(
        5,
        "2026-01-10T00:00:00Z",
        "2026-02-10T00:00:00Z",
        None,
        "2026-03-01T00:00:00Z",
    );
    let mut cancelled = waiting.clone();
    (cancelled.request, cancelled.cancelled_at) = (Uuid::from_u128(6), Some(time("2026-02-20T00:00:00Z")));
    cancelled.settle(time("2026-03-01T00:00:00Z"));
    waiting.settle(time("2026-03-01T00:00:00Z"));
    let erasures = Erasures::of(vec![cancelled, waiting], period(), 10);
    assert_eq!(
        (erasures.overdue, erasures.cancelled, erasures.waiting, erasures.late()),
        (1, 1, 1, 1)
    );
    assert_eq!(erasures.list[1].seconds_late, 0);
}

#[test]
fn an_end_that_had_not_come_when_the_report_was_made_is_found() {
    let mut report = report(&TestLedger::sample());
    report.made_at = time("2026-02-20T00:00:00Z");
    report.period.ended = false;
    let mut ending = |end: &str| {
        let list = vec![proceeding(2, "2026-01-03T00:00:00Z", Some(end))];
        report.holds = Proceedings::of(list, period(), 10);
        crate::spec::compliance::said::twice(&report)
            .into_iter()
            .filter(|(place, expected, stated)| *place == "holds" && expected != stated)
            .count()
    };
    assert_eq!(ending("2026-02-20T00:00:00Z"), 0);
    assert_eq!(ending("2026-02-20T00:00:01Z"), 1);
}
