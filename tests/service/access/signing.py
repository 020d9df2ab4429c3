"""Keys and tokens as Supabase Auth makes them, and as nobody should."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a-legacy-secret-of-at-least-thirty-two-characters"
ISSUER = "https://abcd.supabase.co/auth/v1"
USER = "6f1e6a52-4e43-4f55-8d2f-0f6c5b1f5a01"
NOW = 1_800_000_000.0
CLAIMS = {"sub": USER, "aud": "authenticated", "iss": ISSUER, "exp": int(NOW) + 3600, "role": "authenticated"}


class SigningKey:
    """A key pair of a project: ES256 or RS256."""

    def __init__(self, algorithm: str, kid: str) -> None:
        self.algorithm = algorithm
        self.kid = kid
        if algorithm == "ES256":
            self.private: Any = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = rsa.generate_private_key(65537, 2048)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, as the JWKS has it."""
        algorithms = jwt.algorithms.get_default_algorithms()
        public = algorithms[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]}

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        return jwt.encode(
            {**CLAIMS, **claims}, self.private, algorithm=self.algorithm, headers={"kid": self.kid, **(headers or {})}
        )


def sign(secret: str = SECRET, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of the legacy kind."""
    return forge({"alg": "HS256", "typ": "JWT", **(headers or {})}, {**CLAIMS, **claims}, secret.encode())


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: Any, payload: Any, secret: bytes = SECRET.encode()) -> str:
    """A token of any header and payload (JSON values, or bytes as they are), signed with HMAC-SHA256."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signed = ".".join(segment(part) for part in parts)
    return f"{signed}.{segment(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
