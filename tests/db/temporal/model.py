"""A model of time in plain Python: it sorts the accepted changes and applies them one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from db.temporal.change_log import Operation

State = dict[str, Any]


@dataclass(frozen=True)
class AcceptedChange:
    """A change that the log accepted."""

    at: datetime
    operation: Operation
    payload: State | None


@dataclass(frozen=True)
class Period:
    """A state, and the time in which it was valid; without an end if it still is."""

    valid_from: datetime
    valid_to: datetime | None
    state: State


def apply(state: State | None, change: AcceptedChange) -> State | None:
    """Return the state after a change."""
    match change.operation:
        case Operation.SET:
            return stated(state, change.payload or {})
        case Operation.STUB:
            return change.payload if state is None else state
        case Operation.PATCH:
            return None if state is None else patched(state, change.payload or {})
        case Operation.DELETE:
            return None


def stated(state: State | None, payload: State) -> State:
    """Return a whole state. That of an entity without keys leaves the keys as they are."""
    return payload if "keys" in payload or "details" not in payload else {**payload, "keys": (state or {}).get("keys", [])}


def compared_key(key: str) -> str:
    """Return the form in which a key is compared: all spellings of a UUID are the same."""
    try:
        return str(UUID(key))
    except ValueError:
        return key


def patched_keys(keys: list[str], patch: State) -> list[str]:
    """Return the keys after a patch, which replaces or removes the primary key, removes keys, and adds keys, in this order."""
    primary = [patch["primary"]] if patch.get("primary") is not None else []
    removed = {compared_key(it) for it in patch.get("remove", [])}
    others = [it for it in (keys[1:] if "primary" in patch else keys) if compared_key(it) not in removed]
    first: dict[str, str] = {}
    for key in primary + others + patch.get("add", []):
        first.setdefault(compared_key(key), key)
    return list(first.values())


def patched(state: State, payload: State) -> State:
    """Return the state with the fields of a patch; details are merged one by one, and None removes one."""
    result = {**state, **payload}
    if "details" in payload:
        merged = {**state["details"], **payload["details"]}
        result["details"] = {code: value for code, value in merged.items() if value is not None}
    if "keys" in payload:
        result["keys"] = patched_keys(state["keys"], payload["keys"])
    return result


def state_at(log: Sequence[AcceptedChange], instant: datetime) -> State | None:
    """Return the state at an instant."""
    state: State | None = None
    was_stated = False
    for change in sorted((it for it in log if it.at <= instant), key=lambda it: it.at):
        # A stub counts only if nothing else was stated before it: it does not restore a deleted subject.
        if not (was_stated and change.operation is Operation.STUB):
            state = apply(state, change)
        was_stated = was_stated or change.operation is not Operation.STUB
    return state


def fold(log: Sequence[AcceptedChange]) -> list[Period]:
    """Return the versions that a log, in order of arrival, implies."""
    periods: list[Period] = []
    state_before: State | None = None
    for instant in sorted({it.at for it in log}):
        state = state_at(log, instant)
        if state == state_before:
            continue
        if state_before is not None:
            last = periods.pop()
            periods.append(Period(last.valid_from, instant, last.state))
        if state is not None:
            periods.append(Period(instant, None, state))
        state_before = state
    return periods


def details_of(periods: Sequence[Period]) -> list[tuple[str, str, datetime, datetime | None]]:
    """Return each detail of an entity with its validity. A change of another field does not split it."""
    details: list[tuple[str, str, datetime, datetime | None]] = []
    for period in periods:
        for code, value in period.state["details"].items():
            previous = next((it for it in details if (it[0], it[1], it[3]) == (code, value, period.valid_from)), None)
            if previous is not None:
                details.remove(previous)
            details.append((code, value, previous[2] if previous else period.valid_from, period.valid_to))
    return sorted(details, key=lambda it: (it[0], it[2]))
