"""Safetensors, read and written from the format's description alone: an independent check of what DarkMatter writes.

A file is: 8 bytes little-endian length n, n bytes of JSON, then the tensors' bytes. The JSON maps a name to
{"dtype", "shape", "data_offsets": [begin, end]} with offsets into the bytes after it; "__metadata__" maps strings to strings.
"""
import json
import struct

import numpy as np
import torch

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
           "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def read(path):
    """Returns ({name: tensor}, {metadata}). Raises ValueError on anything that the format forbids."""
    with open(path, "rb") as file:
        raw = file.read()
    if len(raw) < 8:
        raise ValueError(f"{path}: {len(raw)} bytes is too short for a header length")
    (length,) = struct.unpack_from("<Q", raw)
    if 8 + length > len(raw):
        raise ValueError(f"{path}: the header of {length} bytes does not fit a file of {len(raw)}")
    if raw[8:9] != b"{":
        raise ValueError(f"{path}: the header starts with {raw[8:9]!r}, not '{{'")
    header = json.loads(raw[8:8 + length].decode("utf-8"))
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{path}: metadata values are strings")
    body, tensors, expected = memoryview(raw)[8 + length:], {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        dtype = _DTYPES[entry["dtype"]]
        size = int(np.prod(entry["shape"], dtype=np.int64)) * torch.empty(0, dtype=dtype).element_size()
        if begin != expected or end - begin != size:
            raise ValueError(f"{path}: {name} stands at {begin}..{end}; expected {size} bytes from {expected}")
        expected = end
        flat = torch.frombuffer(bytearray(body[begin:end]), dtype=dtype) if size else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(entry["shape"])
    if expected != len(body):
        raise ValueError(f"{path}: {len(body) - expected} bytes after the last tensor belong to none")
    return tensors, metadata


def write(path, tensors, metadata=None):
    """Writes {name: tensor} in the given order."""
    header, chunks, offset = {"__metadata__": metadata} if metadata else {}, [], 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    encoded = json.dumps(header).encode("utf-8")
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded + b"".join(chunks))
