"""The table of the siege, in Markdown."""

import os

from tests.bench.overload.measure import quantile
from tests.siege.attacks import Attack
from tests.siege.measure import AIM_MEMORY, AIM_SECOND_ATTACK, AIM_SECONDS, AIM_TIMES, SETTLE, Phase, Siege
from tests.siege.polite import CLIENTS, NEW_TEXTS

_COLUMNS = (
    *("attack", "workers", "p50 ms", "p99 ms", "refused", "new text p99 ms", "memory MB", "recovery s", "outcomes", "misses"),
)


def heading(seconds: float, load: float) -> str:
    """Return the conditions and the head of the table."""
    conditions = (
        f"{os.cpu_count()} processors, load {load:.1f} beforehand; attacks of {seconds:g} s.\n\n"
        f"Polite tenants send {CLIENTS} small queries a second, {NEW_TEXTS} of them with a new text; each counts from when "
        "it was due. Figures are those before, during and after an attack. Memory is that of the service with its "
        f"workers: before, at the peak, up to {SETTLE:g} s after the attack, and after a second one. Aims: p99 during the attack "
        f"at most {AIM_TIMES} times that before or {AIM_SECONDS * 1000:g} ms, nothing refused, memory at most "
        f"{AIM_MEMORY - 1:.0%} above that before, and {AIM_SECOND_ATTACK - 1:.0%} more after the second attack.\n"
    )
    return "\n".join([conditions, f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"])


def row(measured: Siege) -> str:
    """Return the row of an attack."""
    phases = (measured.before, measured.during, measured.after)
    cells = (
        measured.attack.name,
        str(measured.workers),
        _each([_milliseconds(it.p50) for it in phases]),
        _each([_milliseconds(it.p99) for it in phases]),
        _each([str(it.refused) for it in phases]),
        _each([_milliseconds(_new_text_p99(it)) for it in phases]),
        _each([f"{it / 1e6:,.0f}" for it in measured.memory]),
        f"{measured.recovery:.1f}",
        ", ".join(f"{outcome} × {count:,}" for outcome, count in sorted(measured.outcomes.items())),
        "; ".join(measured.misses()),
    )
    return f"| {' | '.join(cells)} |"


def failed_row(attack: Attack, workers: int, error: Exception) -> str:
    """Return the row of an attack that could not be measured."""
    reason = " ".join(f"{type(error).__name__} {error}".split()).replace("|", "/")
    cells = (attack.name, str(workers), *[""] * (len(_COLUMNS) - 3), f"not measured: {reason[-300:]}")
    return f"| {' | '.join(cells)} |"


def _new_text_p99(phase: Phase) -> float:
    return quantile(phase.new_texts, 99)


def _each(figures: list[str]) -> str:
    return " → ".join(figures)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"
