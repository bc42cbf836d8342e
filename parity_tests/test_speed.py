"""The benchmark's candidates have the same first loss, and its FLOPs are PyTorch's count."""

import json
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from jaxvit.errors import UserError
from jaxvit.speed import __main__ as speed
from jaxvit.speed import fast_paths, files, jax_candidate
from jaxvit.speed.benchmark import CANDIDATES, Result, check_equal_losses, interval, run
from jaxvit.speed.figure import draw
from jaxvit.speed.jax_candidate import timed
from jaxvit.speed.report import summarise
from jaxvit.speed.workload import Workload
from jaxvit.training.fit import STEPS_AHEAD
from torch_ref.speed import make_model


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> tuple[Workload, list[Result]]:
    workload = Workload(model="vit-tiny-test", img_size=16, batch_size=4)
    names = ["jax", "jax-sharded", "torch-eager", "torch-sdpa"]
    cache = tmp_path_factory.mktemp("cache")
    return workload, run(workload, names, 1, 0.01, cache, lambda line: None)


@pytest.mark.slow
def test_every_candidate_computes_the_same_first_loss(benchmark):
    _, results = benchmark
    assert [result.failure for result in results] == [None] * 4
    check_equal_losses(results, tolerance=1e-6)


@pytest.mark.slow
def test_what_is_reported_follows_from_the_samples(benchmark):
    workload, results = benchmark
    found = summarise(workload, results)
    for result in results:
        assert len(result.step_ms) == len(result.first_step_sec) == 1
        entry = found["candidates"][result.name]
        low, high = entry["images_per_sec_95"]
        assert low <= entry["images_per_sec"] <= high
        assert entry["images_per_sec"] == pytest.approx(
            4e3 / np.median(np.concatenate(result.step_ms))
        )
        assert entry["peak_bytes"] > 1e6
    rates = {name: entry["images_per_sec"] for name, entry in found["candidates"].items()}
    assert found["ratio_to_best_torch"] == rates["jax"] / rates[found["best_torch"]]
    assert rates[found["best_torch"]] == max(rates["torch-eager"], rates["torch-sdpa"])


@pytest.mark.slow
def test_a_sweep_has_lines_above_its_bars(benchmark, tmp_path):
    workload, results = benchmark
    found = [summarise(replace(workload, batch_size=size), results) for size in (4, 8)]
    heights = []
    for number in (1, 2):
        draw(found[:number], tmp_path / "speed.png")
        heights.append(Image.open(tmp_path / "speed.png").height)
    assert heights[1] > 2 * heights[0]


@pytest.mark.parametrize("task", ["train", "infer"])
@pytest.mark.parametrize(("model", "img_size"), [("vit-tiny-test", 40), ("vit-ti16", 224)])
def test_flops_are_what_pytorch_counts(model, img_size, task, tmp_path):
    workload = Workload(model=model, img_size=img_size, batch_size=3, task=task)
    workload.write(tmp_path)
    torch_model = make_model(
        {"workload": vars(workload), "shape": workload.shape, "inputs": str(tmp_path)}
    )
    images = torch.randn(3, 3, img_size, img_size)
    with FlopCounterMode(display=False) as counter:
        loss = F.cross_entropy(torch_model(images), torch.zeros(3, dtype=torch.long))
        if task == "train":
            loss.backward()
    assert counter.get_total_flops() == workload.flops


def test_programs_that_differ_are_not_compared():
    results = [Result("jax", first_loss=3.61), Result("torch-eager", first_loss=3.70)]
    with pytest.raises(UserError, match="jax and torch-eager are not the same program"):
        check_equal_losses(results, tolerance=1e-3)
    check_equal_losses([results[0], Result("timm", failure="not installed")], tolerance=1e-3)


def test_the_benchmark_writes_nothing_of_programs_that_differ(monkeypatch, tmp_path, capsys):
    results = [Result("jax", first_loss=3.61), Result("torch-eager", first_loss=3.65)]
    monkeypatch.setattr(speed, "run", lambda *_: results)
    assert speed.main(["--out", str(tmp_path)]) == 2
    assert "not the same program" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["train", "infer"])
def test_jax_times_the_task_and_the_dropout_that_are_asked_for(task, tmp_path, monkeypatch):
    trained, stepped = [], []
    workload = Workload("vit-tiny-test", 16, 2, task, dropout=0.3)
    workload.write(tmp_path)

    def training(workload, model, params, devices):
        trained.append(model.dropout)
        return lambda batch: {}

    def timed(step, batches, seconds):
        stepped.append((step(batches[0]), seconds))
        return [1.0]

    monkeypatch.setattr(jax_candidate, "make_training", training)
    monkeypatch.setattr(jax_candidate, "timed", timed)
    monkeypatch.setattr(jax_candidate, "matmul_rate", lambda workload: 1.0)
    told = {"workload": asdict(workload), "inputs": str(tmp_path), "seconds": 7}
    found = jax_candidate.main(told)
    assert found["step_ms"] == [1.0]
    ((result, seconds),) = stepped
    assert seconds == 7
    if task == "train":
        assert (trained, result) == ([0.3], {})
    else:
        assert not trained
        assert result.shape == (2, 37)  # logits


def test_first_steps_are_those_of_an_empty_and_of_a_filled_cache():
    result = Result(
        "jax", step_ms=[[1.0], [1.0], [1.0]], first_step_sec=[9.0, 2.0, 4.0], peak_bytes=1,
        matmul_flops_per_sec=[1.0], first_loss=1.0,
    )  # fmt: skip
    found = summarise(Workload(), [result])["candidates"]["jax"]
    assert (found["first_step_sec_cold"], found["first_step_sec_warm"]) == (9.0, 3.0)


