"""Access tokens: who gets in, and that everything else is a 401 with the right code."""

import base64
import json
import math

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.tokens import MAX_LENGTH, UnknownKey, verify
from service.errors import ApiError
from tests.service.access.signing import CLAIMS, ISSUER, NOW, SECRET, USER, SigningKey, forge, segment, sign

EC, RSA = SigningKey("ES256", "ec-1"), SigningKey("RS256", "rsa-1")
KEYS = {key.kid: jwt.PyJWK(key.jwk) for key in (EC, RSA)}
HS = {"alg": "HS256", "typ": "JWT"}


def check(token, keys=KEYS, secret=SECRET, issuer=ISSUER, now=NOW):
    return verify(token, keys, secret, issuer, now)


def refused(token, **given):
    """The code and message of the 401 that a token gets."""
    with pytest.raises(ApiError) as raised:
        check(token, **given)
    assert raised.value.status == 401
    return raised.value.code, raised.value.message


@pytest.mark.parametrize("make", [sign, EC.sign, RSA.sign], ids=["HS256", "ES256", "RS256"])
def test_a_token_of_the_project_speaks_for_its_user(make):
    token = make()
    principal = check(token)
    assert (principal.user_id, principal.expires_at, principal.token) == (USER, CLAIMS["exp"], token)


def test_a_principal_does_not_show_its_token():
    token = sign()
    assert token not in repr(check(token))


@pytest.mark.parametrize(
    "token",
    [
        sign(aud=["other", "authenticated"]),
        sign(iat=NOW + 9999),  # a clock that runs ahead
        sign(nbf=NOW),
        sign(nbf=NOW + 5),  # within the leeway
        sign(exp=NOW - 4),
        sign(exp=NOW + 0.5),
        sign(exp=2**52),
        sign(headers={"kid": "unknown"}),  # the secret has no id that counts
        forge(HS, json.dumps(CLAIMS)[:-1].encode() + b', "x": 1, "x": 2}'),
        forge(HS, {**CLAIMS, "deep": json.loads("[" * 100 + "]" * 100)}),
        forge(HS, b"  " + json.dumps(CLAIMS, indent=2).encode()),
    ],
)
def test_what_does_not_matter_is_let_through(token):
    assert check(token).user_id == USER


def test_of_a_claim_that_comes_twice_the_last_counts():
    early = json.dumps({**CLAIMS, "exp": int(NOW) - 100}).encode()
    assert check(forge(HS, early[:-1] + b', "exp": %d}' % (NOW + 100))).expires_at == NOW + 100


def test_without_an_issuer_any_will_do():
    for token in (sign(iss="https://elsewhere"), sign(iss=None), sign(iss=["odd"])):
        assert check(token, issuer=None).user_id == USER


WRONG_CLAIMS = [
    # claim, value, what the message names
    ("aud", None, "aud"),
    ("aud", "anon", "audience"),
    ("aud", "Authenticated", "audience"),
    ("aud", "authenticated ", "audience"),
    ("aud", [], "aud"),
    ("aud", ["anon", "other"], "audience"),
    ("aud", ["authenticated", 1], "claim format"),
    ("aud", {"authenticated": True}, "claim format"),
    ("aud", 1, "claim format"),
    ("iss", "https://abcd.supabase.co/auth/v1/", "issuer"),
    ("iss", "https://evil.example/auth/v1", "issuer"),
    ("iss", None, "iss"),
    ("iss", [ISSUER], "iss"),
    ("iss", {}, "iss"),
    ("exp", None, "exp"),
    ("exp", str(int(NOW) + 100), "exp"),
    ("exp", True, "exp"),
    ("exp", [NOW + 100], "exp"),
    ("exp", {}, "exp"),
    ("exp", math.nan, "exp"),
    ("exp", math.inf, "exp"),
    ("exp", -math.inf, "exp"),
    ("exp", 10**400, "exp"),
    ("exp", 2**53, "exp"),
    ("exp", 1e300, "exp"),
    ("nbf", NOW + 60, "nbf"),
    ("nbf", None, "nbf"),
    ("nbf", str(int(NOW)), "nbf"),
    ("nbf", math.nan, "nbf"),
    ("nbf", math.inf, "nbf"),
    ("nbf", False, "nbf"),
    ("sub", None, "sub"),
    ("sub", "", "sub"),
    ("sub", 7, "subject"),
    ("sub", [USER], "subject"),
    ("sub", {"id": USER}, "subject"),
]


