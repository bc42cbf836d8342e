"""Mutations of jaxvit/explain: quadratures, draws, rules, and what is shown of them."""

from parity_tests.mutation import listed

ATTRIBUTIONS = "parity_tests/explain/test_attributions.py"
INSIDE = "parity_tests/explain/test_inside.py"
COMMAND = "tests/commands/test_explain.py"
PARTS = "tests/explain/test_parts.py"

EXPLAIN = listed("jaxvit.explain", (
    ("tests/explain/test_settings.py", (
        ("occlusion's window twice as large", "methods",
         "self.image.shape[1] / 14", "self.image.shape[1] / 7"),
    )),
    (f"{COMMAND}::test_a_number_after_the_last_class_is_refused", (
        ("--target K of K classes accepted", "photos", "int(asked) < len(labels)", "int(asked) <= len(labels)"),
    )),
    (f"{COMMAND}::test_each_row_of_the_figure_has_its_own_probability", (
        ("the best class's probability for both", "photos", "{probabilities[index]:.1%}", "{probabilities[best]:.1%}"),
        ("each map drawn with a sign", "photos", "METHODS[m].signed) for m", "True) for m"),
    )),
    (f"{PARTS}::test_parts_take_turns_on_all_devices", (
        ("all parts on the first device", "parts", "in zip(cycle(places), parts, strict=False)", "in zip(cycle(places[:1]), parts, strict=False)"),
        ("each device computes a whole batch", "parts", "share = -(-batch_size // devices)", "share = batch_size"),
        ("the padding is kept", "parts", "[:count]", ""),
    )),
    (f"{PARTS}::test_each_row_is_added_once", (
        ("the first device's total alone", "parts", "sum(_together(totals, len(places)))", "_together(totals, len(places))[0]"),
        ("all totals on the first device", "parts", "turn = number % len(places)", "turn = 0"),
    )),
    (f"{PARTS}::test_what_the_caller_placed_stays_there", (
        ("placed weights are copied elsewhere", "parts", 'getattr(leaf, "committed", False)', "False"),
    )),
    (f"{PARTS}::test_results_of_a_method_are_free_to_move", (
        ("results are bound to a device", "parts",
         "[jnp.asarray(each) for each in jax.device_get(arrays)]", "[jax.device_put(each, jax.local_devices()[0]) for each in arrays]"),
    )),
    (f"{ATTRIBUTIONS}::test_attributions_are_as_close_to_float64_as_captums", (
        ("saliency keeps its sign", "saliency", "jnp.abs(found) if absolute else found", "found"),
        ("the gradient without the image", "input_times_gradient", "return images * ", "return 1 * "),
        ("the gradient of the most probable class", "score",
         "jnp.take_along_axis(function(images), targets[:, None], axis=1)[:, 0]", "function(images).max(axis=1)"),
        ("the mean of the batch's gradients", "score", "scores(function, images, targets).sum())", "scores(function, images, targets).mean())"),
        ("integrated gradients from 0", "integrated_gradients", "between = baseline + ", "between = 0 * baseline + "),
        ("integrated gradients without the difference", "integrated_gradients", "return total * (images - baselines)", "return total"),
        ("integrated gradients: steps of another example", "integrated_gradients",
         "rows % len(images), rows // len(images)", "rows % len(images), rows % steps"),
        ("integrated gradients: the last part counted twice", "integrated_gradients", "np.where(counts, weights[step], 0)", "weights[step]"),
        ("smoothgrad_sq: the square of the mean", "noise_tunnel", '"smoothgrad_sq": squares', '"smoothgrad_sq": mean * mean'),
        ("vargrad: unbiased", "noise_tunnel", "deviations / len(noise)", "deviations / (len(noise) - 1)"),
        ("the noise left out", "noise_tunnel", "attribute(images + each, targets)", "attribute(images + 0 * each, targets)"),
        ("GradientShap: the coefficient on the baseline", "gradient_shap",
         "coefficient * image + (1 - coefficient) * baseline", "(1 - coefficient) * image + coefficient * baseline"),
        ("GradientShap: the difference without noise", "gradient_shap", "* (image - baseline)", "* (images[example] - baseline)"),
        ("GradientShap: the first baseline for all", "gradient_shap", "baselines[draw.baseline[sample, example]]", "baselines[0 * draw.baseline[sample, example]]"),
        ("GradientShap: a sum of samples", "gradient_shap", "np.where(counts, 1 / samples, 0)", "np.where(counts, 1, 0)"),
        ("GradientShap: the last part counted twice", "gradient_shap", "np.where(counts, 1 / samples, 0)", "np.where(counts, 1 / samples, 1 / samples)"),
        ("occlusion: a floor of windows", "occlusion", "-(-(length - window) // stride) + 1", "(length - window) // stride + 1"),
        ("occlusion: a sum over windows", "occlusion", "(total / number)[..., None]", "total[..., None]"),
        ("occlusion: the score in place of its loss", "occlusion", "whole - occluded.reshape(windows, batch)", "occluded.reshape(windows, batch)"),
        ("occlusion: 0 for the baseline", "occlusion", "jnp.where(covered, baselines[example], images[example])", "jnp.where(covered, 0, images[example])"),
        ("occlusion: strides of columns for rows", "occlusion", "_pair(window), _pair(strides), strict", "_pair(window), _pair(strides)[::-1], strict"),
        ("DeepLIFT: gradients in place of differences", "multipliers", "jnp.where(small, gradient(given)[0], given[0] * slope)", "gradient(given)[0]"),
        ("DeepLIFT without the difference of images", "deep_lift", "(images - baselines) * found", "found"),
        ("Captum's DeepLIFT with a rule for the second in a row", "multipliers",
         "if not complete and any(each.activated for each in inputs):", "if False:"),
    )),
    (f"{ATTRIBUTIONS}::test_deep_lift_with_rules_for_all_operations_is_complete", (
        ("DeepLIFT: a product gives its part at x", "multipliers", "((each.image + each.baseline) / 2 for each in inputs)", "(each.image for each in inputs)"),
        ("DeepLIFT: a quotient gives its part at x", "multipliers", "mean = (above.image + above.baseline) / 2 if depends", "mean = above.image if depends"),
        ("DeepLIFT: a maximum of softmax of each its own", "multipliers",
         'if name == "stop_gradient":', 'if name == "stop":'),
        ("DeepLIFT: overlapping windows lose their parts", "max_pooling", "            if summed:", "            if False:"),
        ("DeepLIFT: the baseline's maximum left out", "max_pooling", "parts += self.unpool(given[0] * (to.image - most), of.baseline, summed)", "parts = parts"),
        ("DeepLIFT: smooth functions get their gradient", "multipliers", "slope = jnp.where(close, slope_there, between)", "slope = slope_there"),
    )),
    (f"{ATTRIBUTIONS}::test_overlapping_pooling_windows_lose_their_parts_as_captums_do", (
        ("Captum's rules add what overlaps", "multipliers", "gradient, eps, summed=complete)", "gradient, eps, summed=True)"),
        ("pooling gets its gradient under Captum's rules", "multipliers", 'if name == "reduce_window_max":', 'if name == "reduce_window_max" and complete:'),
    )),
    (f"{ATTRIBUTIONS}::test_200_steps_of_integrated_gradients_sum_to_the_difference", (
        ("middles of intervals off by a tenth", "quadrature", "(np.arange(steps) + 0.5) / steps", "(np.arange(steps) + 0.6) / steps"),
    )),
    (f"{ATTRIBUTIONS}::test_deep_lift_of_a_softmax_whose_maxima_are_far_apart_is_complete", (
        ("softmax's shift one maximum for image and baseline", "multipliers", 'if rules != "complete" or of.maximum_of is None:', "if True:"),
        ("softmax's shift handed back to no one", "multipliers", "given[0].reshape(shift[0].shape) * weights", "given[0].reshape(shift[0].shape) * 0 * weights"),
    )),
    (f"{ATTRIBUTIONS}::test_the_quadrature_is_captums", (
        ("Gauss-Legendre's weights for [-1, 1]", "quadrature", "weights / 2)", "weights)"),
        ("the trapezoid's ends whole", "quadrature", "weights[[0, -1]] /= 2", "weights[[0, -1]] /= 1"),
        ("the left ends for the right", "quadrature", "np.arange(1, steps + 1) / steps", "np.arange(steps) / steps"),
    )),
    (f"{ATTRIBUTIONS}::test_integrated_gradients_are_complete_and_the_delta_is_captums", (
        ("the delta without the baseline's score", "score", "(score - of_baseline)", "score"),
        ("the delta's sign", "score", "attributions.sum((1, 2, 3)) - (score", "-attributions.sum((1, 2, 3)) + (score"),
    )),
    (f"{ATTRIBUTIONS}::test_noise_differs_between_copies_and_images_and_has_its_deviation", (
        ("one noise for all copies", "noise_tunnel", "jax.random.normal(key, (samples, *shape))", "jax.random.normal(key, (1, *shape)).repeat(samples, 0)"),
        ("uniform noise of the same deviation", "noise_tunnel", "jax.random.normal(key, (samples, *shape))", "jax.random.uniform(key, (samples, *shape), minval=-(3**0.5), maxval=3**0.5)"),
        ("noise of another size", "noise_tunnel", "return stdevs * jax", "return stdevs**2 * jax"),
        ("one coefficient for all samples", "gradient_shap", "jax.random.uniform(of_coefficient, size)", "jax.random.uniform(of_coefficient, (1, 1)) + 0 * jax.random.uniform(of_coefficient, size)"),
        ("never the last baseline", "gradient_shap", "randint(of_baseline, size, 0, rows)", "randint(of_baseline, size, 0, rows - 1)"),
    )),
    (f"{ATTRIBUTIONS}::test_a_target_that_is_no_class_is_refused", (
        ("a target beyond the classes taken for the last", "score", "if not 0 <= each < logits.shape[1]]", "if each < 0]"),
        ("a negative target counted from the end", "score", "if not 0 <= each < logits.shape[1]]", "if each >= logits.shape[1]]"),
    )),
    (f"{ATTRIBUTIONS}::test_what_is_decided_by_the_image_is_refused_and_so_are_loops", (
        ("DeepLIFT: a loop's body run once", "multipliers", '"jit", "pjit", "closed_call"', '"jit", "scan", "pjit", "closed_call"'),
        ("DeepLIFT: comparisons are linear", "multipliers", '"add", "sub", "neg", "mul", "div",', '"gt", "add", "sub", "neg", "mul", "div",'),
    )),
    (f"{ATTRIBUTIONS}::test_what_cannot_be_computed_is_one_line", (
        ("parts of no image", "parts", "if batch_size < 1:", "if False:"),
        ("a batch of no image", "score", "images.ndim != 4 or not len(images)", "images.ndim != 4"),
        ("unknown rules taken for Captum's", "deep_lift", "if rules not in Rules.__args__:", "if False:"),
        ("a draw for other images", "gradient_shap", "if batch != len(images) or not samples:", "if False:"),
    )),
    (INSIDE, (
        ("Grad-CAM of layers that are recomputed apart", "grad_cam", 'if getattr(model, "remat", False):', "if False:"),
        ("a noise tunnel of arrays like the images only", "noise_tunnel", "mean = squares = deviations = 0.0", "mean = squares = deviations = 0 * images"),
        ("the largest head for the mean", "attention_map", ".mean(axis=2)", ".max(axis=2)"),
        ("attention to the class token", "attention_map", "weights[:, :, 0]", "weights[:, :, :, 0]"),
        ("registers shown as patches", "attention_map", "patches = tokens[..., leading:]", "patches = tokens[..., 1:][..., : tokens.shape[-1] - leading]"),
        ("layers in the order of their names", "attention_map", "sorted(found, key=_number)", "sorted(found)"),
        ("rollout without the residual path", "attention_rollout", "(mean + jnp.eye(mean.shape[-1])) / 2", "mean"),
        ("rollout from the last layer down", "attention_rollout", "layer @ below", "below @ layer"),
        ("rollout of the class token only", "attention_rollout", '"mean": of_patches', '"mean": rolled[:, 0]'),
        ("Grad-CAM without ReLU", "grad_cam", "jax.nn.relu((weights * maps).sum(axis=-1))", "(weights * maps).sum(axis=-1)"),
        ("Grad-CAM: gradients by position", "grad_cam", "slopes.mean(axis=(1, 2), keepdims=True)", "slopes"),
        ("Grad-CAM: the layer before the last", "grad_cam", "layers_{model.num_layers - 1}/norm1", "layers_{model.num_layers - 2}/norm1"),
        ("the class token's position compared too", "position_similarity", "positions[0, 1:]", "positions[0, :-1]"),
        ("dot products for cosines", "position_similarity", "jnp.maximum(jnp.linalg.norm(patches, axis=-1, keepdims=True), 1e-12)", "1"),
    )),
    ("parity_tests/explain/test_trust.py", (
        ("the least important pixels first", "trust", "jnp.argsort(-importance, axis=1, stable=True)", "jnp.argsort(importance, axis=1, stable=True)"),
        ("deletion for insertion", "trust", 'if kind == "deletion" else (baselines, images)', 'if True else (baselines, images)'),
        ("the logit for the probability", "trust", "jax.nn.softmax(function(shown))", "function(shown)"),
        ("the area of a sum", "trust", "np.trapezoid(probability, share, axis=1)", "probability.sum(axis=1)"),
        ("one pixel too many", "trust", "ranks[example] < number", "ranks[example] <= number"),
        ("one permutation for all keys", "trust", "jax.random.permutation(each, leaf.ravel())", "jax.random.permutation(jax.random.key(0), leaf.ravel())"),
        ("Pearson's correlation for Spearman's", "trust", "return rankdata(values, axis=1)", "return values"),
        ("a mask that is not cut like its photo", "masks", "return geometry.apply(whole)", "return geometry._replace(crop_share=1.0).apply(whole)"),
        ("the background for the object", "masks", "np.isin(values, inside), 255, 0", "np.isin(values, inside), 0, 255"),
        ("a mask of another size stretched", "masks", "values.ndim != 2 or sizes[0] != sizes[1]", "values.ndim != 2"),
        ("the least important pixel looked for", "trust", "flat.argmax(axis=1)", "flat.argmin(axis=1)"),
    )),
    (COMMAND, (
        ("the second class explained for the first", "photos", "best = int(probabilities.argmax())", "best = int(probabilities.argsort()[-2])"),
        ("the target not explained", "photos", "[best] if target in (None, best) else [best, target]", "[best]"),
        ("pixels that are not normalised explained", "photos", "normalize(pixels[None], mean, std)", "normalize(pixels[None], [0.5] * len(mean), [0.5] * len(std))"),
        ("the same seed for all runs of explain", "photos", "jax.random.key(seed)", "jax.random.key(0)"),
        ("results of another photo's name", "photos", "while name in used", "while False"),
        ("a photo that cannot be read stops explain", "photos", "            return\n", "            raise\n"),
        ("progress photo by photo", "photos", "                if any(found.values()):\n", "                if False:\n"),
        ("the last layer alone saved", "methods", "return Attribution(layers[-1], None, layers)", "return Attribution(layers[-1], None)"),
        ("methods that are not asked for", "methods", 'tuple(able) if "all" in names else', "tuple(able) if names else"),
        ("attention of the first layer shown", "methods", "return Attribution(layers[-1], None, layers)", "return Attribution(layers[0], None, layers)"),
        ("deltas of methods that promise none", "methods", "if method.complete:", "if not method.complete:"),
        ("a class's number before its name", "photos", "    if asked in labels:\n", "    if asked in labels and not asked.isdecimal():\n"),
    )),
)) + listed("jaxvit.pictures", (
    ("parity_tests/explain/test_overlays.py", (
        ("the largest value for the scale", "overlays", "0.01 * (100 - outlier_perc)", "1.0"),
        ("magnitudes of channels summed", "overlays", "summed.sum(axis=2) if", "np.abs(summed).sum(axis=2) if"),
        ("negative shown where positive is asked for", "overlays", "np.maximum(summed, 0)\n    elif", "-np.minimum(summed, 0)\n    elif"),
        ("blue for what speaks against", "overlays", "normalized[..., None] < 0, NEGATIVE, POSITIVE", "normalized[..., None] < 0, POSITIVE, NEGATIVE"),
        ("a masked grey image stays grey", "overlays", "return _rgb(image) * np", "return np.asarray(image, np.float32) * np"),
        ("a grey picture beside others", "overlays", "[_rgb(picture), white]", "[picture.astype(np.float32), white]"),
        ("an overlay without the image", "overlays", "(1 - alpha) * grey", "(1 - alpha)"),
    )),
    (f"{COMMAND}::test_the_figure_shows_each_method_scaled_by_its_own_sign", (
        ("signs dropped from the figure", "explanation", '"all" if signed else "absolute_value"', '"absolute_value"'),
        ("maps of sizes not called so", "explanation", 'name if signed else f"{name} (size, no sign)"', "name"),
        ("bars of the wrong classes", "explanation", "[probability for _, probability in classes]", "[probability for _, probability in classes[::-1]]"),
    )),
))  # fmt: skip
