"""Mutations of jaxvit/interop: how weights of other libraries are read and written."""

from parity_tests.mutation import listed

INTEROP_FORMATS = listed("jaxvit.interop", (
    ("parity_tests/test_transformer.py::test_a_foreign_name_is_refused_and_the_first_is_named", (
        ("the beginning of a name compared", "torch_weights", "OURS.fullmatch(name)", "OURS.match(name)"),
    )),
    ("tests/commands/test_bad_places.py", (
        ("weights left beside those that are read first", "save", "if not is_file and others:", "if False:"),
        ("any name a directory", "save",
         "if not is_file and path.suffix.lower() in", "if False and path.suffix.lower() in"),
        ("foreign configurations taken for well formed", "settings",
         "(AttributeError, TypeError, ValueError, KeyError, IndexError)", "(MemoryError,)"),
        ("layers without end", "model_shape", "if max(present, default=0) >= MAX_LAYERS:", "if False:"),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_logits_and_gradients_are_transformers", (
        ("k and v swapped in Hugging Face's layout", "hugging_face",
         '("query", "key", "value")', '("query", "value", "key")'),
        ("the two norms of a layer swapped in Hugging Face's layout", "hugging_face",
         '("layernorm_before", "layernorm_after")', '("layernorm_after", "layernorm_before")'),
        ("eps of 1e-6 for Hugging Face's 1e-12", "foreign_config", 'config.get("layer_norm_eps")', "1e-6"),
        ("place holders taken for class names", "foreign_config",
         "names = None  # transformers' place holders", "pass"),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_logits_and_gradients_are_transformers", (
        ("the two LayerScales of Dinov2 swapped", "hugging_face",
         '*scale(LAYER + "ls1", f"{layer}.layer_scale1.lambda1"),\n'
         '            *scale(LAYER + "ls2", f"{layer}.layer_scale2.lambda1"),',
         '*scale(LAYER + "ls1", f"{layer}.layer_scale2.lambda1"),\n'
         '            *scale(LAYER + "ls2", f"{layer}.layer_scale1.lambda1"),'),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[layouts]", (
        ("registers of Dinov2 not written", "hugging_face",
         '"layer_scale", "registers"})', '"layer_scale"})'),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_resized_positions_are_those_of_transformers", (
        ("the class token alone for Dinov2's classifier", "load",
         '("both" if shape.features == 2 * shape.embed_dim else "cls")', '"cls"'),
        ("registers antialiased in no model", "hugging_face",
         '"bicubic_antialias" if registers else "bicubic"', '"bicubic"'),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_the_lineage_is_preferred_to_a_preprocessor_that_contradicts_it", (
        ("a preprocessor believed against the lineage", "settings",
         'settings.add({what: ours}, f"the family {lineage.name}")', "pass"),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_preprocessing_and_class_names_come_from_the_files_beside", (
        ("class names in the order of their keys as text", "foreign_config",
         "sorted(names, key=int)", "sorted(names, reverse=True)"),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_transformers_reads_the_directory_by_itself", (
        ("GELU not told to transformers", "hugging_face_form",
         '"hidden_act": ACTIVATIONS[config.gelu]', '"hidden_act": "gelu"'),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_transformers_preprocesses_as_the_directory_says", (
        ("no centre crop told to transformers", "hugging_face_form",
         '"do_center_crop": True', '"do_center_crop": False'),
    )),
    ("parity_tests/interop/test_google.py::test_timm_reads_the_file_that_is_written", (
        ("k and v swapped in Google's layout", "google",
         "(\"query\", \"key\", \"value\"))\n\nLAYOUT", "(\"query\", \"value\", \"key\"))\n\nLAYOUT"),
    )),
    ("parity_tests/interop/test_google.py::test_what_google_wrote_is_written_again_to_the_bit", (
        ("channels before heads in Google's kernels", "google",
         "np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1)",
         "np.concatenate([a.swapaxes(1, 2).reshape(len(a), -1) for a in arrays], axis=1)"),
        ("the output projection with channels before heads", "google",
         "arrays[0].reshape(-1, arrays[0].shape[-1])", "arrays[0].swapaxes(0, 1).reshape(-1, arrays[0].shape[-1])"),
    )),
    ("parity_tests/interop/test_google.py::test_logits_and_gradients_are_those_of_timms_reader", (
        ("eps of 1e-5 for Google's 1e-6", "google", 'Habits(1e-6, "tanh"', 'Habits(1e-5, "tanh"'),
        ("ImageNet's mean for Google", "google",
         '"tanh", (0.5,) * 3, (0.5,) * 3', '"tanh", (0.485, 0.456, 0.406), (0.5,) * 3'),
        ("ImageNet's std for Google", "google",
         '"tanh", (0.5,) * 3, (0.5,) * 3', '"tanh", (0.5,) * 3, (0.229, 0.224, 0.225)'),
        ("erf GELU for Google's weights", "google", 'Habits(1e-6, "tanh"', 'Habits(1e-6, "erf"'),
        ("stacked layers in reverse order", "google", "enumerate(array)", "enumerate(array[::-1])"),
        ("big_vision's second norm for the first", "google",
         '"LayerNorm_1/": "LayerNorm_2/"', '"LayerNorm_1/": "LayerNorm_0/"'),
        ("zeros appended instead of prepended where there is no place for the class token", "reading",
         "np.concatenate([np.zeros_like(array[:, :1]), array], axis=1)",
         "np.concatenate([array, np.zeros_like(array[:, :1])], axis=1)"),
    )),
    ("parity_tests/interop/test_google.py::test_pre_logits_are_dropped_with_the_head_that_needs_them", (
        ("the head kept without the pre_logits that it needs", "load",
         "if reading.pre_logits and shape.num_classes and keep_head:", "if False:"),
    )),
    ("parity_tests/interop/test_lukemelas.py::test_the_library_reads_the_file_that_is_written", (
        ("q and k swapped in lukemelas's layout", "lukemelas", 'for name in "qkv"', 'for name in "kqv"'),
    )),
    ("parity_tests/interop/test_lukemelas.py::test_logits_and_gradients_are_the_librarys", (
        ("the three kernels joined after transposing", "layout",
         "lambda arrays: np.concatenate(arrays).T, lambda",
         "lambda arrays: np.concatenate([a.T for a in arrays]).reshape(len(arrays[0]), -1), lambda"),
    )),
    ("parity_tests/interop/test_lukemelas.py::test_logits_and_gradients_are_the_librarys", (
        ("eps of 1e-5 for lukemelas's 1e-6", "lukemelas", 'Habits(1e-6, "erf"', 'Habits(1e-5, "erf"'),
        ("ImageNet's mean for lukemelas", "lukemelas",
         '"erf", (0.5,) * 3, (0.5,) * 3', '"erf", (0.485, 0.456, 0.406), (0.5,) * 3'),
        ("ImageNet's std for lukemelas", "lukemelas",
         '"erf", (0.5,) * 3, (0.5,) * 3', '"erf", (0.5,) * 3, (0.229, 0.224, 0.225)'),
    )),
    ("parity_tests/interop/test_lab.py::test_a_state_dict_of_the_twin_is_read", (
        ("eps of 1e-6 for the lab's 1e-5", "lab", 'Habits(1e-5, "erf"', 'Habits(1e-6, "erf"'),
    )),
    ("parity_tests/interop/test_lab.py::test_the_twin_reads_the_file_that_is_written", (
        ("the lab's kernels not transposed", "lab", "2: TRANSPOSED, 4: CONV", "2: SAME, 4: CONV"),
        ("norms of patches unknown to the lab's layout", "lab", "(*TIMM.entries, *PATCH_NORMS)", "TIMM.entries"),
    )),
    ("parity_tests/interop/test_timm.py::test_a_family_is_prepared_as_timm_says", (
        ("AugReg's mean and std for DeiT", "known_models",
         '"DeiT", r"(^|[^a-z])deit([^a-z]|$)", _images(*IMAGENET,',
         '"DeiT", r"(^|[^a-z])deit([^a-z]|$)", _images(HALF, HALF,'),
        ("AugReg's mean and std for DINOv2", "known_models",
         '(^|_)vit[sblg]14",\n        _images(*IMAGENET,', '(^|_)vit[sblg]14",\n        _images(HALF, HALF,'),
        ("ImageNet's mean for AugReg", "known_models", "_images(HALF, HALF,", "_images(IMAGENET_MEAN, HALF,"),
        ("ImageNet's std for AugReg", "known_models", "_images(HALF, HALF,", "_images(HALF, IMAGENET_STD,"),
    )),
    ("parity_tests/interop/test_torchvision.py::test_logits_and_gradients_are_torchvisions", (
        ("k and v swapped in torchvision's layout", "torchvision",
         'self_attention.in_proj_weight",), TRANSPOSED)',
         'self_attention.in_proj_weight",), TRANSPOSED._replace(to_ours=lambda arrays: (lambda t, d: '
         't[:, [*range(d), *range(2 * d, 3 * d), *range(d, 2 * d)]])(arrays[0].T, arrays[0].shape[1])))'),
        ("torchvision's q, k and v ordered by head", "torchvision",
         'self_attention.in_proj_weight",), TRANSPOSED)',
         'self_attention.in_proj_weight",), TRANSPOSED._replace(to_ours=lambda arrays: arrays[0].T.reshape('
         'arrays[0].shape[1], 5, 3, -1).swapaxes(1, 2).reshape(arrays[0].T.shape)))'),
        ("eps of 1e-5 for torchvision's 1e-6", "torchvision", 'Habits(1e-6, "erf"', 'Habits(1e-5, "erf"'),
        ("tanh GELU for torchvision", "torchvision", 'Habits(1e-6, "erf"', 'Habits(1e-6, "tanh"'),
        ("the two layers of the MLP under one name in old files", "torchvision",
         "(r\"\\.mlp\\.linear_2\\.\", \".mlp.3.\")", "(r\"\\.mlp\\.linear_2\\.\", \".mlp.2.\")"),
        ("mean and std of AugReg for torchvision", "torchvision",
         'IMAGENET_MEAN, IMAGENET_STD, "short_side"', '(0.5,) * 3, (0.5,) * 3, "short_side"'),
    )),
    ("parity_tests/interop/test_torchvision.py::test_resized_positions_are_torchvisions", (
        ("torchvision's positions resized as timm's", "torchvision", '"bicubic_aligned"', '"bicubic_antialias"'),
    )),
    ("parity_tests/interop/test_torchvision.py::test_the_large_model_has_an_evaluation_of_its_own", (
        ("ViT-L/16 evaluated as ViT-B/16", "known_models", "224 / 242", "224 / 256"),
    )),
    ("parity_tests/interop/test_timm.py::test_what_timm_wrote_is_written_again_to_the_bit", (
        ("LayerScale of a file left out", "reading", '"layer_scale": shape.layer_scale,', '"layer_scale": False,'),
    )),
    ("parity_tests/interop/test_timm.py::test_timm_reads_the_directory_by_itself", (
        ("the two LayerScales swapped", "timm",
         '*scale(LAYER + "ls1", "blocks.{i}.ls1.gamma")', '*scale(LAYER + "ls1", "blocks.{i}.ls2.gamma")'),
        ("the patch kernel with rows and columns swapped", "layout",
         "CONV_TO_OURS, CONV_TO_THEIRS = (2, 3, 1, 0), (3, 2, 0, 1)",
         "CONV_TO_OURS, CONV_TO_THEIRS = (3, 2, 1, 0), (3, 2, 1, 0)"),
        ("the position of the class token dropped from official registers", "timm",
         "if not slot.view(np.uint32).any():", "if True:"),
        ("timm not told of the crop", "timm_form", '"crop_pct": geometry.crop_share', '"crop_pct": 1.0'),
    )),
    ("parity_tests/interop/test_timm.py::test_logits_and_gradients_are_timms", (
        ("a linear layer not transposed", "layout",
         "TRANSPOSED = Transform(lambda arrays: arrays[0].T,", "TRANSPOSED = Transform(lambda arrays: arrays[0],"),
        ("eps of 1e-5 for timm's 1e-6", "timm", 'Habits(1e-6, "erf"', 'Habits(1e-5, "erf"'),
    )),
    ("parity_tests/interop/test_timm.py::test_a_directory_in_timms_form_gives_preprocessing_and_class_names", (
        ("class names shifted by one", "foreign_config",
         'pretrained.get("label_names")', '(lambda n: n and n[1:] + n[:1])(pretrained.get("label_names"))'),
    )),
    ("parity_tests/interop/test_timm.py::test_resized_positions_are_those_of_timms_own_loading", (
        ("the preprocessing keeps the old size", "pretrained",
         "geometry = pretrained.preprocessing.geometry._replace(size=img_size)",
         "geometry = pretrained.preprocessing.geometry"),
    )),
    ("parity_tests/interop/test_positions.py::test_every_method_equals_the_librarys_in_float64", (
        ("positions transposed", "positions", '"ia,jb,abd->ijd"', '"ia,jb,abd->jid"'),
        ("the class token's position resized with the others", "positions",
         "first, rest = positions[:, :1], positions[0, 1:]", "first, rest = positions[:, 1:2], positions[0, 1:]"),
        ("a of -1/2 for torch's -3/4", "positions", "left + tap), -0.75)", "left + tap), -0.5)"),
        ("a of -3/4 for the antialiased -1/2", "positions", "/ width, -0.5)", "/ width, -0.75)"),
        ("the filter not widened when the grid shrinks", "positions", "width = max(scale, 1.0)", "width = 1.0"),
        ("corners aligned for half-pixel centres", "positions",
         "(np.arange(new) + 0.5) * (old / new) - 0.5, old)", "_aligned(old, new), old)"),
    )),
    ("tests/interop/test_bad_weights.py::test_weights_that_are_not_finite_are_named", (
        ("NaN not noticed", "tensors", "if not finite.all():", "if False:"),
    )),
    ("parity_tests/interop/test_hugging_face.py::test_a_backbone_without_prefix_loses_its_pooler_and_says_so", (
        ("a dropped tensor not reported", "reading",
         'rows[name] = Row(tensor.original, tensor.array.shape, f"dropped: {reason}")', "pass"),
    )),
    ("tests/interop/test_bad_weights.py::test_an_extra_tensor_is_named", (
        ("an unknown tensor ignored", "reading", "        if reason is None:\n", "        if False:\n"),
    )),
    ("tests/interop/test_bad_weights.py::test_a_wrong_shape_is_named", (
        ("a wrong shape not noticed", "reading", "if part.array.shape != dims and", "if False and"),
    )),
    ("tests/interop/test_bad_weights.py::test_a_distilled_deit_is_refused", (
        ("a distilled DeiT loaded as a plain one", "layout",
         "return next((why for pattern, why in patterns if re.fullmatch(pattern, name)), None)",
         'return next((why for pattern, why in patterns if "distilled" not in why and re.fullmatch(pattern, name)), None)'),
    )),
    ("tests/interop/test_bad_weights.py::test_an_npz_with_objects_is_never_executed", (
        ("objects in npz unpickled", "weights_file", "allow_pickle=False", "allow_pickle=True"),
    )),
    ("tests/interop/test_bad_weights.py::test_another_number_of_classes_makes_a_head_of_zeros_and_says_so", (
        ("a head of ones for zeros", "pretrained",
         "kernel = np.zeros((features_of(config), num_classes), np.float32)",
         "kernel = np.ones((features_of(config), num_classes), np.float32)"),
        ("class names kept for another head", "pretrained",
         "        class_names=None,\n", "        class_names=pretrained.class_names or (\"a\",),\n"),
        ("a dropped head not reported", "pretrained",
         "row._replace(fate=f\"dropped: {why or asked + ' asked for'}\", ours=None)", "row"),
    )),
    ("tests/interop/test_bad_weights.py::test_another_size_resizes_and_says_so", (
        ("a resized tensor reported as loaded", "pretrained", "row._replace(fate=row.fate + fate)", "row"),
    )),
    ("tests/interop/test_bad_weights.py::test_options_of_a_command_line", (
        ("class names on the command line taken for numbers", "settings",
         'read = str if name == "class_names" else _number', "read = _number"),
        ("the last of two equal options taken", "settings", "        if name in found:\n            raise", "        if False:\n            raise"),
    )),
    ("tests/interop/test_bad_weights.py::test_heads_and_options", (
        ("heads assumed for every width", "settings", "if embed_dim % HEAD_SIZE == 0:", "if True:"),
    )),
    ("tests/interop/test_bad_weights.py::test_preparations_of_transformers_that_are_not_ours_are_refused", (
        ("an unknown filter of transformers ignored", "foreign_config",
         "PILLOW_FILTERS.get(resample, resample)", "PILLOW_FILTERS.get(resample)"),
        ("images that are not resized resized in silence", "foreign_config",
         'if values.get("do_resize") is False:', "if False:"),
        ("pixels that are not divided by 255 divided in silence", "foreign_config",
         "or not math.isclose(factor, 1 / 255, rel_tol=1e-4):", "and False:"),
    )),
    ("tests/interop/test_bad_weights.py::test_preparations_of_timm_that_are_not_ours_are_refused", (
        ("an unknown crop of timm's taken for the centre", "foreign_config",
         "CROP_MODES.get(mode, mode)", 'CROP_MODES.get(mode, "short_side")'),
    )),
    ("tests/interop/test_save.py::test_what_a_layout_cannot_express_is_refused_in_one_line", (
        ("LayerScale dropped when it cannot be written", "save",
         'if config.layer_scale and "layer_scale" not in layout.parts:', "if False:"),
    )),
    ("tests/interop/test_save.py::test_readers_with_other_habits_are_warned_of", (
        ("no warning of another GELU", "save",
         "        \"gelu\": config.gelu,\n", "        \"gelu\": habits[\"gelu\"],\n"),
        ("no warning of other preprocessing", "save",
         "        \"mean\": preprocessing.mean,\n", "        \"mean\": habits[\"mean\"],\n"),
    )),
    ("tests/interop/test_save.py::test_places_where_nothing_can_be_written", (
        ("weights of a run overwritten", "save", "if run := inside_run(path):", "if run := None:"),
    )),
    ("tests/interop/test_save.py::test_every_layout_gives_every_bit_and_setting_back", (
        ("class names not written", "settings", '"class_names": class_names,', '"class_names": None,'),
        ("the lineage preferred to what jaxvit wrote", "settings", 'if "jaxvit" in metadata:', "if False:"),
    )),
    ("tests/interop/test_runs_and_names.py::test_a_large_model_used_at_a_smaller_size_is_prepared_as_one_of_that_size", (
        ("the crop of the old size kept at another", "load",
         "gather(img_size=img_size or shape.grid", "gather(img_size=shape.grid"),
    )),
    ("tests/interop/test_hub.py::test_a_cached_file_is_compared_with_the_hash_in_its_name", (
        ("a download with another hash accepted", "hub", "if found != blob.name:", "if False:"),
    )),
    ("tests/interop/test_hub.py::test_configuration_is_fetched_from_the_commit_of_the_weights", (
        ("configuration files not fetched", "hub",
         "for extra in (CONFIG, PREPROCESSOR, *of_npz):", "for extra in ():"),
    )),
    ("tests/interop/test_hub.py::test_configuration_that_cannot_be_asked_for_is_an_error", (
        ("configuration that cannot be asked for left out", "hub",
         "    except errors.LocalEntryNotFoundError as error:\n",
         "    except errors.LocalEntryNotFoundError as error:\n"
         "        if file.endswith(\".json\"):\n            return None\n"),
    )),
    ("tests/interop/test_hub.py::test_a_file_of_a_repository_has_its_configuration_whatever_else_is_cached", (
        ("a repository's configuration only for a file alone in the cache", "load",
         "own = from_hub or file.name in WHOLE", "own = file.name in WHOLE"),
    )),
    ("parity_tests/interop/test_resnet.py", (
        ("running mean and variance swapped", "resnet",
         '"mean": "running_mean", "var": "running_var"', '"mean": "running_var", "var": "running_mean"'),
        ("every ResNet taken for ResNet-18", "resnet",
         '"resnet34" if "layer1.2.conv1.weight" in tensors else "resnet18"', '"resnet18"'),
        ("every stem taken for ImageNet's", "resnet", "kind = KERNELS[stem[-1]]", 'kind = "imagenet"'),
        ("bottleneck blocks not named", "resnet", "    check_refused(named, LAYOUT, source)\n", ""),
        ("tensors unknown to a ResNet dropped", "resnet", "        if reason is None:", "        if False:"),
        ("shapes of a ResNet not compared", "resnet", "if part.array.shape != wanted:", "if False:"),
        ("NaN in a ResNet not noticed", "resnet", "        check_numbers(part, source)\n", ""),
        ("ResNets evaluated without a margin", "resnet", "224 / 256", "1.0"),
        ("ResNets evaluated on squashed images", "resnet", '"short_side"', '"squash"'),
        ("the head of a ResNet kept whatever is asked", "pretrained",
         'return "head" if config.is_vit else "fc"', 'return "head"'),
    )),
))  # fmt: skip
