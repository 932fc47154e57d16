"""The formats that a type of detail may ask of its values. Imports check values by the hundred thousand, so what fits is told by
one expression, and what is wrong is looked for only where something is.

An expression reads a value in one way or in none, so that none is slow on a value made to be.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from ipaddress import AddressValueError, IPv6Address

FORMATS: tuple[str, ...] = ("email", "phone", "uri", "date", "number", "text")

# An index holds a value.
VALUE_BYTES = 2_000
EMAIL_LENGTH = 254
NUMBER_LENGTH = 100

# https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})*", re.ASCII)

_DIGITS = r"(?:[0-9]|\([0-9][0-9 ./-]*\))"
_PHONE = re.compile(
    rf"((?:\+ ?|\(\+[0-9]{{1,4}}\) ?)?{_DIGITS}(?:[ ./-]{{0,3}}{_DIGITS})*)(?:,? ?(?:[Xx]|[Ee]xt\.?) ?[0-9]{{1,10}})?",
    re.ASCII,
)
_NO_DIGITS = re.compile(r"[^0-9]+", re.ASCII)


def _uri_part(characters: str) -> str:
    """Any number of these characters, of those that mean nothing in a URI, and of escapes."""
    plain = rf"[A-Za-z0-9._~!$&'()*+,;=\-{characters}]*"
    return rf"{plain}(?:%[0-9A-Fa-f]{{2}}{plain})*"


# https://www.rfc-editor.org/rfc/rfc3986#appendix-A, with something behind the scheme
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?!(?://)?\Z)"
    rf"(?://(?:{_uri_part(':')}@)?(?:\[(?:([0-9A-Fa-f:.]+)|[Vv][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]|{_uri_part('')})"
    rf"(?::[0-9]*)?(?:/{_uri_part(':@/')})?"
    rf"|(?!//){_uri_part(':@/')})(?:\?{_uri_part(':@/?')})?(?:#{_uri_part(':@/?')})?",
    re.ASCII,
)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

# https://www.rfc-editor.org/rfc/rfc8259#section-6. A longer exponent leads out of a double's range; only that of a zero does not,
# which PostgreSQL cannot read as numeric.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[Ee][+-]?0*[0-9]{1,4})?", re.ASCII)

# What most text is like: it begins with something that can be seen, and holds neither controls nor halves of surrogate pairs.
_PLAIN_TEXT = re.compile(r"[!-~\w][\t\n\r -~\u00a0-\ud7ff\ue000-\U0010ffff]*(?<!\s)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _is_email(value: str) -> bool:
    return len(value) <= EMAIL_LENGTH and _EMAIL.fullmatch(value) is not None


def _is_phone(value: str) -> bool:
    found = _PHONE.fullmatch(value)
    return found is not None and 3 <= len(_NO_DIGITS.sub("", found[1])) <= 15


def _is_uri(value: str) -> bool:
    found = _URI.fullmatch(value)
    if found is None or found[1] is None:
        return found is not None
    try:
        IPv6Address(found[1])
    except AddressValueError:
        return False
    return True


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_number(value: str) -> bool:
    if len(value) > NUMBER_LENGTH or not _NUMBER.fullmatch(value):
        return False
    number = float(value)
    # PostgreSQL refuses what would become zero as it refuses what would become infinite
    return math.isfinite(number) and (number != 0 or not re.search("[1-9]", re.split("[Ee]", value)[0]))


def _is_plain_text(value: str) -> bool:
    """Whether text needs no closer look. If not, it may be text all the same."""
    return (value.isascii() or len(value.encode(errors="replace")) <= VALUE_BYTES) and _PLAIN_TEXT.fullmatch(value) is not None


_FITS: dict[str | None, Callable[[str], bool]] = {
    "email": _is_email,
    "phone": _is_phone,
    "uri": _is_uri,
    "date": _is_date,
    "number": _is_number,
    "text": _is_plain_text,
    None: _is_plain_text,
}
_FAULTS: dict[str | None, str] = {
    "email": f"is no email address such as ann@shop.example, of at most {EMAIL_LENGTH} characters.",
    "phone": "is no phone number such as +49 30 1234-567 or (030) 1234567 ext. 12, with 3 to 15 digits before the extension.",
    "uri": "is no absolute URI such as https://shop.example/orders?id=1 or urn:isbn:0451450523, in ASCII with % for the rest.",
    "date": "is no date such as 2026-03-01 that the calendar has.",
    "number": f"is no number such as 1250 or -3.5e2, of at most {NUMBER_LENGTH} characters and within the range of a double.",
}


def format_error(format_: str | None, value: str) -> str | None:
    """What is wrong with a value, as the end of a sentence; None: nothing. No format is like text."""
    if len(value) <= VALUE_BYTES and _FITS[format_](value):
        return None
    return _fault_of_any(value, _CONTROL if format_ in _FAULTS else _CONTROL_IN_TEXT) or _FAULTS.get(format_)


def _fault_of_any(value: str, control: re.Pattern[str]) -> str | None:
    """What is wrong with a value in whatever format."""
    if "\0" in value:
        return "holds a NUL character, which cannot be stored."
    if _SURROGATE.search(value):
        return "holds half of a surrogate pair, which is no character."
    if not any(unicodedata.category(character)[0] in "LNPS" for character in value):
        return "is empty. Give it at least one character that can be seen."
    if value != value.strip():
        return "has spaces around it."
    if control.search(value):
        return "holds a control character."
    if len(value.encode()) > VALUE_BYTES:
        return f"takes more than {VALUE_BYTES} bytes."
    return None
