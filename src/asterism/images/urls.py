"""Addresses of images elsewhere: told apart from paths, and shown without what is secret in them."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from asterism.errors import InputError

WEB, STORES = ("http", "https"), ("s3", "gs", "hf")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.I)
_PLAIN = frozenset(
    ("id", "i", "n", "index", "page", "frame", "v", "version", "w", "h", "width", "height", "size", "format")
)
_KEPT = ":@!$&'()*+,;=~-._"  # letters that stand for themselves
# Parts of a query that only sign it: with others it is the same file. Whole names: `src` or `keyword` tells which file.
_SIGNING = re.compile(
    r"x-(amz|goog|oss)-.*|signature|expires|policy|key-pair-id|(aws|oss)accesskeyid|googleaccessid|auth(orization)?"
    r"|((access|auth|session|security|sas)[_-]?)?token|(api|access|subscription)[_-]?key|secret|password|credentials?",
    re.I,
)
_SAS = frozenset(  # Azure's
    ("sig", "sv", "ss", "srt", "sr", "st", "se", "sp", "si", "sip", "spr", "sdd")
    + ("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid")
)


def is_url(path: str) -> bool:
    """Whether it is an address and no path."""
    return _URL.match(path) is not None and not os.path.lexists(path)


def split(url: str) -> SplitResult:
    """An address in its parts.

    Raises
    ------
    InputError
        If it is none that is read.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises where it is no number)
    except ValueError as error:
        raise InputError(f"{shown(url)!r} is no address: {error}") from error
    if parts.scheme.lower() not in WEB + STORES or not parts.netloc:
        kinds = ", ".join(f"{one}://" for one in WEB + STORES)
        path = "; give a file of this machine as a plain path" if parts.scheme.lower() == "file" else ""
        raise InputError(f"{shown(url)!r} cannot be opened: addresses begin with {kinds}{path}")
    return parts


def shown(url: str) -> str:
    """The address as it is written and said: without user, password and query, but for what plainly tells a file."""
    if (stored := _of_store(url)) is not None:
        return stored
    try:
        parts = urlsplit(url)
        query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0].lower() in _PLAIN and len(pair[1]) <= 12])
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def _of_store(url: str) -> str | None:
    """An address of an object store without its user; ``?`` and ``#`` are letters of a name there. None for others."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in STORES:
        return None
    host, slash, inside = rest.partition("/")
    name, _, query = inside.partition("?")
    signed = any(_SIGNING.fullmatch(word) for word, _ in parse_qsl(query))
    return f"{scheme.lower()}://{host.rpartition('@')[2]}{slash}{name if signed else inside}"


def without_secrets(text: str) -> str:
    """A text whose addresses have neither user nor query."""
    return _IN_TEXT.sub(lambda found: shown(found[0]), text)


def key_of(url: str, version: str = "") -> str:
    """What an address is kept under: the same for every signature of it."""
    plain = _of_store(url) or _unsigned(url)
    return hashlib.blake2b(f"{plain}\0{version}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _unsigned(url: str) -> str:
    """An address of the web without user and signature."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    sas = _SAS if any(name == "sig" for name, _ in query) else frozenset[str]()
    told = [pair for pair in query if pair[0] not in sas and not _SIGNING.fullmatch(pair[0])]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(told), ""))


def name_of(url: str) -> str:
    """Host and path of an address, as a name."""
    if (stored := _of_store(url)) is not None:
        return stored.partition("://")[2]
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}/{unquote(parts.path).lstrip('/')}"


def ascii_url(url: str) -> str:
    """The address as it can be asked for: spaces and other letters quoted."""
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode() + (f":{parts.port}" if parts.port else "")
    host = f"[{parts.hostname}]" + (f":{parts.port}" if parts.port else "") if ":" in (parts.hostname or "") else host
    path, query = quote(parts.path, "/%" + _KEPT), quote(parts.query, "/%?" + _KEPT)
    return urlunsplit((parts.scheme, host, path, query, ""))


def check_host(host: str | None, named: frozenset[str]) -> None:
    """Refuse addresses of this machine and its neighbourhood that the user did not name; raises `PermissionError`."""
    if host is None or host in named:
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return  # asking for it will say so
    for one in found:
        if not ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_global:
            raise PermissionError(f"{host} is a private address that was not named")
