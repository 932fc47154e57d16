"""The meaning of time in plain Python, to hold the database against: sort what was asserted, and go through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.temporal.change_log import Operation

State = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """One accepted change."""

    at: datetime
    operation: Operation
    payload: State | None


@dataclass(frozen=True)
class Stretch:
    """A state and for how long it held."""

    valid_from: datetime
    valid_to: datetime | None
    state: State


def apply(state: State | None, said: Said) -> State | None:
    match said.operation:
        case Operation.SET:
            return said.payload
        case Operation.STUB:
            return said.payload if state is None else state
        case Operation.PATCH:
            return None if state is None else patched(state, said.payload or {})
        case Operation.DELETE:
            return None


def patched(state: State, payload: State) -> State:
    """A patch lays over a state; details merge one by one, and None takes one away."""
    laid = {**state, **payload}
    if "details" in payload:
        merged = {**state["details"], **payload["details"]}
        laid["details"] = {code: value for code, value in merged.items() if value is not None}
    return laid


def state_at(log: Sequence[Said], instant: datetime) -> State | None:
    """What holds at an instant, by going through all that was said up to it."""
    state: State | None = None
    told = False
    for said in sorted((it for it in log if it.at <= instant), key=lambda it: it.at):
        # where anything is told of a subject, that there is one tells nothing: not even when it has ended
        if not (told and said.operation is Operation.STUB):
            state = apply(state, said)
        told = told or said.operation is not Operation.STUB
    return state


def fold(log: Sequence[Said]) -> list[Stretch]:
    """The versions that a log, in the order in which it was heard, adds up to."""
    stretches: list[Stretch] = []
    instants = sorted({it.at for it in log})
    before: State | None = None
    for instant in instants:
        state = state_at(log, instant)
        if state == before:
            continue
        if before is not None:
            last = stretches.pop()
            stretches.append(Stretch(last.valid_from, instant, last.state))
        if state is not None:
            stretches.append(Stretch(instant, None, state))
        before = state
    return stretches


def details_of(stretches: Sequence[Stretch]) -> list[tuple[str, str, datetime, datetime | None]]:
    """Each detail of an entity's stretches by itself: what else changes beside it does not part it."""
    found: list[tuple[str, str, datetime, datetime | None]] = []
    for stretch in stretches:
        for code, value in stretch.state["details"].items():
            before = next((it for it in found if (it[0], it[1], it[3]) == (code, value, stretch.valid_from)), None)
            if before is not None:
                found.remove(before)
            found.append((code, value, before[2] if before else stretch.valid_from, stretch.valid_to))
    return sorted(found, key=lambda it: (it[0], it[2]))
