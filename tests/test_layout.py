"""The layout of the repository: every PyTorch file has a twin, and the core needs few packages."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

from parity_tests.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
# Files of torch_ref whose counterpart in jaxvit is several modules or has another form.
WITHOUT_A_TWIN = {
    "training_pipeline", "augmentation", "demonstration", "speed", "convert",
    "finetune/models", "finetune/soup", "finetune/training", "survey/training",
    "survey/interpretation", "survey/ddpm", "instance_discrimination/training",
}  # fmt: skip


def files(folder: str, pattern: str = "*.py") -> set[str]:
    """Paths below the folder, without .py: "transformer", "finetune/groups"."""
    root = ROOT / folder
    return {
        path.relative_to(root).with_suffix("").as_posix()
        for path in root.rglob(pattern)
        if path.stem != "__init__"
    }


def name_of(file: str) -> str:
    return file.rpartition("/")[2]


def classes(path: Path) -> set[str]:
    return {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)}


def test_every_file_of_torch_ref_has_a_parity_test_in_the_same_folder():
    tests = files("parity_tests", "test_*.py")
    tested = {file.replace("test_", "", 1) for file in tests}
    assert files("torch_ref") <= tested
    assert "finetune/groups" in tested


def test_every_file_of_torch_ref_has_a_twin_of_the_same_name():
    twins = {name_of(file) for file in files("jaxvit")}
    assert {name_of(file) for file in files("torch_ref") - WITHOUT_A_TWIN} <= twins
    assert files("torch_ref") >= WITHOUT_A_TWIN


def test_every_folder_of_torch_ref_lists_what_was_fixed():
    folders = [path for path in (ROOT / "torch_ref").iterdir() if (path / "__init__.py").is_file()]
    assert folders
    for folder in (ROOT / "torch_ref", *folders):
        assert "## Defects fixed" in (folder / "README.md").read_text(), folder


def test_the_text_of_every_mutation_is_there_once():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    for mutation in MUTATIONS:
        text = Path(importlib.util.find_spec(mutation.module).origin).read_text()
        assert text.count(mutation.old) == 1, mutation.name
        file, _, function = mutation.seen_by.partition("::")
        assert f"def {function.partition('[')[0]}" in (ROOT / file).read_text(), mutation.name


def test_twin_files_define_classes_of_the_same_names():
    for stem in (
        "patch_embedding", "multi_head_attention", "transformer", "survey/attention_blocks",
        "survey/resnet_with_attention", "survey/unet",
    ):  # fmt: skip
        theirs = classes(ROOT / "torch_ref" / f"{stem}.py")
        assert theirs == classes(ROOT / "jaxvit" / "models" / f"{name_of(stem)}.py")


def test_the_core_needs_only_jax_flax_optax_and_numpy():
    """As on an accelerator image without other packages, which are hidden from the imports here."""
    script = """
import sys
from importlib.machinery import PathFinder
import jax, flax.linen, optax, numpy  # with whatever they need themselves
hidden = ("grain orbax tensorflow_datasets tensorflow tyro rich PIL sklearn matplotlib "
          "tensorboardX jaxtyping beartype torch").split()
for name in list(sys.modules):
    if name.partition(".")[0] == "jaxtyping":
        del sys.modules[name]
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *a: None if name.partition(".")[0] in hidden else find(name, *a)
import jaxvit.training.evaluate, jaxvit.training.fit, jaxvit.optim.optimizers, jaxvit.config
import jaxvit.models.transformer, jaxvit.augment.pipeline, jaxvit.interop.torch_weights
import jaxvit.speed.__main__, jaxvit.speed.jax_candidate
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
