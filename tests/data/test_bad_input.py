"""Unusual and damaged images: each is read, or stops the run, or is left out."""

import json
import os
import subprocess
import sys
import threading
import time
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train_jax
from jaxvit.command_line import parse
from jaxvit.config import DataConfig
from jaxvit.data import images
from jaxvit.data.datasets import find_source, load_dataset
from jaxvit.data.folder import load_folder
from jaxvit.data.images import PixelBudget, decode_image
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.paths import user_path

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 20, 3), np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sixteen_bits() -> bytes:
    return encoded(Image.fromarray(COLOURS[:, :, 0].astype(np.uint16) * 256 + 77))


def rotated_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be shown rotated by 90 degrees
    return encoded(Image.fromarray(COLOURS), "JPEG", quality=95, exif=exif)


def palette() -> bytes:
    return encoded(Image.fromarray(COLOURS).quantize(16), transparency=bytes(range(16)))


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def png_header(width: int, height: int) -> bytes:
    """A PNG without pixels that claims this size; it is refused before memory is allocated."""
    chunks = b"\x89PNG\r\n\x1a\n"
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    for kind, data in ((b"IHDR", size + b"\x08\x02\0\0\0"), (b"IDAT", b"")):
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        chunks += len(data).to_bytes(4, "big") + kind + data + crc
    return chunks


PHOTO = encoded(Image.fromarray(COLOURS), "JPEG")

