#!/usr/bin/env python3
"""Writes seal.txt: shares, their commitments and texts, and root keys sealed to public keys, made without the
program's code or its libraries.

Ristretto255 follows RFC 9496, X25519 RFC 7748, Bech32 BIP 173; the envelope comes from crypto_vectors.py. Run it only
to add a vector. An existing line never changes: shares on paper depend on it. With --check it writes nothing and fails
unless this file and crypto.txt are what their programs would write.
"""
import hashlib

from crypto_vectors import PLACE, envelope, keep, run

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def negative(x):
    return x % P & 1


def absolute(x):
    return P - x % P if negative(x) else x % P


def sqrt_ratio(u, v):
    r = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    check = v * r * r % P
    flipped, flipped_i = check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return check == u % P or flipped, absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]
BASE_Y = 4 * pow(5, -1, P) % P
BASE_X = absolute(sqrt_ratio(BASE_Y * BASE_Y - 1, D * BASE_Y * BASE_Y + 1)[1])
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)
ZERO = (0, 1, 1, 0)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    result = ZERO
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def encode(point):
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    inverse = sqrt_ratio(1, u1 * u2 * u2)[1]
    den1, den2 = inverse * u1 % P, inverse * u2 % P
    z_inverse = den1 * den2 * t0 % P
    rotate = negative(t0 * z_inverse)
    x, y = (y0 * SQRT_M1, x0 * SQRT_M1) if rotate else (x0, y0)
    den = den1 * INVSQRT_A_MINUS_D if rotate else den2
    if negative(x * z_inverse):
        y = -y
    return (absolute(den * (z0 - y)) % P).to_bytes(32, "little")


# RFC 9496, appendix A.1: multiples of the generator.
assert encode(ZERO) == bytes(32)
assert encode(BASE).hex() == "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
assert encode(times(2, BASE)).hex() == "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919"
assert encode(times(15, BASE)).hex() == "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e"


def x25519(scalar, point):
    k = int.from_bytes(scalar, "little") & ~7 & (1 << 255) - 1 | 1 << 254
    u = int.from_bytes(point, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for bit in range(254, -1, -1):
        now = k >> bit & 1
        if swap != now:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = now
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        x3, z3 = (d * a + c * b) ** 2 % P, u * (d * a - c * b) ** 2 % P
        x2, z2 = a * a * b * b % P, (a * a - b * b) * (a * a + 121665 * (a * a - b * b)) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, -1, P) % P).to_bytes(32, "little")


NINE = (9).to_bytes(32, "little")
# RFC 7748, section 5.2.
assert x25519(bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
              bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")).hex() == \
    "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bech32(prefix, data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[i:i + 5], 2) for i in range(0, len(bits), 5)]

    def polymod(items):
        state = 1
        for item in items:
            top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ item
            for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                state ^= generator if top >> i & 1 else 0
        return state

    spread = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = polymod(spread + values + [0] * 6) ^ 1
    return prefix + "1" + "".join(BECH32[v] for v in values + [check >> 5 * (5 - i) & 31 for i in range(6)])


# BIP 173's own example.
assert bech32("abcdef", bytes.fromhex("00443214c74254b635cf84653a56d7c675be77df")) == \
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def share_line(instance, slot, number, threshold, count, holder, value):
    body = b"\1" + instance + slot + bytes([number, threshold, count, len(holder)]) + holder + value
    body += hashlib.blake2b(body, digest_size=32).digest()[:4]
    bits = "".join(f"{byte:08b}" for byte in body)
    bits += "0" * (-len(bits) % 5)
    text = "".join(CROCKFORD[int(bits[i:i + 5], 2)] for i in range(0, len(bits), 5))
    return "claviger-share-" + "-".join(text[i:i + 5] for i in range(0, len(text), 5))


def scalar(number):
    return number.to_bytes(32, "little")


COEFFICIENTS = [int.from_bytes(hashlib.blake2b(b"coefficient %d" % i).digest(), "little") % ORDER for i in range(3)]
SHARES = [sum(c * x**i for i, c in enumerate(COEFFICIENTS)) % ORDER for x in range(1, 6)]


def combined(numbers):
    total = 0
    for i in numbers:
        weight = 1
        for j in numbers:
            if i != j:
                weight = weight * j * pow(j - i, -1, ORDER) % ORDER
        total += SHARES[i - 1] * weight
    return total % ORDER


assert combined([1, 2, 3]) == combined([5, 2, 4]) == COEFFICIENTS[0]

IDENTITY = run(0x50, 32)
EPHEMERAL = run(0x90, 32)
RECIPIENT = x25519(IDENTITY, NINE)
SHARED = x25519(EPHEMERAL, RECIPIENT)
OPENING = hashlib.blake2b(x25519(EPHEMERAL, NINE) + RECIPIENT, key=SHARED, digest_size=32,
                          person=b"vlt-recipient-v1").digest()
ROOT = run(0xC0, 32)

vectors = {}
for i, c in enumerate(COEFFICIENTS):
    vectors[f"shamir.coefficient.{i}"] = scalar(c)
    vectors[f"shamir.commitment.{i}"] = encode(times(c, BASE))
for i, value in enumerate(SHARES):
    vectors[f"shamir.share.{i + 1}"] = scalar(value)
vectors["share.line.2"] = share_line(run(0x10, 16), run(0x40, 16), 2, 3, 5, b"bob", scalar(SHARES[1])).encode()
vectors["shares.identity"] = hashlib.blake2b(b"", key=scalar(COEFFICIENTS[0]), digest_size=32,
                                             person=b"vlt-shares-v1\0\0\0").digest()
vectors["recipient.key"] = RECIPIENT
vectors["recipient.text"] = bech32("age", RECIPIENT).encode()
vectors["identity.key"] = IDENTITY
vectors["identity.text"] = bech32("age-secret-key-", IDENTITY).upper().encode()
vectors["recipient.ephemeral"] = x25519(EPHEMERAL, NINE)
vectors["recipient.opening"] = OPENING
vectors["recipient.wrap"] = x25519(EPHEMERAL, NINE) + envelope(OPENING, PLACE, run(0xA0, 24), ROOT)
vectors["recipient.root"] = ROOT

keep("seal.txt", vectors)
