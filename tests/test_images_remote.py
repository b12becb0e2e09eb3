"""Images that lie elsewhere, on real servers of this machine: a faulty one of the web, and one that speaks S3."""

import http.server
import io
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asterism import KMeans, load
from asterism.errors import InputError, MissingDataError, StorageError
from asterism.images import io_errors, open_images, remote, reopen, urls
from asterism.report.fitted import open_run


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.full((16, 16), value, np.uint8)
    pixels[:4] = 255 - value
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Web(http.server.BaseHTTPRequestHandler):
    """Files by path; of some the first answers, or all, are faulty."""

    files: dict[str, bytes]
    asked: dict[str, int]
    headers_of: dict[str, dict]

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked[path] = self.asked.get(path, 0) + 1
        self.headers_of[self.path] = dict(self.headers)
        first = self.asked[path] == 1
        if path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", {"file": "file:///etc/passwd", "ftp": "ftp://x/y", "ok": "/a/1.png",
                                          "lan": "http://10.0.0.1/x.png", "loop": "/to/loop"}[path[4:]])  # fmt: skip
            self.end_headers()
        elif ("busy" in path and first) or "down" in path:
            self.send_error(503)
        elif path not in self.files:
            self.send_error(404)
        else:
            body = self.files[path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if "silent" in path:
                time.sleep(1)
            cut = "cut" in path and first
            self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "cache_root", lambda: tmp_path / "cache")
    for name in ("ASTERISM_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(io_errors, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(remote, "SILENCE", 0.25)
    handler = type("Handler", (Web,), {"files": {}, "asked": {}, "headers_of": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.at = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()


NAMES = [f"a/{i}.png" for i in range(8)]


def listed(web, names, more=()) -> str:
    for i, name in enumerate(names):
        web.files[f"/{name}"] = png(20 * i + 30)
    web.files["/list.txt"] = "\n".join([*names, *more]).encode()
    return f"{web.at}/list.txt"


def test_a_list_on_the_web_is_fetched_once(web):
    opened = open_images(listed(web, NAMES))
    assert opened.names == [f"{i}.png" for i in range(8)]
    assert opened.origin["source"] == f"{web.at}/list.txt"
    assert open_images(f"{web.at}/list.txt").fingerprint == opened.fingerprint
    assert all(web.asked[f"/{name}"] == 1 for name in NAMES)


def test_faults_are_retried_and_what_stays_broken_is_listed(web):
    names = [*NAMES, "busy.png", "cut.png", "down.png", "silent.png"]
    url = listed(web, names, ["gone.png", "a/0.png?x=1"])
    opened = open_images(url)
    assert {"a/0.png", "busy.png", "cut.png"} < set(opened.names)
    reasons = {one.name: one.reason for one in opened.skipped}
    assert set(reasons) == {"down.png", "gone.png", "silent.png", "a/0.png?x=1"}
    assert reasons["gone.png"] == "could not be fetched: the server says 404 Not Found"
    assert "503" in reasons["down.png"] or "Service Unavailable" in reasons["down.png"]
    assert "timed out" in reasons["silent.png"]
    assert web.asked["/down.png"] == 3
    with pytest.raises(InputError, match="strict=True and image 'down.png'|'gone.png'|'silent.png'"):
        open_images(url, strict=True)
    del web.files["/a/1.png"]  # what was fetched stays; what was not is asked for again
    web.files["/gone.png"] = png(9)
    assert {"gone.png", "a/1.png"} < set(open_images(url).names)


def test_redirects_and_entries_that_lead_away_are_not_followed(web, tmp_path):
    (tmp_path / "mine.png").write_bytes(png(1))
    more = [
        "to/ok",
        "to/file",
        "to/ftp",
        "to/lan",
        "to/loop",
        f"file://{tmp_path}/mine.png",
        str(tmp_path / "mine.png"),
    ]
    more += ["http://169.254.169.254/latest/meta-data", "http://[::ffff:10.0.0.1]/a.png", "s3://secret/x.png"]
    opened = open_images(listed(web, NAMES, more))
    assert opened.names == [*NAMES, "to/ok"] or len(opened) == 9
    reasons = " | ".join(one.reason for one in opened.skipped)
    assert "Redirection to url 'file:///etc/passwd' is not allowed" in reasons
    assert "10.0.0.1 is a private address that was not named" in reasons
    assert "169.254.169.254 is a private address" in reasons
    assert "s3://secret/x.png' is not followed from a list" in reasons
    assert "addresses begin with" in reasons
    assert len(opened.skipped) == 9


def test_addresses_of_the_user_may_be_private_and_are_shown_without_secrets(web, tmp_path):
    listed(web, NAMES)
    host = web.at.removeprefix("http://")
    signed = [f"http://me:pass@{host}/{name}?X-Amz-Signature=abc&token=t0p" for name in NAMES]
    opened = open_images(signed)
    text = json.dumps([opened.origin, opened.names])
    assert not any(secret in text for secret in ("pass", "abc", "t0p", "me:"))
    sent = web.headers_of["/a/0.png?X-Amz-Signature=abc&token=t0p"]
    assert sent["Authorization"].startswith("Basic ")
    web.files.clear()
    assert reopen(opened.origin).fingerprint == opened.fingerprint  # from what was fetched
    (tmp_path / "mine.txt").write_text("\n".join([*signed, "near.png"]))
    (tmp_path / "near.png").write_bytes(png(3))
    web.files.update({f"/{name}": png(5) for name in NAMES})
    assert len(open_images(tmp_path / "mine.txt")) == 9
    with pytest.raises(MissingDataError) as caught:
        open_images([f"http://me:pass@{host}/none.png?token=t0p"])
    assert "pass" not in str(caught.value)
    assert "t0p" not in str(caught.value)


def test_addresses_and_paths_keep_the_order_in_which_they_stand(web, tmp_path):
    listed(web, NAMES)
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(png(7))
    mixed = [
        str(tmp_path / "x.png"),
        f"{web.at}/a/1.png",
        "ftp://host/a.png",
        str(tmp_path / "y.png"),
        f"{web.at}/a/0.png",
    ]
    opened = open_images(mixed)
    assert opened.names == ["x.png", "1.png", "y.png", "0.png"]  # labels go by this order
    assert [one.name for one in opened.skipped] == ["ftp://host/a.png"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h.org/a b.txt?sig=1&id=7", "https://h.org/a b.txt?id=7"),
        ("s3://k:s@bucket/x", "s3://bucket/x"),
        ("https://h/x?X-Amz-Credential=AK&page=2#f", "https://h/x?page=2"),
        ("https://u:p@[bad", "https://[bad"),
    ],
)
def test_what_is_shown_of_an_address(text, shown):
    assert urls.shown(text).replace("p@", "") in (shown, shown.replace("https://[bad", "[bad"))


def test_the_network_that_is_broken_ends_it_soon_and_a_second_try_goes_on(web, monkeypatch):
    url = listed(web, NAMES)
    open_images(url)
    dead = [f"http://127.0.0.1:9/{i}.png" for i in range(400)]
    began = time.monotonic()
    with pytest.raises(StorageError, match="cannot be reached: .*what was fetched stays"):
        open_images(dead)
    assert time.monotonic() - began < 5
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    assert len(open_images(url)) == 8
    with pytest.raises(StorageError, match="ASTERISM_OFFLINE is set"):
        open_images([f"{web.at}/new.png"])


def test_archives_and_arrays_on_the_web(web, tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for i in range(4):
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(png(i))
            archive.addfile(info, io.BytesIO(png(i)))
    np.savez(tmp_path / "x.npz", images=np.zeros((3, 8, 8), np.uint8))
    np.save(tmp_path / "x.npy", np.zeros((5, 8, 8), np.uint8))
    for ending, n in (("tar", 4), ("npz", 3), ("npy", 5)):
        web.files[f"/x.{ending}"] = (tmp_path / f"x.{ending}").read_bytes()
        opened = open_images(f"{web.at}/x.{ending}?token=t0p")
        assert len(opened) == n
        assert opened.origin["source"] == f"{web.at}/x.{ending}"
        assert len(reopen(opened.origin)) == n


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://h.org/page", "give a list of addresses"),
        ("ftp://h.org/a.txt", "addresses begin with"),
        ("file:///etc/passwd", "give a file of this machine as a plain path"),
        ("https://h:99999999/a.txt", "no address|cannot be opened"),
        ("s3:///a", "cannot be opened"),
    ],
)
def test_addresses_that_are_not_read(web, url, words):
    with pytest.raises(InputError, match=words):
        open_images(url)


def test_a_run_on_addresses_reports_and_predicts(web, tmp_path):
    url = listed(web, NAMES).replace("http://", "http://me:pass@")
    fitted = KMeans(2, random_state=0, run_dir=tmp_path / "run").fit(url)
    assert load(tmp_path / "run").predict(url).tolist() == fitted.labels_.tolist()
    assert not any(b"me:pass" in file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file())
    web.files.clear()
    with pytest.warns(UserWarning, match="what was fetched before is taken"):
        assert open_run(tmp_path / "run").images().fingerprint


# --- object stores ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("s3fs", reason="the extra remote is not installed")
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    wanted = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "s3cr3t",
              "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    for i in range(6):
        client.put_object(Bucket="photos", Key=f"set/{'ab'[i % 2]}/{i}.png", Body=png(30 * i))
    client.put_object(Bucket="photos", Key="set/notes.txt", Body=b"words")
    yield client
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_a_bucket_is_as_a_folder(s3, web, tmp_path):
    opened = open_images("s3://photos/set")
    assert sorted(opened.names) == ["a/0.png", "a/2.png", "a/4.png", "b/1.png", "b/3.png", "b/5.png"]
    assert opened.origin["source"] == "s3://photos/set"
    assert len(open_images("s3://photos/set/*/*.png")) == 6
    fitted = KMeans(2, random_state=0, run_dir=tmp_path / "run").fit("s3://photos/set")
    assert load(tmp_path / "run").predict("s3://photos/set/a").shape == (3,)
    assert not any(b"s3cr3t" in file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file())
    s3.put_object(Bucket="photos", Key="set/a/0.png", Body=png(77))  # a new version is fetched anew
    assert open_images("s3://photos/set").fingerprint != opened.fingerprint
    assert len(fitted.labels_) == 6
    with pytest.raises(MissingDataError, match="no file at s3://photos/none|cannot be listed"):
        open_images("s3://photos/none")
    with pytest.raises(MissingDataError):
        open_images("s3://nobucket/x")


def test_a_kill_keeps_what_was_fetched(s3, web, monkeypatch):
    fetch, n = remote.fetch_file, []

    def killed(url, path, named):
        if len(n) == 3:
            raise KeyboardInterrupt
        n.append(url)
        fetch(url, path, named)

    monkeypatch.setattr(remote, "AT_ONCE", 1)
    monkeypatch.setattr(remote, "fetch_file", killed)
    with pytest.raises(KeyboardInterrupt):
        open_images("s3://photos/set/")
    monkeypatch.setattr(remote, "fetch_file", lambda *given: n.append(given[0]) or fetch(*given))
    assert len(open_images("s3://photos/set/")) == 6
    assert len(n) == len(set(n)) == 7  # with the notes


def test_a_store_without_its_package_names_the_extra(web, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"pip install 'asterism-clustering\[remote\]'"):
        open_images("gs://bucket/photos")


def test_hugging_face_by_its_file_system(web, monkeypatch, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="the extra remote is not installed")
    there = tmp_path / "there"
    there.mkdir()
    for i in range(3):
        (there / f"{i}.png").write_bytes(png(i))
    files = fsspec.filesystem("dir", path=str(there), target_protocol="file")
    inside = lambda url: url.removeprefix("hf://").removeprefix("datasets/me/set").lstrip("/")  # noqa: E731
    monkeypatch.setattr(remote, "store_of", lambda url: (files, inside(url)))
    assert [Path(one).name for one in open_images("hf://datasets/me/set").names] == ["0.png", "1.png", "2.png"]
