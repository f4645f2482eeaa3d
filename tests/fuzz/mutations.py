"""What can be made of real tokens by who has them, and no key."""

import base64
import json
import string
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
FOREIGN = ec.generate_private_key(ec.SECP256R1())
URL = "https://evil.example/keys.json"
KIDS: list[Any] = ["", "unknown", "../../etc/passwd", "/dev/null", "' OR 1=1 --", "\0", "a" * 5000, 1, None, [], {}]
TYPES = ["JWT", "jwt", "", None, "AT+JWT", "application/at+jwt", "id+jwt", ["at+jwt"]]
ALGORITHMS = ["none", "None", "nOnE", "", None, "HS256", "HS512", "ES256", "ES384", "RS256", "PS256", "EdDSA"]
SUBJECTS: list[Any] = ["1", "01", "-1", "1 ", 1, None, "1\n", str(2**63)]
LONGER = [2, 200, 20_000, 50_000]  # times, then characters


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return said


@st.composite
def spoilt(draw: st.DrawFn, texts: tuple[str, ...]) -> str:
    """One of these with something flipped, cut, added, doubled, written otherwise, or taken from another of them.

    Another text for the same bytes is among them.
    """
    text = draw(st.sampled_from(texts))
    at = draw(st.integers(0, len(text) - 1))
    before, here, after = text[:at], text[at], text[at + 1 :]
    last = ALPHABET.find(text[-1])
    ways: list[SearchStrategy[str]] = [
        st.integers(0, 7).map(lambda bit: before + chr(ord(here) ^ 1 << bit) + after),
        st.sampled_from(ALPHABET + "+/=.~%").map(lambda other: before + other + after),
        st.sampled_from([before, after, before + after]),
        st.sampled_from([*ALPHABET, "=", "+", "/", ".", " ", "\t", "\x80", "%41"]).map(
            lambda new: before + new + here + after
        ),
        st.sampled_from(texts).map(lambda other: before + other[at:]),
        st.sampled_from([text + "=", text + "==", text + ".", "." + text, text + "\0", f"{text},{text}", f" {text}"]),
        st.integers(1, 15).map(lambda bits: text[:-1] + ALPHABET[last ^ bits]),  # some of them behind the last byte
        st.sampled_from([text.translate(str.maketrans("-_", "+/")), text.replace("_", "%5F"), f'"{text}"']),
        st.sampled_from(
            [text.swapcase(), text.lower(), text.upper(), text[::-1], f"Bearer {text}", encoded(text.encode())]
        ),
        st.sampled_from([text * LONGER[0], text * LONGER[1], text + "A" * LONGER[2], text + "A" * LONGER[3]]),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=2 * len(text)),
    ]
    return draw(st.one_of(ways))


@st.composite
def forged(draw: st.DrawFn, tokens: tuple[str, ...], public: dict[str, str]) -> str:
    """A JSON web token with another header, other claims or another signature (RFC 8725 §2)."""
    first, second = draw(st.sampled_from(tokens)).split("."), draw(st.sampled_from(tokens)).split(".")
    header, claims = decoded(first[0]), decoded(first[1])
    way = draw(st.sampled_from(["parts", "header", "claims", "both", "twice", "algorithm"]))
    if way == "parts":
        return ".".join(
            draw(st.permutations([draw(st.sampled_from(pair)) for pair in zip(first, second, strict=True)]))
        )
    if way == "twice":  # who reads the first member reads something else than who reads the last
        part = draw(st.integers(0, 1))
        text = json.dumps((header, claims)[part])
        name = draw(st.sampled_from([*(header, claims)[part], "admin"]))
        value = json.dumps(draw(st.sampled_from(["1", "admin", "none", 9_999_999_999])))
        members = [f'"{name}": {value}', text[1:-1]]
        first[part] = encoded(f"{{{', '.join(draw(st.permutations(members)))}}}".encode())
        return ".".join(first) if draw(st.booleans()) else draw(signed(first[0], first[1], first[2], public))
    if way in ("header", "both"):
        header |= draw(headers())
    if way in ("claims", "both"):
        claims |= draw(other_claims())
    if way == "algorithm":
        header["alg"] = draw(st.sampled_from(ALGORITHMS))
    head, payload = (encoded(json.dumps(each).encode()) for each in (header, claims))
    return draw(signed(head, payload, first[2], public))


def headers() -> SearchStrategy[dict[str, Any]]:
    own = {"jwk": foreign_jwk()}
    one: SearchStrategy[dict[str, Any]] = st.one_of(
        st.sampled_from([{"typ": typ} for typ in TYPES]),
        st.sampled_from([{"kid": kid} for kid in KIDS]),
        st.sampled_from([{"jku": URL}, {"x5u": URL}, {"x5c": ["MIIB"]}, {"x5t": "x"}, own, {**own, "kid": "mine"}]),
        st.sampled_from(
            [{"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"zip": "DEF"}, {"cty": "JWT"}]
        ),
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), min_size=1, max_size=3),
    )
    return st.builds(lambda a, b: a | b, one, one)


def other_claims() -> SearchStrategy[dict[str, Any]]:
    now = int(time.time())
    return st.one_of(
        st.sampled_from([{"sub": sub} for sub in SUBJECTS]),
        st.sampled_from([{"exp": exp} for exp in (now + 10**6, now + 10**12, "x", None, 1e308, True, -1)]),
        st.sampled_from([{"roles": ["admin"]}, {"is_admin": True}, {"amr": ["pwd", "mfa"]}, {"auth_time": now + 999}]),
        st.sampled_from(
            [{"iss": "https://evil.example"}, {"aud": ["x"]}, {"aud": None}, {"jti": "x.99"}, {"sid": "x"}]
        ),
    )


@st.composite
def signed(draw: st.DrawFn, head: str, payload: str, signature: str, public: dict[str, str]) -> str:
    """Signed by nobody, by somebody else, or with the public key for a secret."""
    way = draw(st.sampled_from(["as it was", "not", "elsewhere", "public key"]))
    if way == "public key" and draw(st.booleans()):
        head = encoded(json.dumps({**decoded(head), "alg": "HS256"}).encode())
    body = f"{head}.{payload}"
    if way == "not":
        signature = draw(st.sampled_from(["", "AAAA", encoded(bytes(64)), encoded(b"0" * 64)]))
    elif way == "elsewhere":
        numbers = decode_dss_signature(FOREIGN.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
        signature = encoded(b"".join(each.to_bytes(32, "big") for each in numbers))
    elif way == "public key":
        secrets = [json.dumps(public), json.dumps(public, separators=(",", ":")), public["x"], public["kid"], "secret"]
        mac = hmac.HMAC(draw(st.sampled_from(secrets)).encode(), hashes.SHA256())
        mac.update(body.encode())
        signature = encoded(mac.finalize())
    return f"{body}.{signature}"


def foreign_jwk() -> dict[str, str]:
    numbers = FOREIGN.public_key().public_numbers()
    x, y = (encoded(each.to_bytes(32, "big")) for each in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "mine", "use": "sig", "alg": "ES256"}
