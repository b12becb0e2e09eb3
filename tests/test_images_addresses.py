"""What addresses are kept under and shown as, and whose trouble it is where a file does not come."""

import threading
import urllib.error
import weakref
from pathlib import Path

import pytest

from asterism.errors import InputError, StorageError
from asterism.images import io_errors, remote, urls


@pytest.mark.parametrize("word", ["src", "size", "sku", "key", "keyword", "author", "sig_no", "page"])
def test_a_word_of_a_query_that_tells_the_file_tells_where_it_is_kept(word):
    assert urls.key_of(f"https://h/get?{word}=1.png") != urls.key_of(f"https://h/get?{word}=2.png")


@pytest.mark.parametrize(
    "signed",
    [
        "X-Amz-Signature={0}&X-Amz-Date={0}",
        "X-Goog-Credential={0}&X-Goog-Signature={0}",
        "sv=1&sp=r&skoid={0}&se={0}&sig={0}",
        "Expires={0}&Signature={0}&Key-Pair-Id={0}&Policy={0}",
        "AWSAccessKeyId={0}&Expires={0}&Signature={0}",
        "token={0}&api_key={0}",
    ],
)
def test_a_signature_does_not(signed):
    assert (
        len({urls.key_of(f"https://h/a.png?{signed.format(i)}") for i in (1, 2)} | {urls.key_of("https://h/a.png")})
        == 1
    )


def test_names_in_stores_may_have_signs_of_the_web():
    assert urls.key_of("s3://b/a#1.png") != urls.key_of("s3://b/a#2.png")
    assert urls.key_of("gs://b/a?1.png") != urls.key_of("gs://b/a?2.png")
    assert urls.shown("s3://k:s@b/photos#1/img?.png") == "s3://b/photos#1/img?.png"
    assert urls.shown("s3://b/x?X-Amz-Signature=abc&a=1") == "s3://b/x"
    assert urls.name_of("s3://b/a%20b#1.png") == "b/a%20b#1.png"


@pytest.fixture
def near(tmp_path, monkeypatch):
    """Where files are fetched to; a fetch writes the address itself."""
    monkeypatch.setattr(remote, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(io_errors, "PAUSES", (0.0,))
    for name in ("ASTERISM_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(remote, "fetch_file", lambda url, path, _: path.write_text(url))


def test_addresses_that_a_token_alone_tells_apart_are_two_files(near):
    entries = [(f"https://h/get?token={i}", str(i), "") for i in (1, 2, 2)]
    places = remote.fetched(entries, "list", frozenset())
    assert [(name, Path(path).read_text()[-1]) for name, path in places] == [("1", "1"), ("2", "2"), ("2", "2")]


def test_of_many_addresses_some_thousands_wait_together(near, monkeypatch):
    """Those of a million took 1.6 GB."""
    waiting, real = [], remote.as_completed
    monkeypatch.setattr(remote, "WAITING", 2)
    monkeypatch.setattr(remote, "as_completed", lambda tasks: waiting.append(len(tasks)) or real(tasks))
    places = remote.fetched([(f"https://h/{i}.png", "", "") for i in range(5)], "list", frozenset())
    assert [Path(path).read_text()[-5] for _, path in places] == list("01234") and waiting == [2, 2, 1]


def test_of_files_that_do_not_come_only_the_reason_is_kept(near, monkeypatch):
    """Not what was open where the error was raised: on a list of dead addresses that were 15 kB each."""
    opened = weakref.WeakSet()

    def refuse(*_):
        opened.add(held := threading.Event())
        raise remote._Gone("it is gone", held)

    most = []
    monkeypatch.setattr(remote, "AT_ONCE", 1)
    monkeypatch.setattr(remote, "fetch_file", refuse)
    entries = [(f"https://h/{i}.png", str(i), "") for i in range(50)]
    places = remote.fetched(entries, "list", frozenset(), lambda *_: most.append(len(opened)))
    assert places[7].name == "7" and "it is gone" in places[7].reason and max(most) < 10


def test_a_full_disk_here_is_no_bad_address(near, monkeypatch):
    def fill(url, path, _):
        if "ok" in url:
            path.write_text(url)
            return
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote, "fetch_file", fill)
    with pytest.raises(StorageError, match="cannot be written to: .*No space left"):
        remote.fetched([(f"https://h/{one}", one, "") for one in ("ok1", "ok2", "no1", "no2", "no3")], "x", frozenset())
    assert remote._is_ours(urllib.error.URLError(OSError(24, "Too many open files")))
    assert not remote._is_ours(urllib.error.URLError(OSError(111, "Connection refused")))
    assert not remote._is_ours(ConnectionResetError(104, "reset"))


class Store:
    """An object store that remembers what it listed."""

    def __init__(self, objects):
        self.objects, self.known = objects, None

    _strip_protocol = staticmethod(lambda path: path.rstrip("/"))

    def invalidate_cache(self):
        self.known = None

    def find(self, inside, detail):
        if self.known is None:
            self.known = {one: {"type": "file", "size": 1} for one in self.objects if one.startswith(inside)}
        return self.known

    glob = find

    def get_file(self, inside, part):
        raise PermissionError(13, "Permission denied", part)


def test_a_store_is_listed_anew_and_what_stands_in_its_way_here_is_no_missing_file(near, monkeypatch):
    store = Store(["b/set/a.png"])
    monkeypatch.setattr(remote, "store_of", lambda url: (store, url.partition("://")[2]))
    assert [name for _, name, _ in remote.list_store("s3://b/set")] == ["a.png"]
    store.objects += ["b/set/b.png", "b/set/@eaDir/a.png"]
    assert [name for _, name, _ in remote.list_store("s3://b/set")] == ["a.png", "b.png"]


def test_a_cache_that_cannot_be_written_to_is_no_missing_file(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "store_of", lambda url: (Store([]), "b/a.png"))
    with pytest.raises(PermissionError):
        remote.fetch_file("s3://b/a.png", tmp_path / "a", frozenset())


def test_blanks_behind_an_address_of_a_list_are_none_of_it():
    assert remote.in_list("https://h/a.png  ", "https://h/list.txt") == "https://h/a.png"
    with pytest.raises(InputError):
        remote.in_list(" file:///etc/passwd ", "https://h/list.txt")


def test_a_path_of_a_machine_in_a_list_elsewhere_is_refused_alone():
    for entry, url in (("C:/photos/1.png", "https://h/list.txt"), ("/photos/1.png", "s3://b/list.txt")):
        with pytest.raises(InputError, match="cannot be opened: addresses begin with"):
            remote.in_list(entry, url)
    assert remote.in_list("/photos/1.png", "https://h/a/list.txt") == "https://h/photos/1.png"
    assert remote.in_list("a/1.png", "s3://b/c/list.txt") == "s3://b/c/a/1.png"