@pytest.mark.parametrize(("claim", "value", "named"), WRONG_CLAIMS)
def test_a_wrong_claim_is_refused_and_named(claim, value, named):
    code, message = refused(forge(HS, {**CLAIMS, claim: value}))
    assert code == "invalid_token"
    assert named in message


@pytest.mark.parametrize("claim", ["aud", "iss", "exp", "sub"])
def test_a_missing_claim_is_refused_and_named(claim):
    code, message = refused(forge(HS, {name: value for name, value in CLAIMS.items() if name != claim}))
    assert code == "invalid_token"
    assert claim in message


@pytest.mark.parametrize("exp", [NOW - 5, NOW - 3600, 0, -1, -1e15, 1])
def test_an_expired_token_is_told_as_such(exp):
    assert refused(sign(exp=exp))[0] == "expired_token"


def test_a_token_that_is_both_expired_and_badly_signed_is_badly_signed():
    assert refused(sign("another-secret-of-thirty-two-characters", exp=0))[0] == "invalid_token"


HEADERS = {
    "no algorithm": {},
    "alg none": {"alg": "none"},
    "alg None": {"alg": "None"},
    "alg empty": {"alg": ""},
    "alg null": {"alg": None},
    "alg a number": {"alg": 256},
    "alg a list": {"alg": ["HS256"]},
    "alg an object": {"alg": {"HS256": 1}},
    "alg in lower case": {"alg": "hs256"},
    "another HMAC": {"alg": "HS384"},
    "RS256 without a key": {"alg": "RS256"},
    "kid null": {"alg": "HS256", "kid": None},
    "kid a number": {"alg": "HS256", "kid": 1},
    "kid a list": {"alg": "HS256", "kid": ["ec-1"]},
    "kid an object": {"alg": "HS256", "kid": {"ec-1": 1}},
    "alg none with a known kid": {"alg": "none", "kid": "ec-1"},
    "HS256 with the id of an EC key": {"alg": "HS256", "kid": "ec-1"},
    "HS256 with the id of an RSA key": {"alg": "HS256", "kid": "rsa-1"},
    "ES256 with the id of an RSA key": {"alg": "ES256", "kid": "rsa-1"},
    "RS512 with the id of an RSA key": {"alg": "RS512", "kid": "rsa-1"},
    "PS256 with the id of an RSA key": {"alg": "PS256", "kid": "rsa-1"},
    "critical extensions": {"alg": "HS256", "crit": ["exp"]},
    "detached payload": {"alg": "HS256", "b64": False, "crit": ["b64"]},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("signature", ["HMAC", "none"])
def test_the_header_decides_nothing(header, signature):
    token = forge(header, CLAIMS)
    if signature == "none":
        token = token[: token.rindex(".") + 1]
    assert refused(token)[0] == "invalid_token"


@pytest.mark.parametrize("key", [EC, RSA], ids=["EC", "RSA"])
@pytest.mark.parametrize("with_kid", [True, False])
def test_a_public_key_is_no_secret(key, with_kid):
    """The classic confusion: HMAC with the public key, which everybody knows."""
    header = {"alg": "HS256", "kid": key.kid} if with_kid else {"alg": "HS256"}
    for secret in (key.public_pem, key.public_pem.strip(), json.dumps(key.jwk).encode()):
        assert refused(forge(header, CLAIMS, secret))[0] == "invalid_token"


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": SigningKey("ES256", "mine").jwk},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
    ],
    ids=["jwk", "jku", "x5u", "x5c"],
)
def test_a_key_that_the_token_brings_along_is_ignored(header):
    stranger = SigningKey("ES256", EC.kid)
    if "jwk" in header:
        header = {"jwk": stranger.jwk}
    assert refused(stranger.sign(header))[0] == "invalid_token"
    assert check(EC.sign(header)).user_id == USER


