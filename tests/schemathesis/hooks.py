"""What the schemas cannot say: which times there are, and which rules hold between fields."""

import datetime

import schemathesis
from hypothesis import strategies as st

# Times begin in 1970, and the last days of the year 9999 are beyond what is parsed.
DAYS = st.dates(datetime.date(1970, 1, 2), datetime.date(9999, 12, 29))
TIMES = st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(9999, 12, 29))
schemathesis.openapi.format("date", DAYS.map(lambda day: day.isoformat()))
schemathesis.openapi.format("date-time", TIMES.map(lambda time: time.isoformat() + "Z"))

# The only `invalid_field` that data may answer which fits its schema.
RULES = (
    "is none that this list gave",
    "only one of",
    "the ledger has",
    "give both `from` and `to`",
    "cannot shrink",
    "is outside a tree",
    "lies before",
    "lies after",
    "not a valid Ed25519 public key",
    "give either `subjects` or `handles`",
    "give either `subject` or `handle`",
    "this server writes no backups",
    "belongs to one of Oubliette's own events",
    "different categories",
    "different groups of recipients",
    "stands in If-Match too",
    # The generator cuts quotes off headers.
    "If-Match: must be a stream version in quotes",
    "stands twice in this request",
    "stands beside data",
    "only Oubliette itself",
    "a bundle holds",
)


@schemathesis.check
def refused_by_a_known_rule(ctx, response, case):
    """Data that fits its schema is refused with 422 for reasons that the documentation names."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code != 422:
        return
    problem = response.json()
    if problem["code"] == "personal_data_refused":
        return
    assert any(rule in problem["detail"] for rule in RULES), f"refused by no known rule: {problem['detail']}"
