#!/usr/bin/env python3
"""Writes crypto.txt: bytes that our own formats must give, made without the program's code or its libraries.

ChaCha20 and Poly1305 follow RFC 8439, HChaCha20 draft-irtf-cfrg-xchacha-03; BLAKE2b and SHA-256 are Python's.
Run it only to add a vector. An existing line never changes: stores on disk depend on it. With --check it writes
nothing and fails unless the file is what it would write.
"""
import hashlib
import pathlib
import struct
import sys


def rotate(value, bits):
    return ((value << bits) | (value >> (32 - bits))) & 0xFFFFFFFF


def rounds(state):
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                state[x] = (state[x] + state[y]) & 0xFFFFFFFF
                state[z] = rotate(state[z] ^ state[x], bits)
    return state


CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def hchacha20(key, nonce16):
    state = rounds([*CONSTANTS, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce16)])
    return struct.pack("<8I", *state[:4], *state[12:])


def chacha20_block(key, counter, nonce12):
    start = [*CONSTANTS, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce12)]
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(rounds(start[:]), start)))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(message), 16):
        total = (total + int.from_bytes(message[i:i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((total + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def xchacha20_poly1305(key, nonce24, aad, plain):
    key, nonce = hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:]
    stream = b"".join(chacha20_block(key, 1 + i, nonce) for i in range((len(plain) + 63) // 64))
    cipher = bytes(a ^ b for a, b in zip(plain, stream))
    padded = b"".join(part + bytes(-len(part) % 16) for part in (aad, cipher))
    return cipher + poly1305(chacha20_block(key, 0, nonce)[:32], padded + struct.pack("<QQ", len(aad), len(cipher)))


def aad_of(place):
    return (b"vlt-aad1" + bytes([place["type"], 1, 0, 0]) + struct.pack(">I", place["schema"]) + place["instance"] +
            place["workspace"] + place["vault"] + place["object"] +
            struct.pack(">QQQQ", place["version"], place["wrapping_key"], place["commit_seq"], place["created_ms"]) +
            place["constraints"] + place["writer"])


def envelope(key, place, nonce, plain):
    aad = aad_of(place)
    okm = hashlib.blake2b(nonce + hashlib.blake2b(aad, digest_size=32).digest(), key=key, digest_size=64,
                          person=b"vlt-env-suite1\0\0").digest()
    return (b"\1" + struct.pack(">Q", place["wrapping_key"]) + nonce + okm[32:] +
            xchacha20_poly1305(okm[:32], nonce, aad, plain))


def cbor_head(major, value):
    for low, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 24:
            return bytes([major << 5 | value])
        if value < 1 << (8 * size):
            return bytes([major << 5 | low]) + value.to_bytes(size, "big")


def cbor(value):
    if isinstance(value, dict):
        return cbor_head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
    if isinstance(value, list):
        return cbor_head(4, len(set(value))) + b"".join(map(cbor, sorted(set(value), key=str.encode)))
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    return cbor_head(0, value) if value >= 0 else cbor_head(1, -1 - value)


def sub_key(root, label, number):
    return hashlib.blake2b(b"", key=root, digest_size=32, salt=struct.pack("<QQ", number, 0),
                           person=label + bytes(8)).digest()


def run(first, count):
    return bytes(range(first, first + count))


# draft-irtf-cfrg-xchacha-03, appendix A.3.1: the functions above are the published ones.
assert xchacha20_poly1305(
    run(0x80, 32), run(0x40, 24), bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
).hex().endswith("c0875924c1c7987947deafd8780acf49")

KEY = run(0, 32)
PLACE = {"type": 4, "schema": 0x01020304, "instance": run(0x10, 16), "workspace": run(0x20, 16),
         "vault": run(0x30, 16), "object": run(0x40, 16), "version": 7, "wrapping_key": 0x1122334455667788,
         "commit_seq": 42, "created_ms": 1795255200000, "constraints": run(0x80, 32), "writer": run(0xF0, 16)}
FULL = {1: ["mcp.example.com:443", "api.example.com:443"], 2: ["/mcp"], 3: ["POST", "DELETE", "GET", "POST"],
        4: "header:authorization:Bearer", 5: "https://mcp.example.com/mcp", 6: ["repo", "read:org"],
        7: ["env_01" + "1" * 22], 8: [], 9: ["t" * 24, "u" * 300], 10: 1795255200000}
EMPTY = {1: [], 2: [], 3: [], 4: "", 5: "", 6: [], 7: [], 8: [], 9: [], 10: 0}
SALT = b"somesaltsomesalt"


def goes_to(hosts=(), urls=(), injection="", audience="", scopes=(), tools=()):
    """Where the secret of a credential may go, as docs/storage_format.md has it: ten keys, four of them always empty."""
    return hashlib.blake2b(b"\xaa" + b"".join((
        b"\x01", cbor(list(hosts)), b"\x02", cbor(list(urls)), b"\x03\x80", b"\x04", cbor(injection),
        b"\x05", cbor(audience), b"\x06", cbor(list(scopes)), b"\x07\x80\x08\x80", b"\x09", cbor(list(tools)),
        b"\x0a\x00")), digest_size=32).digest()


URL = ["https://mcp.example.com/mcp"]
BEARER = "header:Authorization:Bearer"


def repeatable(key, context, plain):
    nonce = hashlib.blake2b(struct.pack(">Q", len(context)) + context + plain, key=key, digest_size=24,
                            person=b"sealed-text-nonc").digest()
    return nonce + xchacha20_poly1305(key, nonce, context, plain)


vectors = {
    "aad": aad_of(PLACE),
    "envelope.empty": envelope(KEY, PLACE, run(0xA0, 24), b""),
    "envelope.token": envelope(KEY, PLACE, run(0xA0, 24), b"ghp_0123456789abcdefghijklmnopqrstuvwxyz"),
    "constraints.full.cbor": cbor(FULL),
    "constraints.full.digest": hashlib.blake2b(cbor(FULL), digest_size=32).digest(),
    "constraints.empty.cbor": cbor(EMPTY),
    "constraints.empty.digest": hashlib.blake2b(cbor(EMPTY), digest_size=32).digest(),
    "goes_to.static_bearer": goes_to(urls=URL, injection=BEARER),
    "goes_to.static_bearer.header": goes_to(urls=URL, injection="header:X-Api-Key:"),
    "goes_to.static_bearer.tools": goes_to(urls=URL, injection=BEARER, tools=["search", "create_issue"]),
    "goes_to.mcp_oauth": goes_to(urls=URL, injection=BEARER),
    "goes_to.mcp_oauth.refresh": goes_to(urls=URL, injection=BEARER, audience="https://auth.example.com/token"),
    "goes_to.mcp_oauth.scope": goes_to(urls=URL, injection=BEARER, audience="https://auth.example.com/token",
                                       scopes=["repo read:org"]),
    "goes_to.environment_variable": goes_to(hosts=["*"], injection="variable:GITHUB_TOKEN:header:body"),
    "goes_to.environment_variable.hosts": goes_to(hosts=["api.example.com", "*.example.org"],
                                                  injection="variable:GITHUB_TOKEN:header:body"),
    "goes_to.environment_variable.header": goes_to(hosts=["*"], injection="variable:GITHUB_TOKEN:header"),
    "goes_to.environment_variable.body": goes_to(hosts=["*"], injection="variable:GITHUB_TOKEN:body"),
    "blake2b_256.abc": hashlib.blake2b(b"abc", digest_size=32).digest(),
    "blake2b_256_keyed.abc": hashlib.blake2b(b"abc", key=KEY, digest_size=32).digest(),
    "blake2b_128_keyed.abc": hashlib.blake2b(b"abc", key=KEY, digest_size=16).digest(),
    "key_file.slot_key": hashlib.blake2b(run(0, 64), key=run(0x40, 16), digest_size=32, salt=SALT,
                                         person=b"vlt-keyfile-v1\0\0").digest(),
    "row_prf.key": hashlib.blake2b(b"claviger row sum", key=KEY, digest_size=16).digest(),
    "sealed_text.token": run(0xA0, 24) + xchacha20_poly1305(KEY, run(0xA0, 24), b"cursor:vaults", b"page 2"),
    "sealed_text.repeatable": repeatable(KEY, b"task:alice", b"task-1"),
}
for label in (b"VKWRAP__", b"STATEMAC", b"AUDITFPR", b"ROWSUMS_", b"SESSIDS_", b"CURSORS_", b"HANDLES_", b"CONNECT_",
              b"WEBHOOKS", b"OUTBOX__", b"TOKENFPR", b"LOGPIN__", b"BACKUP__"):
    vectors["sub_key." + label.decode() + ".1"] = sub_key(KEY, label, 1)
vectors["sub_key.VKWRAP__.258"] = sub_key(KEY, b"VKWRAP__", 258)


def keep(name, vectors):
    file = pathlib.Path(__file__).with_name(name)
    text = "".join(f"{name} {value.hex() or '-'}\n" for name, value in vectors.items())
    if "--check" not in sys.argv:
        file.write_text(text, encoding="utf-8")
    elif file.read_text(encoding="utf-8") != text:
        sys.exit(f"{name} is not what its program makes")


keep("crypto.txt", vectors)
