"""PyTorch's own files become safetensors that jaxvit reads, and code in them is never executed."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jaxvit.errors import UserError
from jaxvit.interop.load import load_pretrained
from parity_tests.comparison import LOGITS, max_difference
from parity_tests.foreign_models import IMG, OPTIONS, images_for, our_logits, timm_model
from torch_ref.convert import ConversionError, convert, main

ROOT = Path(__file__).resolve().parents[1]


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_converted_file_gives_the_same_logits(wrapper, prefix, tmp_path):
    model = timm_model()
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "x.pth")
    assert main([str(tmp_path / "x.pth"), str(tmp_path / "x.safetensors")]) == 0
    loaded = load_pretrained(tmp_path / "x.safetensors", options=OPTIONS)
    images = images_for(IMG, 0)
    with torch.no_grad():
        assert max_difference(our_logits(loaded, images), model(images)) < LOGITS


def test_shared_and_transposed_tensors_are_copied(tmp_path):
    shared = torch.randn(3, 4)
    torch.save({"a": shared, "b": shared, "c": shared.T, "d": shared[1]}, tmp_path / "x.pt")
    assert convert(tmp_path / "x.pt", tmp_path / "x.safetensors") == 4
    found = load_file(tmp_path / "x.safetensors")
    assert torch.equal(found["c"], shared.T)
    assert torch.equal(found["d"], shared[1])


def test_the_command_that_jaxvit_names_works(tmp_path):
    torch.save(timm_model().state_dict(), tmp_path / "x.pth")
    with pytest.raises(UserError, match="python -m torch_ref.convert") as error:
        load_pretrained(tmp_path / "x.pth")
    command = str(error.value).partition("convert it with: ")[2].split()
    assert command[1:3] == ["-m", "torch_ref.convert"]
    done = subprocess.run(
        [sys.executable, *command[1:]],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.safetensors").is_file()


def test_code_is_never_executed(tmp_path, capsys):
    marker = tmp_path / "marker"
    torch.save({"w": torch.ones(2), "x": Bomb(marker)}, tmp_path / "x.pth")
    (tmp_path / "y.bin").write_bytes(pickle.dumps(Bomb(marker)))
    for name in ("x.pth", "y.bin"):
        assert main([str(tmp_path / name), str(tmp_path / "out.safetensors")]) == 1
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert name in message
        assert "was not loaded" in message
        assert not marker.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_what_cannot_be_converted_is_said_in_one_line(tmp_path):
    def refused(path: Path, part: str, target: str = "out.safetensors") -> None:
        with pytest.raises(ConversionError) as error:
            convert(path, tmp_path / target)
        assert part in str(error.value)
        assert "\n" not in str(error.value)

    path = tmp_path / "x.pth"
    torch.save(timm_model().state_dict(), path)
    whole = path.read_bytes()
    refused(path, "must end in .safetensors", "out.npz")
    for size in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:size])
        refused(path, "is damaged or no file of PyTorch")
    refused(tmp_path / "nothing.pth", "is not a file")
    for value, part in (([1], "a list"), ({}, "no tensor"), ({"a": 1}, "'a' is none")):
        torch.save(value, path)
        refused(path, part)
    (tmp_path / "y.safetensors").write_bytes(b"x")
    refused(tmp_path / "y.safetensors", "use it as it is")
    torch.save({"a": torch.ones(1)}, path)
    (tmp_path / "file").write_text("x")
    refused(path, "cannot be written", "file/out.safetensors")
    assert not list(tmp_path.glob(".*"))
