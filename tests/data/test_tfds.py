"""Oxford-IIIT Pet through TFDS, from a small archive in the real format served on localhost."""

import contextlib
import functools
import http.server
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvit.data.cifar10 import load_cifar10
from jaxvit.data.datasets import split_source
from jaxvit.data.images import decode_image
from jaxvit.data.oxford_iiit_pet import load_oxford_iiit_pet
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError
from jaxvit.presets.lab import PETS

BREEDS = ("Abyssinian", "american_bulldog", "great_pyrenees")
CLASS_IDS = {"Abyssinian": 1, "american_bulldog": 2, "great_pyrenees": 16}


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (23, 31, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def trimap() -> bytes:
    out = io.BytesIO()
    Image.new("L", (31, 23), 1).save(out, "PNG")
    return out.getvalue()


@contextlib.contextmanager
def served(directory):
    """The URL of a web server on localhost."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def write_tar(path, files: dict[str, bytes], links: dict[str, str] | None = None) -> None:
    with tarfile.open(path, "w") as tar:  # named .tar.gz but not compressed, as the real archives
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def images() -> dict[str, bytes]:
    """Name -> JPEG: three trainval images and one test image of each breed."""
    return {f"{b}_{n}": jpeg(10 * k + n) for k, b in enumerate(BREEDS) for n in range(1, 5)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, images):
    """A TFDS data_dir that load_oxford_iiit_pet has downloaded and prepared."""
    pytest.importorskip("tensorflow", reason="preparing a TFDS set needs TensorFlow")
    from tensorflow_datasets.datasets.oxford_iiit_pet import oxford_iiit_pet_dataset_builder

    site = tmp_path_factory.mktemp("site")
    rows = {name: f"{name} {CLASS_IDS[name.rpartition('_')[0]]} 1 1" for name in images}
    lists = {
        "annotations/trainval.txt": [row for name, row in rows.items() if name[-1] != "4"],
        "annotations/test.txt": [row for name, row in rows.items() if name[-1] == "4"],
    }
    # The archive also tries to write outside the directory that it is unpacked in.
    outside = tmp_path_factory.mktemp("outside")
    write_tar(
        site / "images.tar.gz",
        {f"images/{n}.jpg": data for n, data in images.items()}
        | {"../escaped.txt": b"1", f"{outside}/escaped.txt": b"2", "link/escaped.txt": b"3"},
        links={"link": str(outside)},
    )
    write_tar(
        site / "annotations.tar.gz",
        {name: ("\n".join(lines) + "\n").encode() for name, lines in lists.items()}
        | {f"annotations/trimaps/{name}.png": trimap() for name in images},
    )
    data_dir = tmp_path_factory.mktemp("tfds")
    with served(site) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(oxford_iiit_pet_dataset_builder, "_BASE_URL", url)
        load_oxford_iiit_pet(data_dir)
    escaped = {path.parent.name for path in data_dir.parent.rglob("escaped.txt")}
    assert escaped <= {"link"}, "an archive wrote outside its directory"
    assert not list(outside.iterdir())
    return data_dir


def test_a_prepared_set_gives_the_bytes_of_the_archive(prepared, images):
    source = load_oxford_iiit_pet(prepared)
    assert len(source.class_names) == 37
    assert source.class_names[1] == "American Bulldog"
    assert sorted(source.splits["train"].names) == sorted(
        f"{name}.jpg" for name in images if name[-1] != "4"
    )
    for split in ("train", "test"):
        examples = source.splits[split]
        for index, name in enumerate(examples.names):
            stem = name.removesuffix(".jpg")
            assert examples.labels[index] == CLASS_IDS[stem.rpartition("_")[0]] - 1
            np.testing.assert_array_equal(
                examples.pixels(index, Geometry(16)), decode_image(images[stem], Geometry(16), name)
            )


def test_cifar10_is_prepared_from_its_binary_version(tmp_path):
    pytest.importorskip("tensorflow", reason="preparing a TFDS set needs TensorFlow")
    from tensorflow_datasets.image_classification.cifar import Cifar10

    names = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    files = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 256, (len(files), 2, 3, 32, 32), np.uint8)  # two images a file
    labels = np.arange(2 * len(files), dtype=np.uint8).reshape(-1, 2) % 10
    archive = {
        f"cifar-10-batches-bin/{name}.bin": b"".join(
            bytes([label]) + image.tobytes() for label, image in zip(*rows, strict=True)
        )
        for name, *rows in zip(files, labels, planes, strict=True)
    }
    archive["cifar-10-batches-bin/batches.meta.txt"] = ("\n".join(names) + "\n").encode()
    (tmp_path / "site").mkdir()
    write_tar(tmp_path / "site" / "cifar-10-binary.tar.gz", archive)
    (tmp_path / "tfds" / "cifar10").mkdir(parents=True)  # a TFDS data_dir
    info = Cifar10._cifar_info.fget(types.SimpleNamespace(name="cifar10"))
    with served(tmp_path / "site") as url, pytest.MonkeyPatch.context() as patch:
        local = info._replace(url=f"{url}/cifar-10-binary.tar.gz")
        patch.setattr(Cifar10, "_cifar_info", property(lambda self: local))
        source = load_cifar10(tmp_path / "tfds")
    assert source.class_names == tuple(name.title() for name in names)
    for split, first, last in (("train", 0, 5), ("test", 5, 6)):
        examples, images = source.splits[split], planes[first:last].reshape(-1, 3, 32, 32)
        assert len(examples.names) == len(images)
        for index, name in enumerate(examples.names):
            number = int(name.removeprefix(f"{split}_"))
            assert examples.labels[index] == labels[first:last].ravel()[number]
            found = examples.pixels(index, Geometry(32))
            np.testing.assert_array_equal(found, images[number].transpose(1, 2, 0))


def test_both_layouts_are_split_alike(prepared, images, tmp_path):
    """The split is made by name, so the shuffled order of TFDS's records does not matter."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    for name, data in images.items():
        (tmp_path / "images" / f"{name}.jpg").write_bytes(data)
    for split, last in (("trainval", "123"), ("test", "4")):
        # Class ids without a gap, as the original lists have them; their order is the same.
        rows = [
            f"{name} {1 + BREEDS.index(name.rpartition('_')[0])} 1 1"
            for name in images
            if name[-1] in last
        ]
        (tmp_path / "annotations" / f"{split}.txt").write_text("\n".join(rows))

    def validation(directory) -> set[str]:
        source = load_oxford_iiit_pet(directory)
        origin, rows = split_source(source, PETS)["val"]
        return {Path(source.splits[origin].names[row]).name for row in rows}

    assert validation(prepared) == validation(tmp_path)


def test_a_prepared_set_is_read_without_tensorflow(prepared):
    """A data set that is not prepared is an error with the command that prepares it."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *a: None if name == 'tensorflow' else find(name, *a)\n"
        "from jaxvit.data.oxford_iiit_pet import load_oxford_iiit_pet as load\n"
        "from jaxvit.data.preprocessing import Geometry\n"
        "source = load(Path(sys.argv[1]))\n"
        "print(source.splits['train'].pixels(0, Geometry(8)).shape)\n"
        "try:\n"
        "  load(Path(sys.argv[2]))\n"
        "except ValueError as error:\n"
        "  print(error)\n"
    )
    empty = prepared.parent / "empty"
    empty.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", script, str(prepared), str(empty)],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    shape, message = done.stdout.strip().splitlines()
    assert shape == "(8, 8, 3)"
    assert 'pip install "jaxvit[tfds]"' in message
    assert f"data_dir='{empty}'" in message


def test_a_data_set_prepared_in_another_format_is_refused(prepared, tmp_path):
    shutil.copytree(prepared / "oxford_iiit_pet", tmp_path / "oxford_iiit_pet")
    for path in tmp_path.rglob("dataset_info.json"):
        path.write_text(path.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="is there but not as ArrayRecord"):
        load_oxford_iiit_pet(tmp_path)


def test_a_failed_download_is_an_error_of_one_line(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="preparing a TFDS set needs TensorFlow")
    from tensorflow_datasets.datasets.oxford_iiit_pet import oxford_iiit_pet_dataset_builder

    (tmp_path / "site").mkdir()
    (tmp_path / "tfds").mkdir()
    with served(tmp_path / "site") as url:
        monkeypatch.setattr(oxford_iiit_pet_dataset_builder, "_BASE_URL", url)
        with pytest.raises(UserError, match="could not be prepared under .* check the") as error:
            load_oxford_iiit_pet(tmp_path / "tfds")
    assert "404" in str(error.value)
    assert "\n" not in str(error.value)