# Images that are read: the bytes, and their RGB pixels before resizing.
READ = {
    "cmyk.jpg": (
        encoded(Image.fromarray(COLOURS).convert("CMYK"), "JPEG"),
        lambda data: Image.open(BytesIO(data)).convert("RGB"),
    ),
    "sixteen-bits.png": (sixteen_bits(), lambda _: Image.fromarray(COLOURS[:, :, 0])),
    "palette.png": (palette(), lambda _: Image.fromarray(COLOURS).quantize(16)),
    "grey-and-alpha.png": (
        encoded(Image.fromarray(COLOURS[:, :, :2], "LA")),
        lambda _: Image.fromarray(COLOURS[:, :, 0]),
    ),
    "animated.png": (animated("PNG"), lambda _: Image.new("RGB", (8, 8), "red")),
    "gif-named.jpg": (animated("GIF"), lambda _: Image.new("RGB", (8, 8), "red")),
    "rotated-by-exif.jpg": (rotated_by_exif(), lambda data: Image.open(BytesIO(data))),
    "one-pixel.png": (
        encoded(Image.new("RGB", (1, 1), (10, 20, 30))),
        lambda _: Image.new("RGB", (1, 1), (10, 20, 30)),
    ),
    "png-named.jpg": (encoded(Image.fromarray(COLOURS)), lambda _: Image.fromarray(COLOURS)),
    "20000-wide.png": (
        encoded(Image.new("RGB", (20_000, 40), (1, 2, 3))),
        lambda _: Image.new("RGB", (20_000, 40), (1, 2, 3)),
    ),
}
# Images that are not: the bytes, and a part of the message.
UNREADABLE = {
    "empty.jpg": (b"", "cannot be read as an image (not JPEG"),
    "truncated.jpg": (PHOTO[: len(PHOTO) // 2], "truncated"),
    "truncated.png": (encoded(Image.fromarray(COLOURS))[:300], "cannot be read as an image"),
    "text.jpg": (b"<html>404</html>", "cannot be read as an image (not JPEG"),
    "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "(not JPEG, PNG"),
    "tiff-named.png": (encoded(Image.fromarray(COLOURS), "TIFF"), "(not JPEG, PNG"),
    "20000-square.png": (png_header(20_000, 20_000), "has more than 178,956,970 pixels"),
}


@pytest.mark.parametrize("name", READ)
def test_an_unusual_image_is_read_as_its_rgb_pixels(name):
    data, rgb = READ[name]
    found = decode_image(data, Geometry(10), name)
    expected = rgb(data).convert("RGB").resize((10, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_image_is_refused_in_one_line_that_names_it(name):
    data, message = UNREADABLE[name]
    with pytest.raises(UnreadableImage) as error:
        decode_image(data, Geometry(10), name)
    assert str(error.value).startswith(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def make_folder(root: Path, classes=("ant", "bee"), size: int = 12) -> Path:
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(size):
            Image.fromarray(np.roll(COLOURS, number)).save(root / name / f"{number:02d}.png")
    return root


def load(root: Path, on_error: str):
    cache = str(root.parent / "cache")
    config = DataConfig(name="folder", dir=str(root), cache_dir=cache, on_error=on_error)
    return load_dataset(config, 8, 3)


@pytest.mark.filterwarnings("error")  # Pillow's warnings are suppressed
def test_every_bad_file_of_a_folder_is_left_out_and_counted_or_stops_the_run(tmp_path):
    root = make_folder(tmp_path / "images")
    for name, (data, _) in (READ | UNREADABLE).items():
        (root / "ant" / name).write_bytes(data)
    with pytest.raises(UserError, match=r"/ant/.* --data.on-error skip$"):
        load(root, "stop")
    for _ in range(2):  # the second time from the cache
        data = load(root, "skip")
        assert len(data.skipped) == len(UNREADABLE)
        names = {name for split in (data.train, data.val, data.test) for name in split.names}
        assert names == {f"{c}/{n:02d}.png" for c in ("ant", "bee") for n in range(12)} | {
            f"ant/{name}" for name in READ
        }
        for split in (data.train, data.val, data.test):
            batch = split.take(np.arange(len(split)))
            assert batch["image"].any(axis=(1, 2, 3)).all()  # none is an unreadable one's
    with pytest.raises(UserError, match=r"/ant/.* --data.on-error skip$"):
        load(root, "stop")  # the cache records the skipped images


def test_a_class_or_a_split_that_skipping_leaves_empty_is_refused(tmp_path):
    root = make_folder(tmp_path / "images")
    for path in (root / "bee").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no training image of class 'bee' can be read; the"):
        load(root, "skip")
    other = tmp_path / "splits"
    make_folder(other / "train")
    make_folder(other / "test", size=1)
    for path in (other / "test").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no image of the test split can be read; the first"):
        load(other, "skip")


def test_a_split_without_examples_and_a_class_without_images_are_refused(tmp_path):
    root = make_folder(tmp_path / "images")
    for path in (root / "bee").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="bee has no image"):
        load(root, "skip")
    other = make_folder(tmp_path / "splits" / "train").parent
    (other / "val" / "ant").mkdir(parents=True)
    with pytest.raises(UserError, match="the val split has no images"):
        load(other, "skip")


def test_a_listed_file_that_is_missing_is_left_out_when_asked(tmp_path):
    root = make_folder(tmp_path / "images")
    missing = root / "ant" / "link.jpg"
    missing.symlink_to("nowhere.jpg")
    pets = tmp_path / "pets"
    (pets / "images").mkdir(parents=True)
    (pets / "annotations").mkdir()
    for split, count in (("trainval", 8), ("test", 2)):
        lines = []
        for breed in (1, 2):
            for number in range(count):
                name = f"{split}_breed{breed}_{number}"
                Image.fromarray(COLOURS).save(pets / "images" / f"{name}.jpg")
                lines.append(f"{name} {breed} 1 1")
        (pets / "annotations" / f"{split}.txt").write_text("\n".join(lines))
    (pets / "images" / "trainval_breed2_3.jpg").unlink()
    config = DataConfig(
        name="oxford_iiit_pet", dir=str(pets), cache_dir=str(tmp_path / "c"), on_error="skip"
    )
    data = load_dataset(config, 8, 3)
    assert len(data.train) + len(data.val) == 15
    assert "trainval_breed2_3.jpg is listed but cannot be read" in data.skipped[0]


def test_links_are_followed_and_a_pipe_does_not_block(tmp_path):
    root = make_folder(tmp_path / "images")
    elsewhere = make_folder(tmp_path / "elsewhere", classes=("more",), size=3)
    (root / "ant" / "link").symlink_to(elsewhere / "more")
    (root / "ant" / "circle").symlink_to(root / "ant")
    (root / "bee" / "nowhere.jpg").symlink_to("gone.jpg")
    os.mkfifo(tmp_path / "pipe")
    (root / "bee" / "pipe.jpg").symlink_to(tmp_path / "pipe")
    source = find_source(DataConfig(name="folder", dir=str(root))).splits["train"]
    assert {name for name in source.names if "link" in name} == {
        f"ant/link/{number:02d}.png" for number in range(3)
    }
    assert len(source.names) == 24 + 3 + 1  # a link to a pipe is ignored
    (reason,) = source.unreadable.values()
    assert "bee/nowhere.jpg is listed but cannot be read" in reason


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    """The error is simulated, because root can list every folder."""
    root = make_folder(tmp_path / "images")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("bee"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"bee cannot be listed \(Permission denied\)"):
        find_source(DataConfig(name="folder", dir=str(root)))


def test_names_that_are_not_utf8_are_written_with_backslashes(tmp_path):
    root = make_folder(tmp_path / "images")
    (root / "ant").rename(root / os.fsdecode(b"caf\xe9"))
    data = load(root, "stop")
    assert data.class_names == ("bee", r"caf\xe9")
    assert sum(r"caf\xe9/" in name for name in data.train.names) > 5
    with pytest.raises(UserError, match=r"--out run\\xe9 cannot be used"):
        user_path("out", os.fsdecode(b"run\xe9"))


@pytest.mark.parametrize("option", ["--out", "--data.cache-dir", "--data.extra-dir"])
def test_places_inside_the_image_folder_are_refused(tmp_path, option):
    root = make_folder(tmp_path / "images")
    folder = ["pets-small", "--data.name", "folder", "--data.dir", str(root)]
    with pytest.raises(UserError, match=f"{option} .* lies in --data.dir"):
        parse([*folder, option, str(root / "new")])


def test_a_signal_while_decoding_leaves_no_partial_files(tmp_path):
    root = make_folder(tmp_path / "images")
    script = (
        "import os, runpy, signal, sys, time\n"
        "from jaxvit.data import cache\n"
        "cache._reserve = lambda path: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(60))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    folder = ["pets-small", "--data.name", "folder", "--data.dir", str(root)]
    places = ["--data.cache-dir", str(tmp_path / "cache"), "--out", str(tmp_path / "out" / "run")]
    program = str(Path(train_jax.__file__))
    done = subprocess.run(
        [sys.executable, "-c", script, program, *folder, *places], capture_output=True, text=True
    )
    assert done.returncode == 143
    (line,) = done.stderr.splitlines()
    assert line.startswith("stopped: the same command resumes")
    images = [p for p in (tmp_path / "cache").iterdir() if p.name != "programs"]
    assert [path.suffix for path in images] == [".lock"]
    assert list((tmp_path / "out").iterdir()) == []  # nor is the lock of --out left there


def test_a_closed_standard_output_does_not_end_the_run(tmp_path):
    """As in `python train_jax.py | head -1`."""
    script = (
        "import os, sys; from jaxvit.runs.progress import make_console; console = make_console()\n"
        "sys.stdin.read(); console.print('one'); console.print('two'); os._exit(7)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.close()
    process.stdin.close()
    assert process.wait() == 7


def test_a_file_that_cannot_be_opened_stops_the_run_and_is_not_recorded(tmp_path, monkeypatch):
    """A later run may be able to open it.

    The error is simulated, because root can open every file.
    """
    root = make_folder(tmp_path / "images")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: path.joinpath("x").open("rb").read())
        with pytest.raises(UserError, match=r"\.png is listed but cannot be read \("):
            load(root, "skip")
    assert load(root, "stop").skipped == ()


def test_skipped_images_are_counted_in_the_summary_and_named_in_split_json(tmp_path, capsys):
    root = make_folder(tmp_path / "images")
    (root / "ant" / "text.jpg").write_text("no picture")
    out = tmp_path / "run"
    arguments = (
        "pets-small --data.name folder --epochs 1 --batch-size 8 --model.img-size 8 "
        "--model.patch-size 4 --model.embed-dim 8 --model.num-heads 1 --model.num-layers 1 "
        "--augment.crop-scale 1 1 --augment.mixup-alpha 0 --augment.cutmix-alpha 0 "
        f"--data.dir {root} --data.cache-dir {tmp_path / 'cache'} --out {out}"
    ).split()
    assert train_jax.main(arguments) == 2
    assert "text.jpg cannot be read" in capsys.readouterr().err
    assert train_jax.main([*arguments, "--data.on-error", "skip"]) == 0
    assert "left out 1 image(s); the first:" in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text())["skipped_images"] == 1
    (skipped,) = json.loads((out / "split.json").read_text())["skipped"]
    assert "ant/text.jpg" in skipped


def test_no_more_pixels_than_the_budget_are_decoded_at_once(monkeypatch):
    """Eight threads and a budget of two images: at most two are decoded at once."""
    budget = PixelBudget(2 * 240)
    monkeypatch.setattr(images, "_budget", budget)
    at_once, most, lock = 0, 0, threading.Lock()

    def slow(image):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return image.convert("RGB")

    monkeypatch.setattr(images, "_to_rgb", slow)
    data = encoded(Image.fromarray(COLOURS))  # 12 x 20 = 240 pixels
    args = (data, Geometry(4), "x")
    threads = [threading.Thread(target=decode_image, args=args) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2
    with budget.spend(10**9):  # an image above the limit does not wait forever
        pass


def test_an_image_too_thin_to_be_resized_is_named():
    thin = Image.fromarray(np.zeros((2, 30000, 3), np.uint8))
    with pytest.raises(UnreadableImage, match="name cannot .*30000 x 2 pixels are too thin"):
        decode_image(encoded(thin), Geometry(224, "short_side"), "name")
    assert decode_image(encoded(thin), Geometry(8), "name").shape == (8, 8, 3)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_file_in_two_splits_is_refused(tmp_path, labelled):
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / f"{split}.png")
    load_folder(tmp_path, labelled=labelled)
    (tmp_path / "test" / "bee" / "again.png").symlink_to(tmp_path / "train" / "bee" / "train.png")
    with pytest.raises(UserError, match="are one file, which could then be trained on and tested"):
        load_folder(tmp_path, labelled=labelled)


def test_a_lack_of_memory_says_nothing_about_the_image(monkeypatch):
    def full(*args):
        raise MemoryError

    monkeypatch.setattr(images, "prepare_image", full)
    with pytest.raises(MemoryError):
        decode_image(PHOTO, Geometry(4), "x")
