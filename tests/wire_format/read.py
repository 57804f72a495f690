"""Reads the vectors with Python's msgpack, as they are said to be read, and packs again what it would write itself.

What is said to be written by others is compared with what it writes.
"""

import json
import math
import pathlib
import sys
from array import array
from collections import namedtuple

import msgpack
from msgpack import ExtType

# So many `Some` around a None.
Some = namedtuple("Some", "depth")
RUNS = {16: "B", 17: "H", 18: "I", 19: "Q", 21: "b", 22: "h", 23: "i", 24: "q", 26: "f", 27: "d"}


def from_extension(kind, data):
    if kind == 1:
        return Some(data[0])
    if kind in (2, 3):
        return int.from_bytes(data, "little", signed=kind == 3)
    if kind in (20, 25):
        pieces = (data[at : at + 16] for at in range(0, len(data), 16))
        return [int.from_bytes(piece, "little", signed=kind == 25) for piece in pieces]
    numbers = array(RUNS[kind], data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def unpack(data):
    return msgpack.unpackb(data, ext_hook=from_extension, strict_map_key=False)


def same(one, other):
    """Equal, and of one type, down to the sign of a zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (one, math.copysign(1, one)) == (other, math.copysign(1, other))
    if isinstance(one, array):
        return one.typecode == other.typecode and one == other
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, tuple) and not isinstance(one, Some):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def is_plain(data, value):
    """Whether it has neither extensions nor 32-bit floats, which the packer would not write."""
    try:
        found = []
        msgpack.unpackb(data, ext_hook=lambda *ext: found.append(ext), strict_map_key=False)
    except ValueError:
        return False
    return not found and not (isinstance(value, float) and len(data) == 5)


def main():
    file = pathlib.Path(__file__).with_name("vectors.json")
    vectors = json.loads(file.read_text(encoding="utf-8"))
    names = {"array": array, "inf": math.inf, "Some": Some, "ExtType": ExtType}
    packed = 0
    for vector in vectors["written"]:
        name, data = vector["name"], bytes.fromhex(vector["hex"])
        value, expected = unpack(data), eval(vector["python"], names)
        assert same(value, expected), f"{name}: {value!r} was read, {expected!r} was expected"
        if is_plain(data, value):
            again = msgpack.packb(value).hex()
            assert again == vector["hex"], f"{name}: {again} is written by Python"
            packed += 1
    written = [vector for vector in vectors["read"] if "python" in vector]
    for vector in written:
        found = msgpack.packb(eval(vector["python"], names)).hex()
        assert found == vector["hex"], f"{vector['name']}: {found} is written by Python"
    total = len(vectors["written"])
    print(f"{total} vectors read, {packed} of them written alike, {len(written)} of Python's own as in the file")
    assert packed > total / 2 and written


main()