@pytest.mark.parametrize("kid", ["unknown", "", "../../etc/passwd", "/dev/null", "ec-1\0", "EC-1", "' or 1=1 --", "é"])
def test_a_key_that_is_not_at_hand_is_asked_for(kid):
    with pytest.raises(UnknownKey):
        check(EC.sign({"kid": kid}))


def test_a_key_of_another_kind_in_the_jwks_verifies_nothing():
    secret = "a-symmetric-key-that-does-not-belong-here"
    symmetric = jwt.PyJWK({"kty": "oct", "k": segment(secret.encode()), "kid": "oct", "alg": "HS256"})
    token = sign(secret, headers={"kid": "oct"})
    code, message = refused(token, keys={"oct": symmetric})
    assert code == "invalid_token"
    assert "kind" in message


def test_without_the_legacy_secret_only_the_jwks_counts():
    assert check(EC.sign(), secret=None).user_id == USER
    code, message = refused(sign(), secret=None)
    assert code == "invalid_token"
    assert "SUPABASE_JWT_SECRET" in message


def test_a_token_that_names_no_key_is_not_tried_with_every_key():
    code, message = refused(jwt.encode(CLAIMS, EC.private, algorithm="ES256"))
    assert code == "invalid_token"
    assert "names no key" in message


API_KEYS = {
    "a secret key": ("sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz", "secret"),
    "a publishable key": ("sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH", "publishable"),
    "the legacy service key": (forge(HS, {"iss": "supabase", "role": "service_role", "exp": NOW + 1e8}), "secret"),
    "the legacy anon key": (forge(HS, {"iss": "supabase", "role": "anon", "exp": NOW + 1e8}), "publishable"),
    "a service key of elsewhere": (forge(HS, {"role": "service_role"}, b"another"), "secret"),
    "a token that is allowed all": (sign(role="service_role"), "secret"),
    "one signed by a key of the project's": (EC.sign(role="service_role"), "secret"),
}


@pytest.mark.parametrize(("token", "kind"), API_KEYS.values(), ids=API_KEYS)
@pytest.mark.parametrize("secret", [SECRET, None])
def test_an_api_key_is_refused_and_told_what_it_is(token, kind, secret):
    code, message = refused(token, secret=secret)
    assert code == "invalid_token"
    assert f"it is a {kind} API key, not the access token of a signed-in user" in message
    assert ("belongs on no page" in message) == (kind == "secret")


@pytest.mark.parametrize("role", [None, "authenticated", "editor", 1, ["service_role"], {"service_role": 1}])
def test_another_role_is_for_the_database_to_judge(role):
    assert check(sign(role=role)).user_id == USER


def with_part(number, part):
    """A valid token with one of its parts replaced."""
    parts = sign().split(".")
    parts[number] = part
    return ".".join(parts)


NOT_TOKENS = {
    "nothing": "",
    "a word": "garbage",
    "dots": "..",
    "two parts": sign().rsplit(".", 1)[0],
    "four parts": f"{sign()}.x",
    "leading space": f" {sign()}",
    "trailing newline": f"{sign()}\n",
    "padding": f"{sign()}=",
    "scheme": f"Bearer {sign()}",
    "NUL": f"{sign()}\0",
    "letters that base64 decoders skip": f"{sign()}é",
    "a lone surrogate": f"{sign()}\ud800",
    "full-width dots": sign().replace(".", "\uff0e"),
    "standard base64": forge({**HS, "x": "??>>"}, CLAIMS).replace("_", "/").replace("-", "+") + "+/",
    "a header that is no JSON": with_part(0, segment(b"alg=HS256")),
    "a header that is a list": with_part(0, segment(b'["alg"]')),
    "a header that is a string": with_part(0, segment(b'"HS256"')),
    "a header cut short": with_part(0, segment(b'{"alg":"HS256"')),
    "a header that is no text": with_part(0, segment(b"\xff\xfe\xfd")),
    "a header nested deeply": with_part(0, segment(b"[" * 9000)),
    "a header with an object nested deeply": with_part(0, segment(b'{"a":' * 2400)),
    "an empty header": with_part(0, ""),
    "an empty payload": with_part(1, ""),
    "no signature": with_part(2, ""),
    "another's signature": with_part(2, sign("another-secret-of-thirty-two-characters").split(".")[2]),
    "another's payload": with_part(1, sign(sub="somebody-else").split(".")[1]),
    "a payload that is a list": forge(HS, [CLAIMS]),
    "a payload that is a number": forge(HS, 1),
    "a payload that is no JSON": forge(HS, b"{'sub': 1}"),
    "a payload that is no text": forge(HS, b"\xff\x00"),
    "a payload nested deeply": forge(HS, b"[" * 9000),
    "a number of too many digits": forge(HS, b'{"exp": ' + b"9" * 5000 + b"}"),
    "a huge one": forge(HS, {**CLAIMS, "x": "y" * MAX_LENGTH}),
    "a huge word": "a" * 10_000_000,
    "an encrypted one": ".".join(segment(part) for part in (b'{"alg":"dir","enc":"A256GCM"}', b"", b"", b"", b"")),
}


