"""Weights from a Hugging Face hub: hf://OWNER/NAME[/FILE][@REVISION].

huggingface_hub does the work: it caches by content, resumes what was interrupted, compares size and
ETag, follows HF_ENDPOINT, and uses the cache where HF_HUB_OFFLINE is set. Where no server answers
it tries for 23 s, file by file, before it uses the cache: so one request is made first. It is the
extra "hub", and only this file imports it, when it is called.
"""

import hashlib
import re
from functools import cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from jaxvit.errors import Unreachable, UserError
from jaxvit.interop.settings import CONFIG, PREPROCESSOR, is_of_timm, read_json

HUB = "hf://"
PATTERN = r"hf://([\w.-]+)/([\w.-]+)(?:/([^@]+))?(?:@([\w./-]+))?"
DEFAULT = "model.safetensors"
TORCH_DEFAULT = "pytorch_model.bin"
REACHED_SEC = 10.0  # after which a server that does not answer is taken for unreachable
SHA256 = r"[0-9a-f]{64}"  # the ETag of a file that the hub stores outside git is its SHA-256


def fetch(address: str) -> Path:
    """The local path of the weights, with their configuration files beside them.

    Args:
      address: hf://OWNER/NAME for its model.safetensors, or with a file and a revision.

    Raises:
      UserError: the address is malformed, the package is missing, the server cannot be reached and
        the weights or their configuration are not cached, there is no such thing on it, or a file
        is not what the server announced.
    """
    match = re.fullmatch(PATTERN, address)
    if not match:
        raise UserError(
            f"{address} is no address of weights: write hf://OWNER/NAME, hf://OWNER/NAME/FILE or "
            "hf://OWNER/NAME@REVISION"
        )
    owner, name, file, revision = match.groups()
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            f"{address} needs the package huggingface_hub: install it with: pip install "
            "'jaxvit[hub]', or download the file yourself"
        ) from error
    repository = f"{owner}/{name}"
    path = _download(address, repository, wanted := file or DEFAULT, revision)
    if path is None and file is None:
        raise UserError(
            f"{address} has no {DEFAULT}: name a .safetensors or .npz file of it, as in "
            f"hf://{repository}/FILE, or download PyTorch's own file (such as {TORCH_DEFAULT}) and "
            "convert it with: python -m torch_ref.convert"
        )
    if path is None:
        raise UserError(f"{address} does not exist: {repository} has no file {file}")
    check_content(path, address)
    # The commit of the weights, from .../COMMIT/FILE: what is cached of it is not asked for again.
    commit = path.parents[len(PurePosixPath(wanted).parts) - 1].name
    of_npz = (f"{path.name}.json",) if path.suffix == ".npz" else ()
    for extra in (CONFIG, PREPROCESSOR, *of_npz):
        beside = PurePosixPath(wanted).with_name(extra).as_posix()
        if huggingface_hub.try_to_load_from_cache(repository, beside, revision=commit):
            continue  # cached, or known not to exist
        try:
            _download(
                address, repository, beside, commit,
                f"or give {path}, which is read without what is not cached",
            )  # fmt: skip
        except Unreachable:
            if extra != PREPROCESSOR or not is_of_timm(read_json(path.with_name(CONFIG))):
                raise
    return path


@cache
def _reachable(endpoint: str) -> bool:
    """Whether the server answers anything at all; asked once in a process."""
    try:
        urlopen(Request(endpoint, method="HEAD"), timeout=REACHED_SEC).close()
    except HTTPError:
        return True  # it answers, if only with an error
    except (OSError, HTTPException):
        return False
    return True


def check_content(path: Path, address: str) -> None:
    """Compares a cached file with the SHA-256 under which the cache keeps it, where it is one.

    Raises:
      UserError: they differ.
    """
    blob = path.resolve()
    if not re.fullmatch(SHA256, blob.name):
        return
    with blob.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != blob.name:
        raise UserError(
            f"{address} was downloaded with the SHA-256 {found[:12]}..., but the server announced "
            f"{blob.name[:12]}...: remove {blob} and try again"
        )


def _download(
    address: str,
    repository: str,
    file: str,
    revision: str | None,
    otherwise: str = "or give the path of a file",
) -> Path | None:
    """The path of one file, or None where the repository has none of this name.

    A file that cannot be asked for is an error, of the configuration too: without it the model
    would be another one.
    """
    from huggingface_hub import constants, errors, hf_hub_download

    try:
        offline = constants.is_offline_mode() or not _reachable(constants.ENDPOINT)
        return Path(hf_hub_download(repository, file, revision=revision, local_files_only=offline))
    except errors.LocalEntryNotFoundError as error:
        # Not in the cache, and the server did not answer (or was not asked).
        raise Unreachable(
            f"{address} cannot be reached and its {file} is not in the cache "
            f"({constants.ENDPOINT}, {constants.HF_HUB_CACHE}): check the network, {otherwise}"
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{address} has no revision {revision}: leave @{revision} out") from error
    except errors.GatedRepoError as error:
        raise UserError(
            f"{address} is gated: accept its licence on its page and log in with: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{address} does not exist or is private: check the name, or log in with: hf auth login"
        ) from error
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{address} cannot be fetched ({reason}): try again later") from error