def test_ratios_of_files_are_jaxs_rate_over_pytorchs(monkeypatch, tmp_path):
    def process(module, task, cache):
        jax = module == files.FRAMEWORKS["jax"]
        rates = {f"{what}_per_sec": 200.0 if jax else 100.0 for what in ("decoded", "augmented")}
        return rates | {"images": 1, "versions": {}, "step_ms": {"held": [1.0], "read": [2.0]}}

    monkeypatch.setattr(files, "run_process", process)
    (tmp_path / "oxford-iiit-pet").mkdir()
    found = files.compare(files.parse([str(tmp_path), "--processes", "1"]))
    assert found["decoded_ratio"] == found["augmented_ratio"] == 2
    assert found["read_over_held"] == 0.5


def test_a_fast_path_gains_where_its_reference_takes_longer():
    found = fast_paths.summarise("x", [(1.0, 2.0), (1.0, 4.0), (1.0, 3.0)])
    assert (found["ratio"], found["fast_sec"], found["reference_sec"]) == (3.0, 1.0, 3.0)
    assert found["quartiles"] == [2.5, 3.5]
    order = []
    for number in (0, 1):
        times = fast_paths.one_round(
            lambda: order.append("fast") or 1.0, lambda: order.append("slow") or 2.0, number
        )
        assert times == (1.0, 2.0)
    assert order == ["fast", "slow", "slow", "fast"]


def test_an_interval_contains_the_median_and_widens_with_the_spread_between_processes():
    near = interval([[10.0, 10.1, 9.9], [10.0, 10.05, 9.95], [10.0, 10.1, 9.9]])
    far = interval([[10.0, 10.1, 9.9], [12.0, 12.05, 11.95], [14.0, 14.1, 13.9]])
    assert near[0] <= 10 <= near[1]
    assert far[1] - far[0] > 10 * (near[1] - near[0])


def test_a_timed_block_ends_when_its_last_step_does():
    handed, done = [], []

    class Out:
        def block_until_ready(self):
            done.append(self)
            return self

    def step(batch):
        time.sleep(0.002)  # so that a block of half a second has a few hundred steps
        handed.append(Out())
        assert len(handed) - len(done) <= STEPS_AHEAD + 1
        return {"loss": handed[-1]}

    timed(step, batches=[0], seconds=0)
    assert len(handed) > 2 * STEPS_AHEAD
    assert done == handed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--img-size 100", "vit-s16 takes multiples of 16, such as 96"),
        ("--batch-size 8 0", "--batch-size 0 is out of range: it must be finite and above 0"),
        ("--seconds inf", "--seconds inf is out of range"),
        ("--dropout 1", "--dropout 1.0 is out of range"),
    ],
)
def test_a_bad_option_is_one_line(options, message, capsys):
    assert speed.main(options.split()) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert message in error


@pytest.mark.slow
def test_a_candidate_that_cannot_run_is_named_and_the_others_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(CANDIDATES, "torch-eager", ("torch_ref.nowhere", {}))
    arguments = "--model vit-tiny-test --img-size 16 --batch-size 2 --processes 1 --seconds 0.01"
    names = ["--candidates", "jax", "torch-eager", "--out", str(tmp_path)]
    assert speed.main([*arguments.split(), *names]) == 0
    printed = capsys.readouterr().out
    assert "torch-eager: " in printed
    assert "No module named torch_ref.nowhere" in printed
    assert (tmp_path / "speed.json").exists()
    assert (tmp_path / "speed.png").exists()


@pytest.mark.slow
def test_a_benchmark_in_which_no_candidate_runs_exits_with_1(tmp_path, capsys):
    arguments = "--model vit-tiny-test --img-size 16 --batch-size 1 1 --processes 1 --seconds 0.01"
    names = ["--candidates", "jax-sharded", "jax-sharded", "--out", str(tmp_path)]
    assert speed.main([*arguments.split(), *names]) == 1
    (failure, *_) = capsys.readouterr().out.splitlines()
    assert failure.startswith("jax-sharded: --batch-size 1 cannot be sharded over ")
    (found,) = json.loads((tmp_path / "speed.json").read_text())  # duplicates run once
    assert found["ratio_to_best_torch"] is None


@pytest.mark.slow
def test_the_pipeline_reads_every_file_in_both_frameworks(tmp_path, pets_root, capsys):
    real, small = pets_root / "oxford-iiit-pet", tmp_path / "data" / "oxford-iiit-pet"
    (small / "annotations").mkdir(parents=True)
    (small / "images").symlink_to(real / "images")
    for name in ("trainval", "test"):
        lines = (real / "annotations" / f"{name}.txt").read_text().splitlines()
        few = [line for breed in range(1, 38) for line in _of_breed(lines, breed)[:3]]
        (small / "annotations" / f"{name}.txt").write_text("\n".join(few) + "\n")
    arguments = f"{small.parent} --model vit-tiny-test --img-size 16 --batch-size 8 --processes 1"
    assert files.main([*arguments.split(), "--seconds", "0.2", "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "files.json").read_text())
    for framework in ("jax", "torch"):
        (process,) = found["processes"][framework]
        assert process["images"] == found["images"] == 2 * 37 * 3
        assert process["decoded_per_sec"] > 0
        assert process["augmented_per_sec"] > 0
    assert len(found["processes"]["jax"][0]["step_ms"]["read"]) > 1
    assert found["read_over_held"] > 0
    assert "DataLoader" in capsys.readouterr().out


def _of_breed(lines: list[str], breed: int) -> list[str]:
    return [line for line in lines if line.split()[1] == str(breed)]


def test_a_directory_without_the_data_set_is_one_line(tmp_path, capsys):
    assert files.main([str(tmp_path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "has no oxford-iiit-pet in it" in error
