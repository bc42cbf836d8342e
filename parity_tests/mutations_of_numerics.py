"""Mutations of what jaxvit computes: layers, gradients, draws, optimiser, metrics, pixels."""

from parity_tests.mutation import Mutation

LAYERS = "jaxvit.models.transformer"
ATTENTION = "jaxvit.models.multi_head_attention"
PATCHES = "jaxvit.models.patch_embedding"
LINEAR, GELU = "jaxvit.models.linear", "jaxvit.models.gelu"
NORM, DROPOUT = "jaxvit.models.layer_norm", "jaxvit.models.dropout"
BOXES, CUTMIX, MIXUP = (f"jaxvit.augment.{name}" for name in ("boxes", "cutmix", "mixup"))
GEOMETRY, NORMALIZE = "jaxvit.augment.geometry", "jaxvit.augment.normalize"
OPTIM, TARGETS, LOSSES = (
    "jaxvit.optim.optimizers",
    "jaxvit.objectives.targets",
    "jaxvit.objectives.losses",
)
METRICS, EVALUATE = "jaxvit.objectives.metrics", "jaxvit.training.evaluate"
SCHEDULES, GROUPS = "jaxvit.optim.schedules", "jaxvit.optim.groups"
BATCH_NORM, RESNET = "jaxvit.models.batch_norm", "jaxvit.models.resnet"
PLATEAU, STOPPING = "jaxvit.optim.plateau", "jaxvit.training.early_stopping"
AVERAGING = "jaxvit.optim.averaging"
GEOMETRIES, INIT = "jaxvit.data.preprocessing", "jaxvit.models.initializers"

ATTEND = "self.attn(self.norm1(x), deterministic)"
ATTENDED_TO = "        x = x + self.drop_path1(branch, deterministic)\n"
FEED = "self.mlp(self.norm2(x), deterministic)"
FED = "return x + self.drop_path2(branch, deterministic)"
DROP_HIDDEN = "        x = self.mlp_2(activation(self.mlp_0(x)), deterministic)\n"
POSITIONS = "self.embedding_drop(x + self.positional_embedding, deterministic)"
SEQUENCE = f"x = jnp.concatenate([cls_token, x], axis=1)  # (B, N, D)\n        x = {POSITIONS}"
SPLIT_HEADS = "map(heads, jnp.split(qkv, 3, axis=-1))"
ATTENDED = "_softmax_parts(scores * q.shape[-1] ** -0.5)"
SMOOTH = "optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)"
RESIZE = "image.resize((width, height), FILTERS[self.interpolation])"
CLIPPED = """        top=jnp.clip(top, 0, height),
        left=jnp.clip(left, 0, width),
        bottom=jnp.clip(top + box_height, 0, height),
        right=jnp.clip(left + box_width, 0, width),"""
UPDATE = "(m / c1) / (jnp.sqrt(v / c2) + eps)"
ADAMW, SGD = "[clip, adam, decay]", "[clip, decay, momentum]"
MOMENTUM = "optax.trace(config.momentum, config.nesterov)"
FACTOR = "own * layer_decay ** (top - group)"

# Tests that are said to see a group of mutations: they run first.
FORWARD = "parity_tests/test_certificate.py::test_claim_holds[forward]"
GRADIENTS = "parity_tests/test_certificate.py::test_claim_holds[gradients]"
MASKS = "parity_tests/test_certificate.py::test_claim_holds[dropout]"
STEPS = "parity_tests/test_certificate.py::test_claim_holds[optimiser]"
DRAWS = "parity_tests/test_certificate.py::test_claim_holds[augmentation]"
INITIAL = "parity_tests/test_certificate.py::test_claim_holds[initialisation]"
SCORES = "parity_tests/test_certificate.py::test_claim_holds[losses]"
PIXELS = "parity_tests/test_certificate.py::test_claim_holds[pixels]"
RUN = "parity_tests/test_certificate.py::test_claim_holds[training_run]"
ATTENTION_TEST = "parity_tests/test_multi_head_attention.py"
GEOMETRY_TEST = "parity_tests/test_geometry.py"
GROUPS_TEST = "tests/optim/test_groups.py"
SOUP_TEST = "parity_tests/finetune/test_soup.py"

