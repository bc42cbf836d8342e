"""hf:// addresses against a server on localhost that speaks the hub's protocol."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from test_bad_weights import pretrained

from jaxvit.errors import UserError
from jaxvit.interop.hub import check_content
from jaxvit.interop.hub import fetch as fetch_here
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained

pytest.importorskip("huggingface_hub")
COMMIT = "a" * 40
REPOSITORY = "owner/name"


class Hub(http.server.BaseHTTPRequestHandler):
    """HEAD and GET of /owner/name/resolve/REVISION/FILE, with ranges.

    Class attributes (set by the fixture): files by name; log of (method, file, range); cut, the
    number of bytes after which a connection is closed, once; lie, whether other bytes are sent than
    the ETag announces.
    """

    files: dict[str, bytes]
    log: list[tuple[str, str, str | None]]
    cut: int | None = None
    lie = False

    def log_message(self, *args):
        pass

    def answer(self, body: bool) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        repository, file = "/".join(parts[:2]), "/".join(parts[4:])
        wanted = self.headers.get("Range")
        self.log.append((self.command, file, wanted))
        known = (REPOSITORY, "resolve"), ("main", COMMIT, "v1")
        if parts[2:3] != ["resolve"]:
            return self.refuse("")
        if repository != known[0][0]:
            return self.refuse("RepoNotFound")
        if parts[3] not in known[1]:
            return self.refuse("RevisionNotFound")
        if file not in self.files:
            return self.refuse("EntryNotFound")
        data = self.files[file]
        etag = hashlib.sha256(data).hexdigest()
        start = int(wanted.removeprefix("bytes=").partition("-")[0] or 0) if wanted else 0
        sent = bytes(len(data)) if self.lie and file.endswith("safetensors") else data
        sent = sent[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(sent)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not body:
            return None
        cut, Hub.cut = Hub.cut if file.endswith("safetensors") else None, None
        self.wfile.write(sent[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
        return None

    def refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        if code == "EntryNotFound":
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)


@pytest.fixture
def hub(tmp_path):
    """A running server with a model in timm's form; its address is in `url`."""
    save_pretrained(pretrained(), tmp_path / "saved", "timm")
    Hub.files = {each.name: each.read_bytes() for each in (tmp_path / "saved").iterdir()}
    Hub.files["README.md"] = b"x"
    Hub.log, Hub.cut, Hub.lie = [], None, False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Hub.url = f"http://127.0.0.1:{server.server_port}"
    yield Hub
    server.shutdown()
    server.server_close()


