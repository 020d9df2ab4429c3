"""Tokens that nobody should be let in with, by what is wrong with them."""

import base64
import json
import math
import time
from typing import Any

import jwt

from tests.service.access.signing import ISSUER, SigningKey, forge, segment

HS = {"alg": "HS256", "typ": "JWT"}


class Forger:
    """Has a project's public keys, a token of a user's, and for the worse its secret."""

    def __init__(self, user_id: str, secret: str, keys: tuple[SigningKey, ...]) -> None:
        self.secret = secret.encode()
        self.keys = keys
        self.claims: dict[str, Any] = {
            "sub": user_id, "aud": "authenticated", "iss": ISSUER, "exp": int(time.time()) + 3600,
            "role": "authenticated",
        }  # fmt: skip
        self.good = self.signed()

    def signed(self, header: Any = None, **claims: Any) -> str:
        """As the project's Auth would sign it."""
        return forge(HS | (header or {}), self.claims | claims, self.secret)

    def with_payload(self, payload: Any, header: Any = None) -> str:
        return forge(HS if header is None else header, payload, self.secret)

    def all(self) -> dict[str, str]:
        """By name; each name begins with its kind."""
        kinds = {
            "forged": self.forged(),
            "altered": self.altered(),
            "stale": self.stale(),
            "algorithm": self.algorithms(),
            "confused": self.confused(),
            "key id": self.key_ids(),
            "brought along": self.brought_along(),
            "claim": self.wrong_claims(),
            "shape": self.shapes(),
            "JSON": self.almost_json(),
            "API key": self.api_keys(),
        }
        return {f"{kind}: {name}": token for kind, tokens in kinds.items() for name, token in tokens.items()}

    def forged(self) -> dict[str, str]:
        """Signed by somebody else."""
        secrets = ["", "x", "secret", "a-legacy-secret-of-at-least-thirty-two-characters", "0" * 64, self.good]
        found = {f"secret {number}": forge(HS, self.claims, text.encode()) for number, text in enumerate(secrets)}
        for key in (SigningKey("ES256", self.keys[0].kid), SigningKey("RS256", self.keys[1].kid)):
            found[f"another {key.algorithm} key"] = key.sign(**self.claims)
        return found

    def altered(self) -> dict[str, str]:
        """One bit of a good token, here and there; and its parts put together with another's."""
        found = {}
        for key, token in (("HS256", self.good), *((key.algorithm, key.sign(**self.claims)) for key in self.keys)):
            parts = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
            for part, at in [(0, 3), (0, 12), (1, 2), (1, 30), (1, 80), (1, -3), (2, 0), (2, 15), (2, -1)]:
                changed = [bytearray(each) for each in parts]
                changed[part][at] ^= 1
                found[f"{key} part {part} byte {at}"] = ".".join(segment(bytes(each)) for each in changed)
        head, payload, signature = self.good.split(".")
        other = self.signed(sub="00000000-0000-4000-8000-000000000000").split(".")
        found |= {
            "another's payload": f"{head}.{other[1]}.{signature}",
            "another's signature": f"{head}.{payload}.{other[2]}",
            "no signature": f"{head}.{payload}.",
            "a shorter signature": self.good[:-4],
            "a longer signature": self.good + "AAAA",
            "the signature twice": f"{self.good}.{signature}",
        }
        return found

    def stale(self) -> dict[str, str]:
        now = time.time()
        expired = {f"{seconds} s ago": self.signed(exp=now - seconds) for seconds in (6, 60, 3600, 86400, 1e9)}
        future = {f"in {seconds} s": self.signed(nbf=now + seconds) for seconds in (60, 3600, 1e9)}
        return expired | future | {"before 1970": self.signed(exp=-1), "at 0": self.signed(exp=0)}

    def algorithms(self) -> dict[str, str]:
        found = {}
        for alg in ("none", "None", "NONE", "nOnE", "", None, 0, True, [], {}, ["HS256"], "hs256", "HS384", "HS512",
                    "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256 ", "HS256\0", "dir"):  # fmt: skip
            token = forge(HS | {"alg": alg}, self.claims, self.secret)
            found[f"{alg!r}"] = token
            found[f"{alg!r} unsigned"] = token[: token.rindex(".") + 1]
        return found | {"none at all": forge({"typ": "JWT"}, self.claims, self.secret)}

    def confused(self) -> dict[str, str]:
        """Public keys, which everybody has, as the secret of an HMAC."""
        found = {}
        for key in self.keys:
            numbers = key.jwk.get("x", key.jwk.get("n", "")).encode()
            secrets = [key.public_pem, key.public_pem.strip(), json.dumps(key.jwk).encode(), numbers, key.kid.encode()]
            for number, secret in enumerate(secrets):
                found[f"{key.kid} {number}"] = forge(HS, self.claims, secret)
                found[f"{key.kid} {number} by name"] = forge(HS | {"kid": key.kid}, self.claims, secret)
        other = {"ES256": "RS256", "RS256": "ES256"}
        for key in self.keys:
            head = segment(json.dumps({"alg": other[key.algorithm], "kid": key.kid}).encode())
            found[f"{key.kid} as {other[key.algorithm]}"] = ".".join([head, *key.sign(**self.claims).split(".")[1:]])
        return found

    def key_ids(self) -> dict[str, str]:
        key = self.keys[0]
        odd = ["unknown", "", "../../etc/passwd", "/dev/null", "file:///dev/null", f"{key.kid}\0", key.kid.upper(),
               "' or 1=1 --", "é", "k" * 5000, "__proto__", "https://evil.example/key", "\r\nX-In: 1"]  # fmt: skip
        found = {f"{kid[:20]!r}": key.sign({"kid": kid}, **self.claims) for kid in odd}
        for kid in (None, 1, True, [key.kid], {key.kid: 1}):
            found[f"{kid!r}"] = forge({"alg": "ES256", "kid": kid}, self.claims, self.secret)
        found["none, and a good signature"] = jwt.encode(self.claims, key.private, algorithm=key.algorithm)
        found["another key's"] = key.sign({"kid": self.keys[1].kid}, **self.claims)
        return found

    def brought_along(self) -> dict[str, str]:
        """A key of the forger's, shown in the token itself."""
        found = {}
        for algorithm in ("ES256", "RS256"):
            mine = SigningKey(algorithm, self.keys[0].kid)
            for kid in (mine.kid, "mine"):
                for name, value in (
                    ("jwk", mine.jwk | {"kid": kid}),
                    ("jku", "https://evil.example/jwks.json"),
                    ("x5u", "https://evil.example/cert.pem"),
                    ("x5c", ["MIIB"]),
                ):
                    found[f"{algorithm} {name} {kid}"] = mine.sign({name: value, "kid": kid}, **self.claims)
        found["an unknown critical extension"] = self.signed({"crit": ["exp"]})
        found["a detached payload"] = self.signed({"b64": False, "crit": ["b64"]})
        return found

    def wrong_claims(self) -> dict[str, str]:
        wrong: dict[str, list[Any]] = {
            "aud": [None, "anon", "", "Authenticated", "authenticated ", [], ["anon"], ["authenticated", 1], {}, 1],
            "iss": [None, "", ISSUER + "/", ISSUER.upper(), "https://evil.example/auth/v1", [ISSUER], {}, 1],
            "sub": [None, "", 7, [], {}, True],
            "exp": [None, "", "9999999999", True, [], {}, math.nan, math.inf, -math.inf, 10**400, 2**53],
            "nbf": [None, "", "0", False, [], math.nan, math.inf],
        }
        found = {
            f"{name} {value!r}"[:60]: self.signed(**{name: value}) for name, values in wrong.items() for value in values
        }
        for name in ("aud", "iss", "sub", "exp"):
            left = {claim: value for claim, value in self.claims.items() if claim != name}
            found[f"no {name}"] = self.with_payload(left)
        return found

    def shapes(self) -> dict[str, str]:
        good = self.good
        return {
            "empty": "", "a word": "garbage", "a dot": ".", "dots": "..", "more dots": "....",
            "two parts": good.rsplit(".", 1)[0], "four parts": f"{good}.x", "twice": good + good,
            "twice with a comma": f"{good},{good}", "a space before": f" {good}", "a space after": f"{good} ",
            "a line break": f"{good}\n", "NUL": f"{good}\0", "padding": f"{good}=", "quoted": f'"{good}"',
            "with its scheme": f"Bearer {good}", "standard base64": good.replace("-", "+").replace("_", "/") + "+/",
            "full-width dots": good.replace(".", "\uff0e"), "an accent": good + "é", "reversed": good[::-1],
            "upper case": good.upper(), "percent": good.replace(".", "%2E"), "huge word": "a" * 20_000,
            "huge payload": self.signed(x="y" * 17_000), "huge header": self.signed({"x": "y" * 17_000}),
            "encrypted": ".".join(segment(part) for part in (b'{"alg":"dir","enc":"A256GCM"}', b"", b"", b"", b"")),
        }  # fmt: skip

    def almost_json(self) -> dict[str, str]:
        payload = json.dumps(self.claims).encode()
        payloads = {
            "single quotes": payload.replace(b'"', b"'"),
            "cut short": payload[:-1],
            "a comma more": payload[:-1] + b",}",
            "a comment": payload + b"//",
            "two objects": payload + payload,
            "a list": b"[%s]" % payload,
            "a number": b"1",
            "null": b"null",
            "true": b"true",
            "nothing": b"",
            "no text": b"\xff\xfe" + payload,
            "UTF-16": payload.decode().encode("utf-16"),
            "nested lists": b"[" * 9000,
            "nested objects": b'{"a":' * 2500,
            "a number of 5,000 digits": b'{"exp": ' + b"9" * 5000 + b"}",
            "NaN": payload.replace(b'"exp"', b'"exp": NaN, "was"'),
            "exp twice, the last old": payload[:-1] + b', "exp": 1}',
            "sub twice, the last empty": payload[:-1] + b', "sub": ""}',
            "aud twice, the last wrong": payload[:-1] + b', "aud": "anon"}',
            "iss twice, the last wrong": payload[:-1] + b', "iss": "x"}',
            "role twice, the last all-powerful": payload[:-1] + b', "role": "service_role"}',
        }
        headers = {
            "alg twice, the last none": b'{"alg":"HS256","alg":"none"}',
            "no JSON": b"alg=HS256",
            "a list": b'["HS256"]',
            "a string": b'"HS256"',
            "cut short": b'{"alg":"HS256"',
            "no text": b"\xff\xfe",
            "nothing": b"",
            "nested": b"[" * 9000,
        }
        found = {f"payload {name}": self.with_payload(each) for name, each in payloads.items()}
        return found | {f"header {name}": self.with_payload(self.claims, each) for name, each in headers.items()}

    def api_keys(self) -> dict[str, str]:
        return {
            "secret": "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz",
            "publishable": "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH",
            "legacy service": self.with_payload({"iss": "supabase", "role": "service_role", "exp": 2e9}),
            "legacy anon": self.with_payload({"iss": "supabase", "role": "anon", "exp": 2e9}),
            "all-powerful user": self.signed(role="service_role"),
            "all-powerful user, by the project's key": self.keys[0].sign(**self.claims | {"role": "service_role"}),
        }
