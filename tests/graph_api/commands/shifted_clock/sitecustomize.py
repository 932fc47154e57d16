"""A clock that is wrong: Python imports this module at its start if this directory is on PYTHONPATH.

`time.time` and `datetime.now` differ from the clock of the machine by CLOCK_SHIFT seconds, in all modules. Monotonic clocks are
as they are.
"""

import ctypes
import gc
import os
import time
from datetime import datetime, timedelta, tzinfo

_SECONDS = int(os.environ["CLOCK_SHIFT"])

_time, _time_ns, _now, _utcnow = time.time, time.time_ns, datetime.now, datetime.utcnow


def _shifted_now(_: type[datetime], tz: tzinfo | None = None) -> datetime:
    return _now(tz) + timedelta(seconds=_SECONDS)


def _shifted_utcnow(_: type[datetime]) -> datetime:
    return _utcnow() + timedelta(seconds=_SECONDS)


time.time = lambda: _time() + _SECONDS
time.time_ns = lambda: _time_ns() + _SECONDS * 1_000_000_000
# the class is not replaced: what the driver creates has to stay an instance of it
(_methods,) = gc.get_referents(vars(datetime))
_methods.update(now=classmethod(_shifted_now), utcnow=classmethod(_shifted_utcnow))
ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))