def fetch(address: str, cache: Path, url: str, **environment: str) -> tuple[bool, str]:
    """In a process of its own, because huggingface_hub reads its variables when it is imported."""
    script = (
        "import sys\nfrom jaxvit.interop.hub import fetch\nfrom jaxvit.errors import UserError\n"
        "try:\n    print(fetch(sys.argv[1]))\n"
        "except UserError as error:\n    print(error)\n    sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, address],
        capture_output=True, text=True, timeout=120,
        env=os.environ
        | {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1",
           "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", "no_proxy": "*"}
        | environment,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr[-2000:]
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1, done.stdout
    return done.returncode == 0, lines[0]


def test_weights_are_fetched_with_their_configuration_then_come_from_the_cache(hub, tmp_path):
    ok, path = fetch(f"hf://{REPOSITORY}", tmp_path / "cache", hub.url)
    assert ok
    found = Path(path)
    assert found.read_bytes() == hub.files["model.safetensors"]
    assert json.loads((found.parent / "config.json").read_text())["num_classes"] == 5
    assert not (found.parent / "README.md").exists()
    assert "preprocessor_config.json" in {file for _, file, _ in hub.log}
    # Offline, and with a server that is gone: the cache is used.
    hub.log.clear()
    assert fetch(f"hf://{REPOSITORY}", tmp_path / "cache", hub.url, HF_HUB_OFFLINE="1") == (
        ok,
        path,
    )
    assert not hub.log
    gone = "http://127.0.0.1:9"
    assert fetch(f"hf://{REPOSITORY}", tmp_path / "cache", gone) == (ok, path)
    # And nothing is downloaded twice.
    hub.log.clear()
    assert fetch(f"hf://{REPOSITORY}", tmp_path / "cache", hub.url) == (ok, path)
    assert not [file for method, file, _ in hub.log if method == "GET" and "safetensors" in file]


def test_a_file_and_a_revision_can_be_named(hub, tmp_path):
    hub.files["deep/x.npz"] = b"npz"
    hub.files["deep/x.npz.json"] = b"{}"
    ok, path = fetch(f"hf://{REPOSITORY}/deep/x.npz@v1", tmp_path / "cache", hub.url)
    assert ok
    assert Path(path).read_bytes() == b"npz"
    assert Path(path + ".json").read_text() == "{}"


def test_what_was_interrupted_is_resumed(hub, tmp_path):
    chunk = 10 * 1024 * 1024  # what huggingface_hub writes at once
    hub.files["big.safetensors"] = os.urandom(chunk + 5000)
    hub.cut = chunk + 1000
    ok, path = fetch(f"hf://{REPOSITORY}/big.safetensors", tmp_path / "cache", hub.url)
    assert ok
    assert Path(path).read_bytes() == hub.files["big.safetensors"]
    ranges = [wanted for method, file, wanted in hub.log if method == "GET" and wanted]
    assert ranges == [f"bytes={chunk}-"]


def test_other_bytes_than_the_server_announced_are_noticed(hub, tmp_path):
    hub.lie = True
    ok, message = fetch(f"hf://{REPOSITORY}", tmp_path / "cache", hub.url)
    assert not ok
    assert "SHA-256" in message
    assert "try again" in message


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("hf://owner", "is no address of weights: write hf://OWNER/NAME"),
        ("hf://owner/other", "does not exist or is private"),
        (f"hf://{REPOSITORY}/x.safetensors", "has no file x.safetensors"),
        (f"hf://{REPOSITORY}@v9", "has no revision v9"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(hub, tmp_path, address, part):
    ok, message = fetch(address, tmp_path / "cache", hub.url)
    assert not ok
    assert part in message


def test_a_repository_of_torchs_own_format_says_how_to_convert(hub, tmp_path):
    hub.files = {"pytorch_model.bin": b"x"}
    ok, message = fetch(f"hf://{REPOSITORY}", tmp_path / "cache", hub.url)
    assert not ok
    assert "python -m torch_ref.convert" in message


def test_a_server_that_cannot_be_reached(tmp_path):
    ok, message = fetch("hf://owner/name", tmp_path / "cache", "http://127.0.0.1:9")
    assert not ok
    wanted = "cannot be reached and its model.safetensors is not in the cache (http://127.0.0.1:9"
    assert wanted in message
    ok, message = fetch(
        "hf://owner/name", tmp_path / "cache", "http://127.0.0.1:9", HF_HUB_OFFLINE="1"
    )
    assert not ok
    assert "not in the cache" in message


def test_timms_repositories_need_no_other_configuration(hub, tmp_path):
    """So that a whole one, downloaded before, serves without a network."""
    hub.files["config.json"] = b'{"architecture": "vit", "pretrained_cfg": {"mean": [0.5]}}'
    cache = tmp_path / "cache"
    _, path = fetch(f"hf://{REPOSITORY}", cache, hub.url)
    for unknown in cache.rglob(".no_exist"):  # as after a download of what there is
        shutil.rmtree(unknown)
    (Path(path).parent / "preprocessor_config.json").unlink(missing_ok=True)
    assert fetch(f"hf://{REPOSITORY}", cache, hub.url, HF_HUB_OFFLINE="1") == (True, path)


def test_configuration_that_cannot_be_asked_for_is_an_error(hub, tmp_path):
    """Without it the model would be built of the layout's habits, in silence."""
    cache = tmp_path / "cache"
    _, path = fetch(f"hf://{REPOSITORY}", cache, hub.url)
    (Path(path).parent / "config.json").unlink()
    for url, environment in (
        (hub.url, {"HF_HUB_OFFLINE": "1"}),
        ("http://127.0.0.1:9", {}),
    ):
        ok, message = fetch(f"hf://{REPOSITORY}", cache, url, **environment)
        assert not ok
        assert "cannot be reached and its config.json is not in the cache" in message
        assert f"or give {path}, which is read" in message
    assert fetch(f"hf://{REPOSITORY}", cache, hub.url) == (True, path)
    # That it does not exist is cached too.
    del hub.files["config.json"]
    assert fetch(f"hf://{REPOSITORY}", tmp_path / "none", hub.url)[0]
    assert fetch(f"hf://{REPOSITORY}", tmp_path / "none", hub.url, HF_HUB_OFFLINE="1")[0]


def test_a_file_of_a_repository_has_its_configuration_whatever_else_is_cached(
    tmp_path, monkeypatch
):
    save_pretrained(pretrained(), tmp_path, "timm")
    other = tmp_path / "other.safetensors"
    save_file(load_file(tmp_path / "model.safetensors"), other)
    monkeypatch.setattr("jaxvit.interop.load.fetch", lambda address: other)
    beside = load_pretrained(f"hf://{REPOSITORY}/other.safetensors")
    (tmp_path / "model.safetensors").unlink()
    alone = load_pretrained(f"hf://{REPOSITORY}/other.safetensors")
    assert beside.model_config == alone.model_config
    assert beside.model_config.num_heads == 3
    assert beside.report == alone.report


def test_a_cached_file_is_compared_with_the_hash_in_its_name(tmp_path):
    good = tmp_path / hashlib.sha256(b"weights").hexdigest()
    good.write_bytes(b"weights")
    link = tmp_path / "model.safetensors"
    link.symlink_to(good)
    check_content(link, "hf://owner/name")
    good.write_bytes(b"others")
    with pytest.raises(UserError, match="SHA-256"):
        check_content(link, "hf://owner/name")


def test_configuration_is_fetched_from_the_commit_of_the_weights(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository, file, revision=None, local_files_only=False):
        asked.append((file, revision))
        path = tmp_path / "snapshots" / COMMIT / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return str(path)

    monkeypatch.setattr("jaxvit.interop.hub._reachable", lambda endpoint: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    assert fetch_here("hf://owner/name@v1").name == "model.safetensors"
    assert asked == [
        ("model.safetensors", "v1"),
        ("config.json", COMMIT),
        ("preprocessor_config.json", COMMIT),
    ]
