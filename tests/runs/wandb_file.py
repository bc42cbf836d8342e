"""Reads the file that an offline run of Weights & Biases writes, which wandb has no reader for.

wandb 0.31 has none in Python. The records are its own protocol buffers; around them is LevelDB's
log format: blocks of 32 KiB, and for each part of a record its CRC-32, length and kind.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7
WHOLE, LAST = 1, 4  # kinds of parts that end a record


def records(path: Path) -> Iterator[Any]:
    """Every wandb_internal_pb2.Record of a .wandb file, in order; asserts each CRC."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # too few bytes for a part
            at += left
            continue
        crc, size, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + HEADER : at + HEADER + size]
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == crc
        at, parts = at + HEADER + size, parts + part
        if kind in (WHOLE, LAST):
            yield Record.FromString(parts)
            parts = b""


def values(items: Iterable[Any]) -> dict[str, Any]:
    """Items of a configuration, a summary or a row, by dotted names."""
    return {x.key or ".".join(x.nested_key): json.loads(x.value_json) for x in items}
