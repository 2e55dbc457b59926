"""Random damage: to bytes whatever they mean, and to JSON as JSON."""

import json
import random
from collections.abc import Sequence
from typing import Any

WORDS = [
    b",", b";", b"\t", b"|", b" ", b"\n", b"\r\n", b"\r", b'"', b"'", b"#", b"sep=;\n", b"NA",
    b"nan", b"inf", b"-", b"1e400", b"1.234,56", b"1,5", b"TRUE", b"2020-01-01", b"\x00",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"9" * 400, b"a" * 3000, b"\\", b"0x1f", b"1_0", b"--5",
    b"+", b".", b"e", b"(0, 3)", b"<f8", b"|O", b"PK\x03\x04", b"PAR1", b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00\x00\x00\x00\x80", b"[", b"]", b"{", b"}", b":",
    b"null", b"NaN", b"Infinity", b"\\ud800", b"[" * 2000, b"\xed\xa0\x80", b"\xc2\x85",
    b"\xe2\x80\xa8", b"\x1b[31m", b"\x0c", b"\xf0\x9f\x98\x80",
]  # fmt: skip

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 1.5, -0.0, 2**31, 2**63, 2**64, 10**30, 1e308, float("nan"),
    float("inf"), "", "x", "0", "12", "\ud800", "a\nb", "a" * 5000, "../x", "/etc", [], [0], [1,
    2], [[]], {}, {"a": 1}, [None], ["x"],
]  # fmt: skip
"""What stands in the place of a value, whatever that was."""


def damaged(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A few random changes to bytes: other bytes, cuts, words of the formats, repetitions,
    pieces of other files.
    """
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3, 8, 30])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        elif kind == 1:
            data[at : at + rng.randrange(1, 40)] = b""
        elif kind == 2:
            data[at:at] = rng.choice(WORDS)
        elif kind == 3:
            data[at : at + rng.randrange(1, 9)] = rng.choice(WORDS)
        elif kind == 4:
            piece = data[at : at + rng.randrange(1, 60)]
            data[at:at] = piece * rng.choice([1, 2, 50])
        elif kind == 5:
            other = rng.choice(others)
            begin = rng.randrange(len(other) or 1)
            data[at:at] = other[begin : begin + rng.randrange(1, 200)]
        elif kind == 6 and data:
            data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 7 and rng.random() < 0.2:
            del data[at:]
    return bytes(data)


def changed(rng: random.Random, value: Any) -> Any:
    """A JSON value with one part of it dropped, renamed, copied or replaced, at a random depth."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        result, key = dict(value), rng.choice(list(value))
        what = rng.randrange(6)
        if what == 0:
            del result[key]
        elif what == 1:
            result[
                rng.choice([key + "x", key[:-1], "", "\ud800", key.upper(), "a" * 3000, "a\nb"])
            ] = result.pop(key)
        elif what == 2:
            result[key] = value[rng.choice(list(value))]
        else:
            result[key] = changed(rng, value[key])
        return result
    if isinstance(value, list) and value and rng.random() < 0.7:
        result, at = list(value), rng.randrange(len(value))
        result[at : at + rng.randrange(2)] = [changed(rng, value[at])]
        return result
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.6:
        return rng.choice(
            [
                value + 1,
                value - 1,
                -value,
                value * 2,
                value // 2,
                value * 1000,
                float(value),
                str(value),
            ]
        )
    return rng.choice(VALUES)


def written(rng: random.Random, value: Any) -> bytes:
    """A JSON value as bytes: now and then with a key twice, or in another encoding."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if isinstance(value, dict) and value and rng.random() < 0.1:
        key = rng.choice(list(value))
        text = f"{{{json.dumps(key)}: {json.dumps(changed(rng, value[key]))}, {text[1:]}"
    encoding = rng.choices(["utf-8", "utf-8-sig", "utf-16", "latin-1"], [30, 1, 1, 1])[0]
    return text.encode(encoding, "surrogatepass" if "utf" in encoding else "replace")