@pytest.mark.parametrize("token", NOT_TOKENS.values(), ids=NOT_TOKENS)
def test_what_is_no_token_is_refused(token):
    assert refused(token)[0] == "invalid_token"


def test_a_message_never_repeats_the_token():
    for token in (*NOT_TOKENS.values(), sign("another-secret-of-thirty-two-characters"), sign(exp=0)):
        if len(token) > 20:
            assert token not in refused(token)[1]


def outcome(token):
    """What becomes of a token, by name; every other exception is the caller's to see."""
    try:
        return check(token)
    except UnknownKey:
        return "unknown key"
    except ApiError as error:
        return f"{error.status} {error.code}"


def only_refused(token):
    assert outcome(token) in ("unknown key", "401 invalid_token")


@given(st.text())
def test_any_text_is_refused_and_nothing_else_happens(token):
    only_refused(token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)
HEADER = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "zip"]), JSON)
ALGORITHM = st.sampled_from(["HS256", "ES256", "RS256", "none"]).map(lambda name: {"alg": name})


@given(HEADER | st.tuples(HEADER, ALGORITHM).map(lambda both: both[0] | both[1]) | JSON, st.binary(max_size=20))
def test_any_header_is_refused_and_nothing_else_happens(header, signature):
    try:
        head = json.dumps(header).encode()
    except UnicodeEncodeError:
        return
    only_refused(".".join([segment(head), segment(json.dumps(CLAIMS).encode()), segment(signature)]))


@given(st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "iat", "jti"]), JSON))
def test_any_claims_are_judged_and_nothing_else_happens(claims):
    """Signed with the secret: the signer is trusted, its values are not."""
    came_of_it = outcome(forge(HS, {**CLAIMS, **claims}))
    if came_of_it not in ("401 invalid_token", "401 expired_token"):
        assert isinstance(came_of_it.user_id, str)
        assert came_of_it.user_id
        assert math.isfinite(came_of_it.expires_at)


@given(st.data())
def test_a_token_with_one_bit_changed_is_refused(data):
    """Every bit of the three parts counts; the base64 digits' unused bits, which say nothing, are left alone."""
    parts = [bytearray(base64.urlsafe_b64decode(part + "==")) for part in EC.sign().split(".")]
    part = parts[data.draw(st.integers(0, 2))]
    position = data.draw(st.integers(0, len(part) * 8 - 1))
    part[position // 8] ^= 1 << position % 8
    only_refused(".".join(segment(bytes(part)) for part in parts))


MOMENT = st.integers(-(2**40), 2**40) | st.floats(NOW - 100, NOW + 100)


@given(st.lists(MOMENT, min_size=1), MOMENT, MOMENT)
def test_wherever_the_clock_leaps_a_token_is_good_from_nbf_to_exp_alone(moments, not_before, expires_at):
    """With five seconds' leeway at both ends, and whatever was answered before."""
    token = sign(nbf=not_before, exp=expires_at)
    for now in moments:
        if expires_at + 5 <= now:
            assert refused(token, now=now)[0] == "expired_token"
        elif not_before > now + 5:
            assert refused(token, now=now)[0] == "invalid_token"
        else:
            assert check(token, now=now).expires_at == expires_at
