"""Kills a digits run at random moments, resumes it each time, and compares it with a whole run.

python tests/kill_and_resume.py [--kills 10] [--devices 1] [--seed 0]
Exits with 1 if the parameters' hash differs. Not part of pytest: it takes some minutes.
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--devices", type=int, default=1, help="emulated CPU devices")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    flags = f"--xla_force_host_platform_device_count={args.devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    moments = random.Random(args.seed)

    with tempfile.TemporaryDirectory() as root:

        def start(name: str) -> subprocess.Popen:
            command = [
                sys.executable,
                str(ROOT / "train_jax.py"),
                *OPTIONS,
                "--out",
                f"{root}/{name}",
            ]
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

        def result(name: str) -> dict:
            return json.loads(Path(root, name, "summary.json").read_text())

        began = time.perf_counter()
        assert start("whole").wait() == 0
        seconds = time.perf_counter() - began
        print(f"uninterrupted: {seconds:.0f} s, {result('whole')['params_sha256']}", flush=True)
        kills = 0
        while not Path(root, "killed", "summary.json").exists():
            process = start("killed")
            try:
                # From the first imports on, and short of the end, so that kills are left to do.
                limit = moments.uniform(0.1, 0.6) * seconds if kills < args.kills else None
                process.wait(limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                metrics = Path(root, "killed", "metrics.jsonl")
                lines = metrics.read_text().splitlines() if metrics.exists() else []
                step = json.loads(lines[-1])["step"] if lines else 0
                print(f"kill {kills}: after {limit:.1f} s, at step {step} or later", flush=True)
        same = result("killed")["params_sha256"] == result("whole")["params_sha256"]
        print(f"killed {kills} times: {result('killed')['params_sha256']}", flush=True)
        print("the same to the bit" if same else "DIFFERENT")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
