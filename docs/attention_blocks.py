"""python docs/attention_blocks.py: graph attention without and with the pairs of all nodes.

For each number of nodes n: the memory of temporaries that XLA plans for the attention weights and
their gradients, and the median time of a call, of graph_weights and of reference_graph_weights.
f = 256, one head, batch 8, one CPU device. Writes docs/attention_blocks.json and .png.
"""

import json
import statistics
import time
from pathlib import Path

import jax
from matplotlib.figure import Figure

from jaxvit.models.attention_blocks import graph_weights, reference_graph_weights
from jaxvit.runtime.machine import cores, processor

BATCH, WIDTH, REPEATS = 8, 256, 15
NODES = {17: "4 x 4", 65: "8 x 8", 197: "14 x 14"}  # of a map, and the class token
FORMS = {
    "fast": lambda x, w_query, w_key: graph_weights(x @ w_query, x @ w_key),
    "all pairs": reference_graph_weights,
}
BLUE, RED = "#4477aa", "#cc6677"


def measure(form, nodes: int) -> dict[str, float]:
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = ((BATCH, nodes, WIDTH), (WIDTH, 1), (WIDTH, 1), (BATCH, 1, nodes, nodes))
    *arguments, probe = (
        jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)
    )

    def loss(x, w_query, w_key):
        return (form(x, w_query, w_key) * probe).sum()

    run = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arguments).compile()
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        seconds.append(time.perf_counter() - began)
    megabytes = run.memory_analysis().temp_size_in_bytes / 1e6
    return {"megabytes": megabytes, "ms": 1e3 * statistics.median(seconds[1:])}


def main() -> None:
    found = {name: {n: measure(form, n) for n in NODES} for name, form in FORMS.items()}
    machine = {"processor": processor(), "cores": cores(), "jax": jax.__version__}
    place = Path(__file__).with_suffix(".json")
    place.write_text(json.dumps({"machine": machine, "found": found}, indent=1) + "\n")
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axis, quantity in zip(figure.subplots(1, 2), ("megabytes", "ms"), strict=True):
        for (name, by_nodes), colour in zip(found.items(), (BLUE, RED), strict=True):
            values = [each[quantity] for each in by_nodes.values()]
            axis.loglog(list(by_nodes), values, "o-", color=colour, label=name)
        axis.set(xlabel="nodes", ylabel=quantity, xticks=list(NODES), xticklabels=NODES)
        axis.minorticks_off()
        axis.legend(frameon=False)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