NUMERICS = tuple(
    Mutation(*each, seen_by=test)
    for test, group in (
        (FORWARD, (
            ("Flax's LayerNorm eps", NORM, "EPSILON = 1e-5", "EPSILON = 1e-6"),
            ("norm before attention missing", LAYERS, ATTEND, ATTEND.replace("self.norm1(x)", "x")),
            ("norm before MLP missing", LAYERS, FEED, FEED.replace("self.norm2(x)", "x")),
            ("final norm missing", LAYERS, "self.norm(x[:, 0])", "x[:, 0]"),
            ("post-norm", LAYERS, ATTENDED_TO, "        x = self.norm1(x + self.attn(x, deterministic))\n"),
            ("residual missing", LAYERS, FED, FED.replace("x + ", "")),
            ("the mean of all tokens pooled", LAYERS, "x[:, 1 + self.register_tokens :].mean", "x.mean"),
            ("the mean of the patches without a norm", LAYERS, "        x = self.norm(x)\n        mean", "        mean"),
            ("registers after the patches", LAYERS, "[x[:, :1], registers, x[:, 1:]]",
         "[x[:, :1], x[:, 1:], registers]"),
            ("positions for the registers too", LAYERS, "jnp.broadcast_to(self.registers, shape)",
         "jnp.broadcast_to(self.registers, shape) + self.positional_embedding[:, :4]"),
            ("LayerScale left out", "jaxvit.models.layer_scale", "return x * ", "return x + 0 * "),
            ("LayerScale of the attention on the MLP's branch", LAYERS, "self.ls2(branch)", "self.ls1(branch)"),
            ("the exact GELU for that by tanh", LAYERS, 'gelu if self.gelu == "erf" else gelu_tanh', "gelu"),
            ("the norms of the layers always with the lab's eps", LAYERS,
         "self.norm1 = LayerNorm(self.norm_eps)", "self.norm1 = LayerNorm()"),
            ("the last norm always with the lab's eps", LAYERS,
         "self.norm = LayerNorm(self.norm_eps)", "self.norm = LayerNorm()"),
            ("q, k and v always with a bias", ATTENTION, "3 * self.embed_dim, self.qkv_bias", "3 * self.embed_dim, True"),
            ("LayerNorm's unbiased variance", NORM, "(centred * centred).mean(axis=-1, keepdims=True)",
         "x.var(axis=-1, ddof=1, keepdims=True)"),
            ("tanh GELU", GELU, "return x * _distribution(x)\n\n\n@gelu.defjvp",
         "return jax.nn.gelu(x, approximate=True)\n\n\n@gelu.defjvp"),
            ("ReLU", LAYERS, "activation(self.mlp_0(x))", "nn.relu(self.mlp_0(x))"),
            ("positions before the class token", LAYERS, SEQUENCE, """x = jnp.concatenate(
            [cls_token, x + self.positional_embedding[:, :-1]], axis=1
        )"""),
            ("positions off by one", LAYERS, "x + self.positional_embedding",
         "x + jnp.roll(self.positional_embedding, 1, axis=1)"),
            ("positions missing", LAYERS, "x + self.positional_embedding", "x"),
            ("class token last", LAYERS, "[cls_token, x], axis=1)  # (B, N, D)",
         "[x, cls_token], axis=1)[:, ::-1]"),
            ("mean pooling", LAYERS, "self.norm(x[:, 0])", "self.norm(x.mean(axis=1))"),
            ("the last token read out", LAYERS, "self.norm(x[:, 0])", "self.norm(x[:, -1])"),
            ("patches counted column by column", PATCHES, "        x = self.proj(x)  #",
         "        x = self.proj(x).swapaxes(1, 2)  #"),
            ("rows and columns swapped inside a patch", LINEAR, "x.swapaxes(2, 3).reshape(",
         "x.transpose(0, 1, 3, 4, 2, 5).reshape("),
            ("k, q, v", ATTENTION, "q, k, v = map", "k, q, v = map"),
            ("v, k, q", ATTENTION, "q, k, v = map", "v, k, q = map"),
            ("head-major qkv", ATTENTION, SPLIT_HEADS, """jnp.moveaxis(
            qkv.reshape(batch, tokens, self.num_heads, 3, head_dim), (3, 2), (0, 2)
        )"""),
            ("1/sqrt(d) missing", ATTENTION, ATTENDED, "_softmax_parts(scores)"),
            ("1/sqrt(d) twice", ATTENTION, ATTENDED, "_softmax_parts(scores * q.shape[-1] ** -1.0)"),
            ("1/sqrt(D) of the whole width", ATTENTION, ATTENDED, "_softmax_parts(scores * (q.shape[-1] * q.shape[1]) ** -0.5)"),
            ("softmax over the queries", ATTENTION, ATTENDED,
         "jax.nn.softmax(scores * q.shape[-1] ** -0.5, axis=-2), 1.0"),
            ("heads joined the other way round", ATTENTION, "out.swapaxes(1, 2).reshape(batch,",
         "out.transpose(0, 2, 3, 1).reshape(batch,"),
        )),
        (GRADIENTS, (
            ("LayerNorm's gradient without its variance", NORM, " - h * along)", ")"),
            ("GELU's gradient without its density", GELU, "(_distribution(x) + x * density) * dx",
         "_distribution(x) * dx"),
            ("no gradient through softmax's sums", ATTENTION, "exps.sum(axis=-1, keepdims=True)",
         "jax.lax.stop_gradient(exps.sum(axis=-1, keepdims=True))"),
            ("smoothing with K - 1", TARGETS, SMOOTH, "(1.0 - label_smoothing) * jax.nn.one_hot(labels, num_classes) + label_smoothing / (num_classes - 1)"),
            ("smoothing that adds mass", TARGETS, SMOOTH, "jax.nn.one_hot(labels, num_classes) + label_smoothing / num_classes"),
            ("loss divided by K", LOSSES, "(targets * shifted).sum(", "(targets * shifted).mean("),
            ("softmax over the batch", LOSSES, "jnp.exp(shifted).sum(axis=-1)",
         "jnp.exp(shifted).sum(axis=0).mean()"),
        )),
        (ATTENTION_TEST, (
            ("a softmax that overflows", ATTENTION, "jnp.exp(scores - top)", "jnp.exp(scores)"),
        )),
        (MASKS, (
            ("dropout on attention", LAYERS, ATTEND, f"self.mlp_4({ATTEND}, deterministic)"),
            ("the attention weights never dropped", ATTENTION, "self.attention_dropout > 0 and", "False and"),
            ("the projection never dropped", ATTENTION, "return self.proj_drop(out, deterministic)", "return out"),
            ("the tokens never dropped", LAYERS, POSITIONS, "x + self.positional_embedding"),
            ("the rate after GELU always that of the MLP", LAYERS,
         "self.dropout if after_gelu is None else after_gelu", "self.dropout"),
            ("no branch dropped", "jaxvit.models.drop_path", "jnp.where(kept, x / (1 - self.rate), 0)", "x"),
            ("one rate of stochastic depth for all layers", "jaxvit.models.drop_path", "rate * number / max(1, layers - 1)", "rate"),
            ("dropout scaled wrongly", LAYERS, DROP_HIDDEN, DROP_HIDDEN
         + "        x = x if deterministic else x * (1 - self.dropout)\n"),
            ("second dropout missing", LAYERS,
         "self.mlp_4(self.mlp_3(x), deterministic)", "self.mlp_3(x)"),
            ("half the dropout rate", LAYERS, " = Dropout(self.dropout)",
         " = Dropout(self.dropout / 2)"),
            ("one dropout mask for all examples", DROPOUT, "x.shape, 1 - self.rate",
         "x.shape[1:], 1 - self.rate"),
            ("the same dropout mask at every call", DROPOUT, 'self.make_rng("dropout")',
         "jax.random.key(0)"),
        )),
        (RUN, (
            ("the same draws at every step", "jaxvit.training.steps",
         "jax.random.fold_in(jax.random.key(seed), step)", "jax.random.key(seed)"),
        )),
        ("tests/models/test_linear.py", (
            ("biases in bfloat16", LINEAR,
         "return y if bias is None else y + bias",
         "return y if bias is None else (y.astype(dtype) + bias.astype(dtype)).astype(jnp.float32)"),
        )),
        (STEPS, (
            ("optax's weight decay", "jaxvit.config.optim", "weight_decay: float | None = option(0.01",
         "weight_decay: float | None = option(1e-4"),
            ("Adam eps of 1e-6", OPTIM, UPDATE, UPDATE.replace("+ eps", "+ 1e-6")),
            ("Adam eps inside the root", OPTIM, UPDATE, "(m / c1) / jnp.sqrt(v / c2 + eps)"),
            ("no bias correction", OPTIM, UPDATE, "m / (jnp.sqrt(v) + eps)"),
            ("bias correction of the mean only", OPTIM, UPDATE, "(m / c1) / (jnp.sqrt(v) + eps)"),
            ("bias correction one step early", OPTIM, "count * math.log(decay)",
         "(count + 1) * math.log(decay)"),
            ("optax's rounding of the bias correction", OPTIM,
         "-jnp.expm1(count * math.log(decay))", "1 - jnp.float32(decay) ** count"),
            ("decay applied to the gradient", OPTIM, ADAMW, "[clip, decay, adam]"),
            ("clipping after Adam", OPTIM, ADAMW, "[adam, clip, decay]"),
            ("Nesterov ignored", OPTIM, MOMENTUM, "optax.trace(config.momentum)"),
            ("momentum with dampening", OPTIM, MOMENTUM, "optax.ema(config.momentum, debias=False)"),
            ("momentum ignored", OPTIM, MOMENTUM, "None"),
            ("decay of SGD decoupled", OPTIM, SGD, "[clip, momentum, decay]"),
            ("decay of SGD before clipping", OPTIM, SGD, "[decay, clip, momentum]"),
            ("AdamW for SGD", OPTIM, 'if config.name == "adamw"', "if True"),
            ("decay not multiplied by the layer's rate", OPTIM,
         "parts.append(scale_by_group(", "parts.insert(2, scale_by_group("),
            ("gamma applied one period late", SCHEDULES, "drops = [k * period for", "drops = [(k + 1) * period for"),
            ("a layer's power off by one", GROUPS, FACTOR, "own * layer_decay ** (top + 1 - group)"),
            ("the head's rate forgotten", GROUPS, FACTOR, "layer_decay ** (top - group)"),
            ("decay mask ignored", OPTIM, "optax.add_decayed_weights(rate, mask)",
         "optax.add_decayed_weights(rate)"),
            ("warm-up that starts at 0", SCHEDULES, "first = config.lr / warmup",
         "first = 0.0"),
            ("cosine over the warm-up too", SCHEDULES, "max(1, total_steps - warmup)",
         "total_steps"),
        )),
        ("parity_tests/test_certificate.py::test_claim_holds[schedules]", (
            ("cycles of one length", SCHEDULES, "lengths[-1] * config.restart_factor", "lengths[-1]"),
            ("restarts one step early", SCHEDULES, "math.ceil(start) for start in starts], np.int32)\n    before",
         "math.ceil(start) - 1 for start in starts], np.int32)\n    before"),
            ("exponential in steps", SCHEDULES, "return of_period(step) * jnp.exp(passed * math.log(config.gamma))",
         "return of_period(step)"),
            ("milestones as they were given", SCHEDULES, "sorted(config.milestones)", "config.milestones"),
            ("milestones in steps", SCHEDULES, "[_steps(epochs, steps_per_epoch) for", "[Fraction(epochs) for"),
            ("the peak of a cycle one step late", SCHEDULES, "max(1, warmup - 1), max(2", "max(1, warmup), max(2"),
            ("a cycle that ends where it began", SCHEDULES, "end = low / config.cycle_end", "end = low"),
            ("a cycle that begins at its peak", SCHEDULES, "low = config.lr / config.cycle_start", "low = config.lr"),
            ("plateau with the wrong sign", PLATEAU, "value > best * (1 + threshold) if rises else value < best",
         "value < best * (1 + threshold) if rises else value > best"),
            ("the threshold of a plateau ignored", PLATEAU, "value < best * (1 - threshold)", "value < best"),
            ("a plateau's drop one validation early", PLATEAU, "if bad > patience:", "if bad >= patience:"),
            ("cooldown ignored", PLATEAU, "drops + 1, 0, cooldown", "drops + 1, 0, 0"),
            ("one drop at most", PLATEAU, "drops, bad, cooling = drops + 1", "drops, bad, cooling = 1"),
            ("the least improvement ignored", STOPPING, "gain > min_delta", "gain > 0"),
            ("early stopping with the wrong sign", STOPPING, "value - best if rises else best - value",
         "best - value if rises else value - best"),
            ("stopped one validation late", STOPPING, "if waited >= patience:", "if waited > patience:"),
            ("stopped by validations that are not in a row", STOPPING, "best, waited = value, 0",
         "best, waited = value, waited"),
        )),
        ("parity_tests/test_resnet.py", (
            ("biased running variance", BATCH_NORM, "batch_var * (n / max(1, n - 1))", "batch_var"),
            ("momentum the wrong way round", BATCH_NORM, "(1 - m) * mean.value + m * batch_mean",
         "m * mean.value + (1 - m) * batch_mean"),
            ("variance about zero", BATCH_NORM, "jnp.square(x - batch_mean)", "jnp.square(x)"),
            ("running statistics in training", BATCH_NORM, "        if deterministic:", "        if True:"),
            ("a device's own mean", BATCH_NORM, "batch_mean = self._over_devices(x.mean(axes))", "batch_mean = x.mean(axes)"),
            ("n of one device", BATCH_NORM, "n = x.size // channels * devices", "n = x.size // channels"),
            ("no norm in the shortcut", RESNET, "x = self.downsample_1(self.downsample_0(x), deterministic)",
         "x = self.downsample_0(x)"),
            ("the sum before the second norm", RESNET, "return nn.relu(y + x)", "return nn.relu(y) + x"),
            ("a pool in the small stem", RESNET, 'if self.stem == "imagenet":', "if True:"),
        )),
        ("tests/optim/test_plateau.py", (
            ("the rate of a plateau never lowered", PLATEAU, "lambda x: x * state.scale", "lambda x: x"),
            ("the scale of a plateau forgotten", PLATEAU, "updates), state\n", "updates), PlateauState(jnp.ones(()))\n"),
            ("plateau without a scale", OPTIM, '        parts.append(scale_by_plateau())', "        pass"),
        )),
        (GROUPS_TEST, (
            ("gamma applied one step late", SCHEDULES, 'side="right"', 'side="left"'),
            ("gamma applied once", SCHEDULES, "config.gamma**k", "config.gamma ** min(k, 1)"),
            ("epochs of whole steps", SCHEDULES, "return epochs * steps_per_epoch",
         "return epochs * math.ceil(steps_per_epoch)"),
            ("no warm-up before steps of the rate", SCHEDULES, "return lambda step: schedule(step) * jnp.minimum(1, (step + 1) / warmup)",
         "return schedule"),
            ("the head's rate for the norm too", GROUPS, '_names(path)[0] == "head" else',
         '_names(path)[0] in ("norm", "head") else'),
            ("the embeddings' rate that of the first layer", GROUPS, "            return 0\n", "            return 1\n"),
            ("layers counted among the trained ones", GROUPS,
         "return 1 + max(map(_layer, _paths(params)), default=-1)",
         "return len({_layer(path) for path in _paths(params)} - {-1})"),
            ("one layer more frozen", GROUPS, "not 0 <= _layer(path) < layers", "not 0 <= _layer(path) <= layers"),
            ("the embeddings not frozen with the layers", GROUPS, "path[0] not in EMBEDDINGS and", ""),
            ("the norm frozen with the layers", GROUPS, "path[0] not in EMBEDDINGS and",
         'path[0] not in (*EMBEDDINGS, "norm") and'),
            ("the norm trained with the head", GROUPS, 'return path[0] == "head"',
         'return path[0] in ("norm", "head")'),
            ("more layers frozen than there are", "jaxvit.config.run", "layers <= self.model.num_layers", "True"),
        )),
        (SOUP_TEST, (
            ("a soup of the sum", AVERAGING, "(total / len(trees))", "total"),
            ("a soup summed in float32", AVERAGING, "first.astype(np.float64)", "first.astype(np.float32)"),
            ("a soup in the first weights", AVERAGING, "first.astype(np.float64)", "first"),
            ("integers of a soup averaged", AVERAGING,
         "if not jnp.issubdtype(first.dtype, jnp.floating):", "if False:"),
            ("bfloat16 of a soup taken from the first", AVERAGING,
         "jnp.issubdtype(first.dtype, jnp.floating)", "np.issubdtype(first.dtype, np.floating)"),
            ("a greedy soup of everything", AVERAGING, "if found >= best:", "if True:"),
            ("a greedy soup that must get better", AVERAGING, "if found >= best:", "if found > best:"),
            ("a greedy soup compared with the first alone", AVERAGING,
         "(*indices, index), found\n", "(*indices, index), best\n"),
            ("a greedy soup of the last candidate alone", AVERAGING,
         "for i in (*indices, index)]", "for i in (index,)]"),
        )),
        (DRAWS, (
            ("lam not recomputed after clipping", BOXES, CLIPPED, """        top=top,
        left=left,
        bottom=top + box_height,
        right=left + box_width,"""),
            ("box sides rounded to nearest", CUTMIX, "return jnp.int32(jnp.floor(height * ratio))",
         "return jnp.int32(jnp.round(height * ratio))"),
            ("box side lam instead of its root", CUTMIX, "ratio = jnp.sqrt(1 - lam)", "ratio = 1 - lam"),
            ("rows and columns of the box swapped", BOXES, "in_rows[..., :, None] & in_columns[..., None, :]",
         "(in_rows[..., :, None] & in_columns[..., None, :]).swapaxes(-1, -2).reshape("
         "*box.top.shape, height, width)"),
            ("centres that keep the box inside", BOXES, "0, height) - box_height // 2",
         "0, jnp.maximum(height - box_height, 1))"),
            ("partner from the mixed batch", CUTMIX, "targets[partner]\n",
         "(lam * targets + (1 - lam) * targets[partner])[partner]\n"),
            ("CutMix targets by the share cut", CUTMIX, "lam = (1 - box.area", "lam = (box.area"),
            ("one lam for a batch of CutMix", CUTMIX, "jax.random.beta(key_lam, alpha, alpha, (batch_size,))",
         "jnp.broadcast_to(jax.random.beta(key_lam, alpha, alpha), (batch_size,))"),
            ("CutMix for whole batches with p", CUTMIX, "jax.random.bernoulli(key_p, p, (batch_size,))",
         "jax.random.bernoulli(key_p, p)"),
            ("no partner but oneself", CUTMIX, "jax.random.permutation(key_partner, batch_size)",
         "jnp.arange(batch_size)"),
            ("always the neighbour as partner", MIXUP, "jax.random.permutation(key_partner, batch_size)",
         "jnp.roll(jnp.arange(batch_size), 1)"),
            ("Mixup targets the other way round", MIXUP, "targets = lam * targets + (1 - lam) * targets[partner]",
         "targets = (1 - lam) * targets + lam * targets[partner]"),
            ("Mixup lam folded above a half", MIXUP, "lam=jax.random.beta(key_lam, alpha, alpha),",
         "lam=(lambda lam: jnp.maximum(lam, 1 - lam))(jax.random.beta(key_lam, alpha, alpha)),"),
            ("uniform crop ratio instead of log-uniform", GEOMETRY,
         "aspect = jnp.exp(jax.random.uniform(key_ratio, shape, minval=log_low, maxval=log_high))",
         "aspect = jax.random.uniform(key_ratio, shape, minval=ratio[0], maxval=ratio[1])"),
        )),
        (PIXELS, (
            ("mean and std swapped", NORMALIZE, "(scaled - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)",
         "(scaled - jnp.asarray(std, jnp.float32)) / jnp.asarray(mean, jnp.float32)"),
            ("channels in BGR order", NORMALIZE, "jnp.asarray(mean, jnp.float32)",
         "jnp.asarray(mean[::-1], jnp.float32)"),
            ("bytes over 256", NORMALIZE, "/ 255.0", "/ 256.0"),
            ("resize without antialias", GEOMETRIES, RESIZE, """image.transform(
                (width, height),
                Image.Transform.AFFINE,
                (image.width / width, 0, 0, 0, image.height / height, 0),
                FILTERS[self.interpolation],
            )"""),
            ("bicubic resize", GEOMETRIES, '"bilinear": Image.Resampling.BILINEAR', '"bilinear": Image.Resampling.BICUBIC'),
            ("bilinear resize whatever is asked", GEOMETRIES, '"bicubic": Image.Resampling.BICUBIC', '"bicubic": Image.Resampling.BILINEAR'),
            ("the longer side resized", GEOMETRIES, "short = min(", "short = max("),
            ("the longer side rounded", GEOMETRIES, "int(target * side / short)", "round(target * side / short)"),
            ("the size before the crop rounded up", GEOMETRIES, "math.floor(", "math.ceil("),
            ("a crop from the corner", GEOMETRIES, "round((side - self.size) / 2)", "0 * side"),
        )),
        (GEOMETRY_TEST, (
            ("crop off by half a pixel", GEOMETRY, "(2 * places + 1) * outputs - (2 * targets + 1) * length",
         "(2 * places) * outputs - (2 * targets) * length"),
            ("reduced crops without antialiasing", GEOMETRY, "outputs if inputs <= outputs else jnp.maximum(outputs, length)", "outputs"),
            ("flip upside down", GEOMETRY, "images[:, :, ::-1]", "images[:, ::-1]"),
        )),
        (INITIAL, (
            ("Xavier instead of PyTorch's", INIT, "bound = fan_in**-0.5", "bound = (3 / fan_in) ** 0.5"),
            ("zero biases", INIT, '''return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.zeros


def head_kernel_init''', '''return nn.initializers.zeros


def head_kernel_init'''),
            ("tokens of std .01", INIT, "normal(0.02)", "normal(0.01)"),
        )),
        (SCORES, (
            ("macro over all classes", METRICS, "scores[present].mean()", "scores.mean()"),
            ("macro over the classes of the labels", METRICS, "present = actual + predicted > 0",
         "present = actual > 0"),
            ("precision and recall swapped", METRICS, '"precision_macro": macro(hits, predicted)',
         '"precision_macro": macro(hits, actual)'),
            ("ten bins of confidence", METRICS, "NUM_BINS = 15", "NUM_BINS = 10"),
            ("a tie goes to the last class", METRICS, "jnp.argmax(logits, axis=-1).astype(jnp.int32)",
         "(logits.shape[-1] - 1 - jnp.argmax(logits[:, ::-1], axis=-1)).astype(jnp.int32)"),
            ("last short batch dropped", EVALUATE, "range(0, len(split), batch_size)",
         "range(0, len(split) - batch_size + 1, batch_size)"),
            ("padding counted", EVALUATE, "mask = rows < len(split)", "mask = rows >= 0"),
        )),
    )
    for each in group
)  # fmt: skip
