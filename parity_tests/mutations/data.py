"""Mutations of jaxvit/data: sources, splits, pixels, the cache, the loader."""

from parity_tests.mutation import listed

DATA = listed("jaxvit.data", (
    ("tests/data/test_cache.py::test_each_way_of_resizing_has_its_own_cache", (
        ("one cache for all ways of resizing", "cache", "{tuple(geometry)}", "{geometry.size}"),
    )),
    ("tests/data/test_sources.py::test_every_format_that_is_promised_is_found", (
        ("a promised format left out", "folder", '".webp", ', ""),
    )),
    ("tests/data/test_sources.py::test_a_folder_that_looks_like_a_split_is_refused[validation]", (
        ("a folder called validation is no split", "folder", '"validation", ', ""),
    )),
    ("tests/data/test_sources.py::test_photos_without_labels_are_turned_upright_too", (
        ("photos without labels as they are stored", "folder",
         '(".",), upright,', '(".",), False,'),
    )),
    ("tests/data/test_sources.py::test_a_folder_without_a_test_split_holds_out_15_of_100", (
        ("a fifth held out for the test", "datasets",
         "TEST_FRACTION = 0.15", "TEST_FRACTION = 0.2"),
    )),
    ("tests/data/test_sources.py::test_exif_reaches_the_source_that_is_configured[oxford_iiit_pet]", (
        ("option exif ignored for Pets", "datasets",
         "load_oxford_iiit_pet(directory, bool(config.exif))", "load_oxford_iiit_pet(directory, False)"),
    )),
    ("tests/data/test_sources.py::test_exif_reaches_the_source_that_is_configured[flowers17]", (
        ("option exif ignored for Flowers-17", "datasets",
         "config.split_seed, bool(config.exif)", "config.split_seed, False"),
    )),
    ("tests/data/test_sources.py::test_exif_reaches_tfds", (
        ("option exif ignored for TFDS", "oxford_iiit_pet",
         "load_tfds(TFDS_NAME, directory, upright,", "load_tfds(TFDS_NAME, directory, False,"),
    )),
    ("tests/data/test_sources.py::test_images_are_resized_cropped_and_filtered_as_asked", (
        ("crop and filter ignored in decoding", "datasets",
         "Geometry(img_size, config.resize, config.crop_share, config.interpolation)", "Geometry(img_size, config.resize)"),
        ("stored images always bilinear", "datasets", '"squash", 1.0, config.interpolation', '"squash", 1.0, "bilinear"'),
    )),
    ("tests/data/test_sources.py::test_of_the_same_training_images_another_seed_chooses_others", (
        ("--data.train-per-class always by seed 0", "datasets", "config.train_per_class, config.split_seed)", "config.train_per_class, 0)"),
    )),
    ("tests/data/test_sources.py::test_hidden_files_and_directories_are_ignored", (
        ("hidden folders are classes", "folder", 'if p.is_dir() and not p.name.startswith(".")', "if p.is_dir()"),
    )),
    ("tests/data/test_bad_input.py::test_a_lack_of_memory_says_nothing_about_the_image", (
        ("a lack of memory taken for a damaged photo", "images", "except MemoryError:", "except RecursionError:"),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[pixels]", (
        ("resize without antialias", "preprocessing",
         "image.resize((width, height), FILTERS[self.interpolation])",
         '''image.transform(
                (width, height),
                Image.Transform.AFFINE,
                (image.width / width, 0, 0, 0, image.height / height, 0),
                FILTERS[self.interpolation],
            )'''),
        ("bicubic resize", "preprocessing",
         '"bilinear": Image.Resampling.BILINEAR', '"bilinear": Image.Resampling.BICUBIC'),
        ("bilinear resize whatever is asked", "preprocessing",
         '"bicubic": Image.Resampling.BICUBIC', '"bicubic": Image.Resampling.BILINEAR'),
        ("the longer side resized", "preprocessing", "short = min(", "short = max("),
        ("the longer side rounded", "preprocessing", "int(target * side / short)", "round(target * side / short)"),
        ("the size before the crop rounded up", "preprocessing", "math.floor(", "math.ceil("),
        ("a crop from the corner", "preprocessing", "round((side - self.size) / 2)", "0 * side"),
    )),
    ("parity_tests/interop/test_timm.py::test_images_are_prepared_as_timm_does", (
        ("bicubic resize for Lanczos", "preprocessing",
         '"lanczos": Image.Resampling.LANCZOS', '"lanczos": Image.Resampling.BICUBIC'),
    )),
    ("tests/test_end_to_end.py", (
        ("photos of a folder not turned upright", "folder",
         "return examples_from_files(root, paths, labels, upright, channels, seen)", "return examples_from_files(root, paths, labels, False, channels, seen)"),
    )),
    ("tests/tasks/test_pretrained_runs.py", (
        ("crops cut from images of the model's size", "datasets", "round(config.stored_scale * img_size)", "img_size"),
        ("larger images scored", "datasets", 'trained if name == "train" else scored', "trained"),
    )),
    ("tests/data/test_sources.py", (
        ("files of a class unsorted", "folder",
         "files = sorted(images_in(root / name))", "files = list(images_in(root / name))"),
        ("classes of a split numbered by themselves", "folder",
         "root / split, class_names, upright, passed_over, needs_all=False",
         "root / split, _folders(root / split, 1), upright, passed_over, needs_all=False"),
        ("a file's time of change ignored", "files", "\\0{found.st_mtime_ns}", "\\0"),
        ("EXIF not part of a cache's name", "files", "b\"upright\\n\" if upright else b\"\"", 'b""'),
        ("Pets turned upright", "datasets", "load_oxford_iiit_pet(directory, bool(config.exif))", "load_oxford_iiit_pet(directory, config.exif is not False)"),
        ("--data.exif ignored in a folder", "datasets", "config.exif is not False", "True"),
        ("images that are passed over not counted", "folder",
         "        passed_over.update(", "        Counter().update("),
        ("the test split follows --data.split-seed", "datasets",
         '("test", TEST_FRACTION, 0)', '("test", TEST_FRACTION, config.split_seed)'),
        ("validation always split by seed 0", "datasets",
         "config.val_fraction, config.split_seed", "config.val_fraction, 0"),
        ("--data.decode-threads ignored", "datasets", "config.decode_threads", "0"),
        ("a held-out image trained on", "splits", "np.flatnonzero(~held_out)", "np.arange(len(labels))"),
        ("--data.val-fraction ignored", "datasets", '("val", config.val_fraction,', '("val", 0.1,'),
        ("suffixes in capitals missed", "folder", "if path.suffix.lower() in SUFFIXES]", "if path.suffix in SUFFIXES]"),
        ("a breed keeps its image's number", "oxford_iiit_pet", 'name.split("_")[:-1])', 'name.split("_"))'),
        ("labels not checked", "datasets", "        check_labels(examples, source.class_names)", "        pass"),
    )),
    ("tests/data/test_cache.py", (
        ("a byte changed in the cache not noticed", "cache", "if whole and _unchanged(decoded)", "if whole"),
        ("grey and colour in one cache", "cache",
         "{tuple(geometry)} {channels} {examples", "{tuple(geometry)} {examples"),
        ("a cache of any shape taken", "cache",
         "pixels.shape == shape and pixels.dtype == np.uint8", "pixels.dtype == np.uint8"),
        ("as many threads as cores whatever is asked", "cache", "ThreadPoolExecutor(threads or", "ThreadPoolExecutor("),
        ("checksums of any shape taken", "cache",
         "whole and crc32.shape == shape[:1] and crc32.dtype == np.uint32", "whole"),
    )),
    ("tests/data/test_loader.py", (
        ("the index counted in the whole array", "decoded",
         "np.asarray(indices, np.int32)", "np.asarray(self.rows[indices], np.int32)"),
        ("batches carry no index", "loader", "split.take(rows[own], with_index)", "split.take(rows[own])"),
    )),
    ("tests/commands/test_predict.py", (
        ("files of all arguments sorted together", "photos",
         "return Found(tuple(files),", "return Found(tuple(sorted(files)),"),
        ("a file given twice predicted once", "photos",
         "return Found(tuple(files),", "return Found(tuple(dict.fromkeys(files)),"),
        ("a folder in the order of its listing", "photos",
         "files = sorted(images_in(folder))", "files = sorted(images_in(folder), reverse=True)"),
        ("suffixes in capitals passed over by predict", "photos",
         "[path for path in files if path.suffix.lower() in SUFFIXES]",
         "[path for path in files if path.suffix in SUFFIXES]"),
    )),
    ("tests/commands/test_bad_places.py", (
        ("one file in two splits", "files",
         "first.setdefault(place, path)) is not path", "first.setdefault(place, path)) is None"),
    )),
    ("tests/data/test_cifar10.py", (
        ("CIFAR-10 read as Pets", "datasets", 'config.name == "cifar10"', 'config.name == "cifar"'),
    )),
))  # fmt: skip
