"""Formats of detail values, and their validation.

Imports validate hundreds of thousands of values. So one regular expression accepts a valid value, and the reason is sought only
for an invalid one. Each expression can match a value in at most one way, so that no crafted value makes it backtrack.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from ipaddress import AddressValueError, IPv6Address

FORMATS: tuple[str, ...] = ("email", "phone", "uri", "date", "number", "text")

# A value has to fit into an index entry.
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
    """Build the expression for any number of these characters, of the characters without a meaning in a URI, and of escapes."""
    plain = rf"[A-Za-z0-9._~!$&'()*+,;=\-{characters}]*"
    return rf"{plain}(?:%[0-9A-Fa-f]{{2}}{plain})*"


# https://www.rfc-editor.org/rfc/rfc3986#appendix-A, but not empty after the scheme
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?!(?://)?\Z)"
    rf"(?://(?:{_uri_part(':')}@)?(?:\[(?:([0-9A-Fa-f:.]+)|[Vv][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]|{_uri_part('')})"
    rf"(?::[0-9]*)?(?:/{_uri_part(':@/')})?"
    rf"|(?!//){_uri_part(':@/')})(?:\?{_uri_part(':@/?')})?(?:#{_uri_part(':@/?')})?",
    re.ASCII,
)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

# https://www.rfc-editor.org/rfc/rfc8259#section-6. A longer exponent exceeds the range of a double, except that of a zero, which
# PostgreSQL cannot read as numeric.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[Ee][+-]?0*[0-9]{1,4})?", re.ASCII)

# Most valid text: it begins with a visible character, and has neither control characters nor surrogates.
_PLAIN_TEXT = re.compile(r"[!-~\w][\t\n\r -~\u00a0-\ud7ff\ue000-\U0010ffff]*(?<!\s)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _is_email(value: str) -> bool:
    return len(value) <= EMAIL_LENGTH and _EMAIL.fullmatch(value) is not None


def _is_phone(value: str) -> bool:
    match = _PHONE.fullmatch(value)
    return match is not None and 3 <= len(_NO_DIGITS.sub("", match[1])) <= 15


def _is_uri(value: str) -> bool:
    match = _URI.fullmatch(value)
    if match is None or match[1] is None:
        return match is not None
    try:
        IPv6Address(match[1])
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
    # PostgreSQL rejects a number that underflows to zero as well as one that overflows to infinity
    return math.isfinite(number) and (number != 0 or not re.search("[1-9]", re.split("[Ee]", value)[0]))


def _is_plain_text(value: str) -> bool:
    """Return true if text is certainly valid. Text that is not plain may be valid, too."""
    return (value.isascii() or len(value.encode(errors="replace")) <= VALUE_BYTES) and _PLAIN_TEXT.fullmatch(value) is not None


_VALIDATORS: dict[str | None, Callable[[str], bool]] = {
    "email": _is_email,
    "phone": _is_phone,
    "uri": _is_uri,
    "date": _is_date,
    "number": _is_number,
    "text": _is_plain_text,
    None: _is_plain_text,
}
# The end of a sentence that begins with the value.
_ERRORS: dict[str | None, str] = {
    "email": f"is not an email address. Give one such as ann@shop.example, of at most {EMAIL_LENGTH} characters.",
    "phone": (
        "is not a phone number. Give one such as +49 30 1234-567 or (030) 1234567 ext. 12, with 3 to 15 digits before the"
        " extension."
    ),
    "uri": (
        "is not an absolute URI. Give one such as https://shop.example/orders?id=1 or urn:isbn:0451450523, with characters"
        " outside of"
        " ASCII as % escapes."
    ),
    "date": "is not a date of the calendar. Give one such as 2026-03-01.",
    "number": (
        f"is not a number. Give one such as 1250 or -3.5e2, of at most {NUMBER_LENGTH} characters and within the range"
        f" of a double."
    ),
}


def format_error(format_: str | None, value: str) -> str | None:
    """Return the end of a sentence that says why a value does not have a format, or None if it does. No format is any text."""
    if len(value) <= VALUE_BYTES and _VALIDATORS[format_](value):
        return None
    control = _CONTROL if format_ in _ERRORS else _CONTROL_IN_TEXT
    return _text_error(value, control) or _ERRORS.get(format_)


def _text_error(value: str, control: re.Pattern[str]) -> str | None:
    """Return the end of a sentence that says why a value is not valid in any format, or None."""
    if "\0" in value:
        return "contains a NUL character, which cannot be stored. Remove it."
    if _SURROGATE.search(value):
        return "contains half of a surrogate pair, which is not a character. Remove it."
    if not any(unicodedata.category(character)[0] in "LNPS" for character in value):
        return "is empty. Give it at least one visible character."
    if value != value.strip():
        return "has spaces around it. Remove them."
    if control.search(value):
        return "contains a control character. Remove it."
    if len(value.encode()) > VALUE_BYTES:
        return f"takes more than {VALUE_BYTES} bytes. Shorten it."
    return None
