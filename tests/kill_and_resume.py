"""Kills a digits run at random times, resumes it, and compares it with an uninterrupted run.

python tests/kill_and_resume.py [--kills 10] [--devices 1] [--seed 0]
About a third of the kills come at a random time within 20 s of the start, the others at a random
step. Exits with 1 if the hash of the parameters differs. Not part of pytest: it takes some minutes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ["--epochs", "15", "--model.dropout", "0.1", "--checkpoint.every-steps", "10"]


def last_step(run: Path) -> int:
    """The last step that the run has logged, or 0; the last line may be incomplete."""
    try:
        return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    except (OSError, IndexError, ValueError):
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--devices", type=int, default=1, help="emulated CPU devices")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    args = parser.parse_args()
    flags = f"--xla_force_host_platform_device_count={args.devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    chance = random.Random(args.seed)

    with tempfile.TemporaryDirectory() as root:
        whole, killed = Path(root, "whole"), Path(root, "killed")

        def start(run: Path) -> subprocess.Popen:
            command = [sys.executable, str(ROOT / "train_jax.py"), *OPTIONS, "--out", str(run)]
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

        began = time.perf_counter()
        assert start(whole).wait() == 0
        seconds = time.perf_counter() - began
        expected = json.loads((whole / "summary.json").read_text())
        print(f"uninterrupted: {seconds:.0f} s, {expected['params_sha256']}", flush=True)

        # At least 40 steps before the end, so that no kill comes after it.
        steps = sorted(chance.sample(range(1, expected["steps"] - 40), args.kills))
        for number, step in enumerate(steps, 1):
            process, began = start(killed), time.perf_counter()
            deadline = chance.uniform(0, 20) if chance.random() < 0.3 else float("inf")
            while last_step(killed) < step and time.perf_counter() - began < deadline:
                assert process.poll() is None, "the run ended by itself"
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
            process.kill()
            process.wait()
            seconds = time.perf_counter() - began
            print(f"kill {number}: after {seconds:.1f} s, at step {last_step(killed)}", flush=True)
        assert start(killed).wait() == 0
        found = json.loads((killed / "summary.json").read_text())
        print(f"killed {args.kills} times: {found['params_sha256']}", flush=True)
        same = found["params_sha256"] == expected["params_sha256"]
        print("bitwise the same" if same else "DIFFERENT")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
