"""Mutations of jaxvit/objectives: targets, losses, metrics."""

from parity_tests.mutation import listed

OBJECTIVES = listed("jaxvit.objectives", (
    ("tests/objectives/test_representation.py", (
        ("the worst state of a GAN taken for its best", "generation",
         'GAN = (("kernel_distance", False),)', 'GAN = (("kernel_distance", True),)'),
    )),
    ("tests/objectives/test_representation.py::test_a_metric_that_is_to_fall_falls", (
        ("--monitor ece keeps the worst calibrated", "metrics", '"ece": False,', '"ece": True,'),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[gradients]", (
        ("smoothing with K - 1", "targets",
         "optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)",
         "(1.0 - label_smoothing) * jax.nn.one_hot(labels, num_classes) + label_smoothing / (num_classes - 1)"),
        ("smoothing that adds mass", "targets",
         "optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)",
         "jax.nn.one_hot(labels, num_classes) + label_smoothing / num_classes"),
        ("loss divided by K", "losses", "(targets * shifted).sum(", "(targets * shifted).mean("),
        ("softmax over the batch", "losses", "jnp.exp(shifted).sum(axis=-1)", "jnp.exp(shifted).sum(axis=0).mean()"),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[losses]", (
        ("macro over all classes", "metrics", "scores[present].mean()", "scores.mean()"),
        ("macro over the classes of the labels", "metrics", "present = actual + predicted > 0", "present = actual > 0"),
        ("precision and recall swapped", "metrics",
         '"precision_macro": macro(hits, predicted)', '"precision_macro": macro(hits, actual)'),
        ("ten bins of confidence", "metrics", "NUM_BINS = 15", "NUM_BINS = 10"),
        ("a tie goes to the last class", "metrics",
         "jnp.argmax(logits, axis=-1).astype(jnp.int32)",
         "(logits.shape[-1] - 1 - jnp.argmax(logits[:, ::-1], axis=-1)).astype(jnp.int32)"),
    )),
    ("tests/test_end_to_end.py", (
        ("Wald's interval for Wilson's", "metrics", "centre = p + z**2 / (2 * total)", "centre = p"),
        ("the interval of another confidence", "metrics", "z: float = 1.959964", "z: float = 1.645"),
    )),
    ("tests/runs/test_checkpoint.py", (
        ("ties broken to the higher loss", "metrics", '("loss", False)', '("loss", True)'),
    )),
    ("tests/tasks/test_pretrained_runs.py", (
        ("rare classes count less", "targets",
         "counts.sum() / (len(counts) * counts)", "len(counts) * counts / counts.sum()"),
    )),
    ("parity_tests/instance_discrimination/test_contrastive.py", (
        ("contrastive: the positive twice among the negatives", "contrastive",
         "- jnp.diagonal(s)", "- jnp.diagonal(s) + jnp.log1p(jnp.exp(jnp.diagonal(s) - 20))"),
        ("contrastive: no negatives", "contrastive", "counts = itself | (index[:, None] != index[None, :])", "counts = itself"),
        ("contrastive: the positive left out of the sum", "contrastive", "counts = itself | (", "counts = ("),
        ("contrastive: duplicates as negatives", "contrastive", "(index[:, None] != index[None, :])", "~itself"),
        ("contrastive: features of any length", "contrastive", "a, b = unit_length(z_a), unit_length(z_b)", "a, b = z_a.astype(jnp.float32), z_b.astype(jnp.float32)"),
        ("contrastive: softmax over the wrong view", "contrastive", "-jnp.inf), axis=1)", "-jnp.inf), axis=0)"),
        ("contrastive: the temperature multiplied", "contrastive", "precision=jax.lax.Precision.HIGHEST) / temperature", "precision=jax.lax.Precision.HIGHEST) * temperature"),
        ("contrastive: an overflow", "contrastive",
         "jax.nn.logsumexp(jnp.where(counts, s, -jnp.inf), axis=1)", "jnp.log(jnp.where(counts, jnp.exp(s), 0).sum(axis=1))"),
    )),
    ("tests/commands/test_evaluate.py", (
        ("the worst of the right predictions", "confusions", "predicted != labels", "predicted == labels"),
        ("the least confident errors listed", "confusions", "np.argsort(-confidence[wrong]", "np.argsort(confidence[wrong]"),
        ("the rarest confusion first", "confusions", "np.argsort(-off[", "np.argsort(off["),
    )),
    ("parity_tests/survey/test_diffusion.py", (
        ("abar off by one", "diffusion", "bar = np.cumprod(1 - beta)\n    before", "bar = np.concatenate([[1 - 1e-6], np.cumprod(1 - beta)[:-1]])\n    before"),
        ("the variance of another distribution", "diffusion", "np.sqrt(beta * (1 - before) / (1 - bar)),\n", "np.sqrt(beta * (1 - bar) / (1 - before + 1e-9)),\n"),
        ("noise added to the image", "diffusion", "jnp.where(t[:, None, None, None] > 0, sigma * noise, 0)", "sigma * noise"),
        ("the large variance for the small", "diffusion", 'schedule.small if variance == "small" else schedule.large', "schedule.large"),
        ("posterior weights swapped", "diffusion", "_of(schedule.posterior_x0, t) * x0 + _of(schedule.posterior_xt, t) * xt", "_of(schedule.posterior_xt, t) * x0 + _of(schedule.posterior_x0, t) * xt"),
        ("a jump that keeps the network's noise", "diffusion", "eps = (xt - _of(schedule.signal, t) * x0) / _of(schedule.noise, t)", "pass"),
        ("eta squared", "diffusion", "noise = eta * np.sqrt(", "noise = eta**2 * np.sqrt("),
        ("fewer steps that end less noisy", "diffusion", "scale = 1000 / steps", "scale = 1.0"),
        ("a cosine without its offset", "diffusion", "+ 0.008) / 1.008", "+ 0.0) / 1.0"),
        ("variances in x_t", "diffusion", "_of(schedule.signal, t) * x0 + _of(schedule.noise, t) * noise", "_of(schedule.signal, t) ** 2 * x0 + _of(schedule.noise, t) ** 2 * noise"),
        ("a sum for the mean of the loss", "diffusion", ".mean(axis=(1, 2, 3))", ".sum(axis=(1, 2, 3))"),
    )),
    ("tests/objectives/test_adversarial.py", (
        ("the generator's saturating loss", "adversarial", "return jax.nn.softplus(-fake)", "return -jax.nn.softplus(fake)"),
        ("real and generated images swapped", "adversarial", "jax.nn.softplus(-real) + jax.nn.softplus(fake)", "jax.nn.softplus(real) + jax.nn.softplus(-fake)"),
    )),
))  # fmt: skip
