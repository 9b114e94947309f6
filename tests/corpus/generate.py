"""Writes keys.json and cases.jsonl: what a verifier must say to each of many tokens.

    python3 -m venv venv && venv/bin/pip install -r tests/corpus/requirements.txt
    venv/bin/python tests/corpus/generate.py

The verdicts are written here by hand, from the RFC that each case names. The private keys in
private_keys.json are test keys, public by being here. RSASSA-PSS and ECDSA signatures are
randomised, so every run changes the file; run it only to change a case.

Tokens are made with `cryptography`. PyJWT and jwcrypto then say what they make of them, each by
its own rules and with every key that its kid, `use`, `key_ops` and kind leave to choose from:

- A refusal for the signature or its algorithm: both must refuse it.
- "accept", and every refusal for what a well-signed token claims: both must find the signature
  good. Where PyJWT knows the rule of the claims (times, issuer, audience), it must come to the
  same verdict.

A disagreement ends the run, but for those listed as LENIENT with the rule that one of them passes
over. A case is marked "agreed" where its very verdict was confirmed. The others break a rule of
syntax, size or policy that the two do not have, or are refused though one key fits.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import pathlib
import re
import sys
import warnings
from datetime import datetime, timezone

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils, x25519
from jwcrypto import jwk as second_jwk, jws as second_jws

HERE = pathlib.Path(__file__).parent
ISSUER = "https://idp.example.com"
AUDIENCE = "https://api.example.com"
NOW = 1_800_000_000
RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
CURVE_OF = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
EC = list(CURVE_OF)
ED = ["EdDSA", "Ed25519"]
ALL = RSA + EC + ED
HASH = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
ORDER = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
    "ES512": int(
        "01" + "f" * 65 + "a51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16
    ),
}
WIDTH = {"ES256": 32, "ES384": 48, "ES512": 66}
# The order of edwards25519 (RFC 8032 §5.1).
ED_ORDER = 2**252 + 27742317777372353535851937790883648493


def encode(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value):
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


# --- keys


def new_private_keys():
    made = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "rsa_other": rsa.generate_private_key(65537, 2048),
        "rsa_1024": rsa.generate_private_key(65537, 1024),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p256_other": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "p384_other": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "p521_other": ec.generate_private_key(ec.SECP521R1()),
        "k256": ec.generate_private_key(ec.SECP256K1()),
        "okp": ed25519.Ed25519PrivateKey.generate(),
        "okp_other": ed25519.Ed25519PrivateKey.generate(),
        "x25519": x25519.X25519PrivateKey.generate(),
    }
    pems = {
        name: key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        for name, key in made.items()
    }
    return {"comment": "Test keys, public by being here. They protect nothing.", "keys": pems}


def private_keys():
    path = HERE / "private_keys.json"
    if not path.exists():
        path.write_text(json.dumps(new_private_keys(), indent=2) + "\n")
    pems = json.loads(path.read_text())["keys"]
    load = serialization.load_pem_private_key
    return {
        name: load(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
        for name, pem in pems.items()
    }


KEYS = private_keys()
MATERIAL = {"RS": "rsa", "PS": "rsa", "ES256": "p256", "ES384": "p384", "ES512": "p521"}


def material(alg):
    return MATERIAL.get(alg) or MATERIAL.get(alg[:2]) or "okp"


def jwk(name, **more):
    public = KEYS[name].public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        made = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        curve, width = {
            "secp256r1": ("P-256", 32),
            "secp384r1": ("P-384", 48),
            "secp521r1": ("P-521", 66),
            "secp256k1": ("secp256k1", 32),
        }[public.curve.name]
        numbers = public.public_numbers()
        x, y = (encode(v.to_bytes(width, "big")) for v in (numbers.x, numbers.y))
        made = {"kty": "EC", "crv": curve, "x": x, "y": y}
    else:
        curve = "X25519" if isinstance(public, x25519.X25519PublicKey) else "Ed25519"
        made = {"kty": "OKP", "crv": curve, "x": encode(public.public_bytes_raw())}
    return {**made, **more}


def key_sets():
    free = [("rsa", "rsa"), ("p256", "p256"), ("p384", "p384"), ("p521", "p521"), ("ed", "okp")]
    one = jwk("okp", kid="ed")
    hidden = number(KEYS["p256"].private_numbers().private_value)
    sets = {
        # One key for each algorithm and for no other.
        "all": [jwk(material(alg), kid=alg, alg=alg, use="sig") for alg in ALL],
        # The same without `alg`: each for every algorithm of its type.
        "free": [jwk(name, kid=kid) for kid, name in free],
        "one": [one],
        "anonymous": [jwk("okp")],
        "anonymous_pair": [jwk("okp"), jwk("okp_other")],
        "anonymous_kinds": [jwk("rsa"), jwk("p256"), jwk("okp")],
        "same_kid_kinds": [jwk("rsa", kid="k"), jwk("p256", kid="k"), jwk("okp", kid="k")],
        "same_kid_algorithms": [
            jwk("rsa", kid="k", alg="RS256"),
            jwk("rsa_other", kid="k", alg="PS256"),
        ],
        "same_kid_pair": [jwk("okp_other", kid="k"), jwk("okp", kid="k")],
        # Keys that must not verify anything, and one good one.
        "unusable": [
            {"kty": "oct", "kid": "oct", "k": encode(b"k" * 32)},
            {"kty": "oct", "kid": "oct-alg", "alg": "HS256", "k": encode(b"k" * 32)},
            jwk("p256", kid="use-enc", use="enc"),
            jwk("p256", kid="use-odd", use="SIG"),
            jwk("p256", kid="ops-sign", key_ops=["sign"]),
            jwk("p256", kid="ops-none", key_ops=[]),
            jwk("p256", kid="ops-text", key_ops="verify"),
            jwk("p256", kid="private", d=hidden),
            jwk("p256", kid="alg-of-others", alg="RS256"),
            jwk("p256", kid="alg-hmac", alg="HS256"),
            jwk("p256", kid="alg-none", alg="none"),
            jwk("p256", kid="alg-number", alg=256),
            jwk("p256", kid="alg-encryption", alg="ECDH-ES"),
            {**jwk("p256", kid="off-curve"), "y": jwk("p256_other")["y"]},
            {**jwk("p256", kid="short-x"), "x": encode(decode(jwk("p256")["x"])[1:])},
            {**jwk("p256", kid="padded"), "x": jwk("p256")["x"] + "="},
            {**jwk("p256", kid="wrong-crv"), "crv": "P-384"},
            {k: v for k, v in jwk("p256", kid="no-y").items() if k != "y"},
            {k: v for k, v in jwk("p256", kid="no-crv").items() if k != "crv"},
            {k: v for k, v in jwk("p256", kid="no-kty").items() if k != "kty"},
            {**jwk("p256", kid="kty-case"), "kty": "ec"},
            jwk("k256", kid="k256"),
            jwk("rsa_1024", kid="rsa-1024"),
            {**jwk("rsa", kid="rsa-e-1"), "e": "AQ"},
            {**jwk("rsa", kid="rsa-e-even"), "e": "Ag"},
            {**jwk("rsa", kid="rsa-e-0"), "e": "AA"},
            {**jwk("rsa", kid="rsa-n-even"), "n": number(KEYS["rsa"].public_key().public_numbers().n - 1)},
            jwk("x25519", kid="x25519"),
            {**jwk("okp", kid="ed448"), "crv": "Ed448"},
            {**jwk("okp", kid="ed-short"), "x": encode(decode(jwk("okp")["x"])[1:])},
            one,
        ],
        # Odd but usable.
        "odd": [
            jwk("p256", kid="ops-verify", key_ops=["verify"]),
            jwk("p256", kid="ops-both", key_ops=["sign", "verify"]),
            jwk("p256", kid="unknown-members", x_vendor={"a": [1]}, exp=1),
            {**jwk("rsa", kid="leading-zero"), "n": encode(b"\0" + decode(jwk("rsa")["n"]))},
            jwk("okp", kid=""),
            jwk("okp", kid="käse-🔑"),
        ],
    }
    return {name: {"keys": keys} for name, keys in sets.items()}


SETS = key_sets()


# --- signing


def sign(name, alg, message):
    key = KEYS[name]
    if alg in ED:
        return key.sign(message)
    digest = HASH[alg[2:]]()
    if alg in EC:
        r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return raw(alg, r, s)
    if alg.startswith("PS"):
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return key.sign(message, padding.PKCS1v15(), digest)


def raw(alg, r, s):
    return r.to_bytes(WIDTH[alg], "big") + s.to_bytes(WIDTH[alg], "big")


def text(value):
    if isinstance(value, (str, bytes)):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def good(**changes):
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": NOW - 60, "exp": NOW + 300}
    claims.update(changes)
    return {name: value for name, value in claims.items() if value is not ABSENT}


ABSENT = object()


def sealed(signed, name="okp", alg="EdDSA"):
    return f"{signed}.{encode(sign(name, alg, signed.encode()))}"


def token(header=None, claims=None, name=None, alg=None):
    """A token. Header and claims may be text that is not JSON; alg is what really signs it."""
    header = {"alg": "EdDSA", "kid": "ed"} if header is None else header
    claims = good() if claims is None else claims
    if alg is None:
        claimed = header.get("alg") if isinstance(header, dict) else None
        alg = claimed if claimed in ALL else "EdDSA"
    return sealed(f"{encode(text(header))}.{encode(text(claims))}", name or material(alg), alg)


def headed(**changes):
    header = {"alg": "EdDSA", "kid": "ed"}
    header.update(changes)
    return token({k: v for k, v in header.items() if v is not ABSENT})


def parts(made):
    return made.split(".")


def resigned(made, signature):
    return made.rpartition(".")[0] + "." + encode(signature)


# --- the second implementation

# Both know EdDSA; the fully specified name (RFC 9864) is told to PyJWT here.
PYJWT = jwt.PyJWS()
PYJWT.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())
SECOND = jwt.PyJWT()
SECOND._jws = PYJWT


def candidates(case, header):
    """The keys that a careful reader of RFC 7517 takes for the token."""
    for key in SETS[case["key_set"]]["keys"]:
        if "kid" in header and key.get("kid") != header["kid"]:
            continue
        usable = key.get("use", "sig") == "sig" and "verify" in key.get("key_ops", ["verify"])
        if usable and key.get("kty") != "oct" and "d" not in key:
            yield key


def pyjwt_takes(key, alg, allowed, made):
    bare = {k: v for k, v in key.items() if k != "key_ops"}
    try:
        if "alg" in key and key["alg"] not in ED:
            # It holds the token to what the key is for.
            taken = jwt.PyJWK(bare)
        else:
            taken = PYJWT.get_algorithm_by_name(alg).from_jwk(bare)
        PYJWT.decode(made, taken, algorithms=allowed)
        return True
    except Exception:
        return False


def jwcrypto_takes(key, allowed, made):
    # It has EdDSA keys named Ed25519 refuse EdDSA, which RFC 9864 §2.2 calls one algorithm.
    bare = {k: v for k, v in key.items() if not (k == "alg" and v in ED)}
    try:
        reader = second_jws.JWS()
        reader.allowed_algs = allowed
        reader.deserialize(made)
        reader.verify(second_jwk.JWK(**bare))
        return True
    except Exception:
        return False


def signature_verdicts(case, made):
    """What PyJWT and jwcrypto say of the signature and its algorithm, each by its own rules."""
    header = json.loads(decode(parts(made)[0]))
    alg = header.get("alg")
    allowed = case["policy"].get("algorithms", ALL)
    keys = list(candidates(case, header))
    return (
        any(pyjwt_takes(key, alg, allowed, made) for key in keys),
        any(jwcrypto_takes(key, allowed, made) for key in keys),
    )


@contextlib.contextmanager
def at(now):
    """PyJWT reads the clock itself."""

    class Fixed(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(now, tz or timezone.utc)

    import jwt.api_jwt

    real, jwt.api_jwt.datetime = jwt.api_jwt.datetime, Fixed
    try:
        yield
    finally:
        jwt.api_jwt.datetime = real


def claims_hold(case, made):
    """What PyJWT says of times, issuer and audience; None where it has no such rule."""
    policy, claims = case["policy"], json.loads(decode(parts(made)[1]))
    if any(isinstance(claims.get(name), float) for name in ("exp", "nbf", "iat")):
        return None  # It cuts fractions off.
    off = dict.fromkeys(("signature", "exp", "nbf", "iat", "iss", "aud", "sub", "jti"), False)
    issuers = [policy["issuer"], *policy.get("issuer_alias", [])]

    def holds(which, **more):
        options = {f"verify_{name}": on for name, on in {**off, **which}.items()}
        required = [] if policy.get("without_expiry") else ["exp"]
        try:
            jwt.decode(made, options={**options, "require": ["iss", *required]}, **more)
            return True
        except jwt.PyJWTError:
            return False

    with at(case["now"]):
        return (
            holds({"exp": True}, leeway=policy.get("expiry_leeway", 0))
            and holds({"nbf": True, "iat": True}, leeway=policy.get("leeway", 30))
            and holds({"iss": True}, issuer=issuers)
            and (
                "audience" not in policy
                or holds({"aud": True}, audience=policy["audience"])
            )
        )


CRYPTOGRAPHIC = {"signature", "algorithm", "ambiguous", "unknown_key"}
OF_CLAIMS = {
    "audience", "client_id", "confirmation", "expired", "group", "invalid_claim", "issuer",
    "missing_claim", "not_yet_valid", "scope", "token_use", "too_old", "type",
}


# Where a second reader is known to be more lenient, and the rule that it passes over. What is
# left of the check is what the other one says.
LENIENT = {
    # RFC 7518 §3.4: jwcrypto halves a signature of any length.
    "ES256: numbers a byte wide": (False, True),
    "ES384: numbers a byte wide": (False, True),
    "ES512: numbers a byte wide": (False, True),
    "ES512: numbers a byte short": (False, True),
    # RFC 7517 §4.3: key_ops is an array.
    "unusable key: ops-text": (True, True),
    # RFC 7515 §2: base64url has no padding.
    "unusable key: padded": (True, True),
    # RFC 7518 §3.3: at least 2048 bits.
    "unusable key: rsa-1024": (True, True),
}


DISAGREEMENTS = []


def agree(case, made):
    """Whether another implementation confirms the verdict; notes where it says otherwise."""
    verdict = case["verdict"]
    if verdict not in CRYPTOGRAPHIC | OF_CLAIMS | {"accept"}:
        return False
    heard = signature_verdicts(case, made)
    if verdict == "ambiguous":
        # Refused though one of the keys fits: that is the point.
        return False
    if verdict in CRYPTOGRAPHIC:
        # jwcrypto has a key of one RSA algorithm verify another, and pays no heed to its `alg`.
        usual = (False, case["rule"] == "RFC 7517 §4.4")
        wanted = LENIENT.get(case["name"], usual)
    else:
        wanted = (True, True)
    if heard != wanted:
        DISAGREEMENTS.append(f"{case['name']}: {verdict}, but PyJWT, jwcrypto: {heard}")
    if verdict in CRYPTOGRAPHIC:
        return wanted != (True, True)
    if verdict not in {"accept", "expired", "not_yet_valid", "issuer", "audience"}:
        return False
    hold = claims_hold(case, made)
    if case["policy"]["profile"] == "id_token" and verdict == "audience":
        # PyJWT lets a token have audiences that nobody trusts.
        hold = None
    if hold is not None and hold != (verdict == "accept"):
        DISAGREEMENTS.append(f"{case['name']}: {verdict}, but PyJWT on the claims: {hold}")
    return verdict == "accept" or hold is not None


# --- the cases

CASES = []
NAMES = set()


def compress(made):
    """Long runs of one unit are written as a pad that the test expands."""
    longest = max(re.finditer(r"(.{1,4}?)\1{200,}", made, re.S), key=lambda m: len(m[0]), default=None)
    if longest is None:
        return made, None
    unit = longest[1]
    pad = {"unit": unit, "times": len(longest[0]) // len(unit)}
    return made[: longest.start()] + "{pad}" + made[longest.end():], pad


def case(name, made, verdict, rule, keys="one", now=NOW, **policy):
    if name in NAMES:
        raise SystemExit(f"two cases are called {name}")
    NAMES.add(name)
    if not {"audience", "client_id", "any"} & policy.keys():
        policy["audience"] = [AUDIENCE]
    made_policy = {"issuer": ISSUER, "profile": "custom", **policy}
    row = {
        "name": name, "key_set": keys, "policy": made_policy, "now": now, "verdict": verdict,
        "rule": rule,
    }
    row["agreed"] = agree(row, made)
    row["token"], pad = compress(made)
    if pad:
        row["pad"] = pad
    CASES.append(row)


def algorithms():
    for alg in ALL:
        header = {"alg": alg, "kid": alg}
        made = token(header)
        free = {"rsa": "rsa", "okp": "ed"}.get(material(alg), material(alg))
        signature = decode(parts(made)[2])
        head, payload, last = parts(made)
        rule = {"RS": "RFC 7518 §3.3", "PS": "RFC 7518 §3.5", "ES": "RFC 7518 §3.4"}.get(
            alg[:2], "RFC 9864 §2.2" if alg == "Ed25519" else "RFC 8037 §3.1"
        )
        case(f"{alg}: a key for it", made, "accept", rule, "all")
        case(f"{alg}: a key of its type", token({"alg": alg, "kid": free}), "accept", rule, "free")
        case(f"{alg}: allowed", made, "accept", "RFC 8725 §3.1", "all", algorithms=[alg])
        case(
            f"{alg}: not allowed", made, "algorithm", "RFC 8725 §3.1", "all",
            algorithms=[a for a in ALL if a != alg],
        )
        case(
            f"{alg}: signed by another key", token(header, name=material(alg) + "_other"),
            "signature", "RFC 7515 §5.2", "all",
        )
        flipped = bytes([signature[0] ^ 1]) + signature[1:]
        spoilt = [
            ("a bit flipped", flipped),
            ("truncated by a byte", signature[:-1]),
            ("all zeros", bytes(len(signature))),
        ]
        # The rest once for each way to verify.
        if alg in ["RS256", "PS256", *EC, "EdDSA"]:
            spoilt += [
                ("last bit flipped", signature[:-1] + bytes([signature[-1] ^ 1])),
                ("half", signature[: len(signature) // 2]),
                ("a zero byte appended", signature + b"\0"),
                ("a zero byte before", b"\0" + signature),
                ("all ones", b"\xff" * len(signature)),
                ("one byte", b"\0"),
                ("twice", signature * 2),
            ]
        for what, changed in spoilt:
            case(f"{alg}: signature {what}", resigned(made, changed), "signature", "RFC 7515 §5.2", "all")
        case(f"{alg}: no signature", f"{head}.{payload}.", "malformed", "RFC 7515 §5.2", "all")
        case(f"{alg}: signature padded", made + "=" * (-len(last) % 4 or 1), "malformed", "RFC 7515 §2", "all")
        case(
            f"{alg}: other claims under the signature",
            f"{head}.{encode(text(good(sub='eve')))}.{last}", "signature", "RFC 7515 §5.2", "all",
        )
        case(
            f"{alg}: other header over the signature",
            f"{encode(text({**header, 'typ': 'JWT'}))}.{payload}.{last}", "signature",
            "RFC 7515 §5.1", "all",
        )
        # The signature is right for the key, the header says another algorithm.
        for claimed in ALL:
            if claimed == alg or {claimed, alg} == set(ED):
                continue
            same_type = alg in RSA and claimed in RSA
            lie = token({"alg": claimed, "kid": free}, name=material(alg), alg=alg)
            case(
                f"{alg}: header says {claimed}", lie, "signature" if same_type else "algorithm",
                "RFC 8725 §3.1", "free",
            )
            if same_type:
                truth = token({"alg": claimed, "kid": alg})
                case(
                    f"{alg}: its key used for {claimed}", truth, "algorithm", "RFC 7517 §4.4", "all"
                )
    for listed in ED:
        for claimed in ED:
            if listed != claimed:
                case(
                    f"{claimed}: a key named {listed}", token({"alg": claimed, "kid": listed}),
                    "accept", "RFC 9864 §2.2", "all",
                )
    for name in [
        "none", "None", "NONE", "nOnE", "none ", "", "HS256", "HS384", "HS512", "hs256", "eddsa",
        "EDDSA", " EdDSA", "EdDSA ", "EdDSA\0", "ed25519", "Ed448", "ES256K", "ML-DSA-44", "RSA1_5",
        "RSA-OAEP", "dir", "A128KW", "ECDH-ES", "PBES2-HS256+A128KW", "RS1", "RS256, EdDSA", "ＥdDSA",
    ]:
        label = json.dumps(name, ensure_ascii=False)
        rule = "RFC 7518 §3.6" if name.lower().strip() == "none" else "RFC 8725 §3.1"
        made = headed(alg=name)
        case(f"alg {label}, signed", made, "algorithm", rule)
        case(f"alg {label}, unsigned", made.rpartition(".")[0] + ".", "malformed", rule)
    for value in [None, 5, True, ["EdDSA"], {}]:
        case(f"alg {json.dumps(value)}", headed(alg=value), "malformed", "RFC 7515 §4.1.1")
    case("alg absent", headed(alg=ABSENT), "malformed", "RFC 7515 §4.1.1")


def hmac_confusion():
    for name, kid in [("rsa", "rsa"), ("p256", "p256"), ("okp", "ed")]:
        public = KEYS[name].public_key()
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = public.public_bytes(serialization.Encoding.PEM, spki)
        der = public.public_bytes(serialization.Encoding.DER, spki)
        key = jwk(name)
        for what, secret in [
            ("PEM", pem), ("PEM after white space", b" \n" + pem), ("PEM without its end", pem.strip()),
            ("DER", der), ("JWK", text(jwk(name, kid=kid)).encode()),
            ("base64url", (key.get("n") or key["x"]).encode()),
            ("octets", decode(key.get("n") or key["x"])), ("nothing", b""),
        ]:
            for size in ["256"] if what != "PEM" else ["256", "384", "512"]:
                signed = f"{encode(text({'alg': f'HS{size}', 'kid': kid}))}.{encode(text(good()))}"
                mac = hmac.new(secret, signed.encode(), getattr(hashlib, f"sha{size}")).digest()
                case(
                    f"HS{size} with the public {name} key as {what}", f"{signed}.{encode(mac)}",
                    "algorithm", "RFC 8725 §2.1", "free",
                )
    signed = f"{encode(text({'alg': 'HS256', 'kid': 'oct-alg'}))}.{encode(text(good()))}"
    mac = hmac.new(b"k" * 32, signed.encode(), hashlib.sha256).digest()
    case("HS256 with an oct key of the set", f"{signed}.{encode(mac)}", "algorithm", "RFC 8725 §3.1", "unusable")


def signatures():
    for alg in EC:
        kid, n = alg, ORDER[alg]
        made = token({"alg": alg, "kid": kid})
        signature = decode(parts(made)[2])
        r, s = (int.from_bytes(half, "big") for half in (signature[: WIDTH[alg]], signature[WIDTH[alg]:]))
        top = 256 ** WIDTH[alg]
        for what, pair in [
            ("r = s = 0", (0, 0)), ("r = 0", (0, s)), ("s = 0", (r, 0)), ("r = n", (n, s)),
            ("s = n", (r, n)), ("r = s = n", (n, n)), ("r = s = 1", (1, 1)), ("s + n", (r, s + n)),
            ("r + n", (r + n, s)), ("r = n - 1", (n - 1, s)), ("swapped", (s, r)),
        ]:
            if max(pair) < top:
                case(
                    f"{alg}: {what}", resigned(made, raw(alg, *pair)), "signature", "RFC 7518 §3.4", "all"
                )
        der = utils.encode_dss_signature(r, s)
        case(f"{alg}: DER", resigned(made, der), "signature", "RFC 7518 §3.4", "all")
        if alg == "ES512":
            # Numbers that are the same without their first byte: one in four.
            while signature[0] or signature[WIDTH[alg]]:
                made = token({"alg": alg, "kid": kid})
                signature = decode(parts(made)[2])
        short = resigned(made, signature[1 : WIDTH[alg]] + signature[WIDTH[alg] + 1 :])
        case(f"{alg}: numbers a byte short", short, "signature", "RFC 7518 §3.4", "all")
        wide = b"\0" + signature[: WIDTH[alg]] + b"\0" + signature[WIDTH[alg] :]
        case(f"{alg}: numbers a byte wide", resigned(made, wide), "signature", "RFC 7518 §3.4", "all")
        # JOSE demands no low s, so the twin is as good.
        r, s = (int.from_bytes(half, "big") for half in (signature[: WIDTH[alg]], signature[WIDTH[alg]:]))
        case(f"{alg}: n - s", resigned(made, raw(alg, r, n - s)), "accept", "RFC 7518 §3.4", "all")
    made = token({"alg": "EdDSA", "kid": "ed"})
    signature = decode(parts(made)[2])
    s = int.from_bytes(signature[32:], "little")
    for what, changed in [
        ("S + L", signature[:32] + (s + ED_ORDER).to_bytes(32, "little")),
        ("S = 0", signature[:32] + bytes(32)),
        ("R = 0", bytes(32) + signature[32:]),
        ("R is the identity, S = 0", b"\1" + bytes(63)),
        ("halves swapped", signature[32:] + signature[:32]),
    ]:
        case(f"EdDSA: {what}", resigned(made, changed), "signature", "RFC 8032 §5.1.7")
    signed = f"{encode(text({'alg': 'PS256', 'kid': 'rsa'}))}.{encode(text(good()))}"
    key, sha256 = KEYS["rsa"], hashes.SHA256()
    for what, scheme in [
        ("no salt", padding.PSS(padding.MGF1(sha256), 0)),
        ("a salt of 20", padding.PSS(padding.MGF1(sha256), 20)),
        ("the longest salt", padding.PSS(padding.MGF1(sha256), padding.PSS.MAX_LENGTH)),
        ("MGF1 with SHA-1", padding.PSS(padding.MGF1(hashes.SHA1()), 32)),
        ("MGF1 with SHA-512", padding.PSS(padding.MGF1(hashes.SHA512()), 32)),
    ]:
        signature = key.sign(signed.encode(), scheme, sha256)
        case(f"PS256: {what}", f"{signed}.{encode(signature)}", "signature", "RFC 7518 §3.5", "free")
    signed = f"{encode(text({'alg': 'RS256', 'kid': 'rsa'}))}.{encode(text(good()))}"
    sha1 = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA1())
    case("RS256: SHA-1", f"{signed}.{encode(sha1)}", "signature", "RFC 7518 §3.3", "free")
    signature = int.from_bytes(key.sign(signed.encode(), padding.PKCS1v15(), sha256), "big")
    modulus = key.public_key().public_numbers().n
    for what, value in [("s = 1", 1), ("s = n", modulus), ("s = n - 1", modulus - 1)]:
        changed = encode(value.to_bytes(256, "big"))
        case(f"RS256: {what}", f"{signed}.{changed}", "signature", "RFC 8017 §8.2.2", "free")
    if signature + modulus < 256**256:
        changed = encode((signature + modulus).to_bytes(256, "big"))
        case("RS256: s + n", f"{signed}.{changed}", "signature", "RFC 8017 §5.2.2", "free")


def keys():
    # Where the token brings its own key.
    evil = jwk("okp_other", kid="ed")
    der = base64.b64encode(
        KEYS["okp_other"].public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).decode()
    for what, member in [
        ("jwk", {"jwk": evil}), ("jku", {"jku": "https://evil.example/jwks.json"}),
        ("x5u", {"x5u": "https://evil.example/x.pem"}), ("x5c", {"x5c": [der]}),
        ("jku to file", {"jku": "file:///etc/passwd"}),
        ("x5t", {"x5t": encode(b"x" * 20), "x5t#S256": encode(b"x" * 32)}),
    ]:
        rule = "RFC 8725 §3.10"
        header = {"alg": "EdDSA", **member}
        stranger = lambda more: token({**header, **more}, name="okp_other", alg="EdDSA")
        case(f"{what} of a stranger, our kid", stranger({"kid": "ed"}), "signature", rule)
        case(f"{what} of a stranger, no kid", stranger({}), "signature", rule)
        case(f"{what} of a stranger, his kid", stranger({"kid": "evil"}), "unknown_key", rule)
        case(f"{what} is ignored", token({**header, "kid": "ed"}), "accept", "RFC 7515 §4.1")
    for what, kid in [
        ("path", "../../../../dev/null"), ("SQL", "x' UNION SELECT 'k';--"), ("shell", "|/usr/bin/id"),
        ("NUL", "ed\0"), ("line break", "ed\nlevel=INFO forged"), ("empty", ""), ("upper case", "ED"),
        ("space after", "ed "), ("space before", " ed"), ("prefix", "e"), ("suffix", "edd"),
        ("URL", "https://evil.example/jwks.json#ed"), ("separator", "https://other.example|ed"),
        ("escape", "\x1b[31med"), ("right to left", "\u202eed"), ("prototype", "__proto__"),
        ("backtracking", "a" * 60 + "!"), ("full width", "ｅｄ"), ("glob", "*"),
    ]:
        case(f"kid: {what}", headed(kid=kid), "unknown_key", "RFC 8725 §3.10")
    for value in [None, 1, True, ["ed"], {"ed": 1}]:
        case(f"kid {json.dumps(value)}", headed(kid=value), "malformed", "RFC 7515 §4.1.4")
    case("kid of 1024 bytes", headed(kid="a" * 1024), "unknown_key", "RFC 8725 §3.10")
    case("kid of 1025 bytes", headed(kid="a" * 1025), "too_large", "RFC 8725 §3.10")
    case("kid spelled with an escape", token('{"alg":"EdDSA","kid":"\\u0065d"}'), "accept", "RFC 8259 §8.3")
    case("kid empty, and so listed", headed(kid=""), "accept", "RFC 7517 §4.5", "odd")
    case("kid beyond ASCII", headed(kid="käse-🔑"), "accept", "RFC 7517 §4.5", "odd")
    rule = "RFC 7515 §4.1.4"
    case("no kid, one key", headed(kid=ABSENT), "accept", rule)
    case("no kid, one key without", headed(kid=ABSENT), "accept", rule, "anonymous")
    case("a kid, one key without", headed(), "unknown_key", rule, "anonymous")
    case("no kid, one key of each kind", headed(kid=ABSENT), "accept", rule, "anonymous_kinds")
    case(
        "no kid, no key of the kind", token({"alg": "ES384"}), "algorithm", rule, "anonymous_kinds"
    )
    case("no kid, two keys that fit", headed(kid=ABSENT), "ambiguous", rule, "anonymous_pair")
    case(
        "no kid, two keys that fit, both tried", headed(kid=ABSENT), "accept", rule,
        "anonymous_pair", try_ambiguous=True,
    )
    for alg in ["RS256", "PS512", "ES256", "EdDSA"]:
        case(
            f"one kid, three kinds: {alg}", token({"alg": alg, "kid": "k"}), "accept",
            "RFC 7517 §4.5", "same_kid_kinds",
        )
    crossed = token({"alg": "ES256", "kid": "k"}, name="okp", alg="EdDSA")
    case("one kid, three kinds: signed by another", crossed, "signature", "RFC 7517 §4.5", "same_kid_kinds")
    case("one kid, three kinds: none for it", token({"alg": "ES384", "kid": "k"}), "algorithm", "RFC 7517 §4.5", "same_kid_kinds")
    for alg, name in [("RS256", "rsa"), ("PS256", "rsa_other")]:
        case(
            f"one kid, two algorithms: {alg}", token({"alg": alg, "kid": "k"}, name=name), "accept",
            "RFC 7517 §4.4", "same_kid_algorithms",
        )
        other = {"rsa": "rsa_other", "rsa_other": "rsa"}[name]
        case(
            f"one kid, two algorithms: {alg} by the other's key",
            token({"alg": alg, "kid": "k"}, name=other), "signature", "RFC 7517 §4.4",
            "same_kid_algorithms",
        )
    for name in ["okp", "okp_other"]:
        made = token({"alg": "EdDSA", "kid": "k"}, name=name)
        case(f"one kid, two keys that fit: {name}", made, "ambiguous", "RFC 7517 §4.5", "same_kid_pair")
        case(
            f"one kid, two keys that fit: {name}, both tried", made, "accept", "RFC 7517 §4.5",
            "same_kid_pair", try_ambiguous=True,
        )
    forged = resigned(token({"alg": "EdDSA", "kid": "k"}), bytes(64))
    case("one kid, two keys that fit: neither, both tried", forged, "signature", "RFC 7517 §4.5", "same_kid_pair", try_ambiguous=True)
    rules = {
        "oct": "RFC 8725 §3.1", "use": "RFC 7517 §4.2", "ops": "RFC 7517 §4.3", "private": "RFC 7517 §8.1",
        "alg": "RFC 7517 §4.4", "rsa": "RFC 7518 §6.3.1", "off": "RFC 8725 §3.4", "kty": "RFC 7517 §4.1",
    }
    for listed in SETS["unusable"]["keys"]:
        kid = listed["kid"]
        if kid == "ed":
            continue
        if kid.startswith("rsa"):
            name, alg = ("rsa_1024" if kid == "rsa-1024" else "rsa"), "RS256"
        elif kid.startswith(("ed", "x25519")):
            name, alg = "okp", "EdDSA"
        else:
            name, alg = ("k256" if kid == "k256" else "p256"), "ES256"
        made = token({"alg": alg, "kid": kid}, name=name, alg=alg)
        # The material itself is good in many; that the set forbids it is what the case says.
        verdict = "unknown_key"
        case(f"unusable key: {kid}", made, verdict, rules.get(kid.split("-")[0], "RFC 7518 §6.2.1"), "unusable")
    case("the good key among unusable ones", headed(), "accept", "RFC 7517 §5", "unusable")
    for kid in ["ops-verify", "ops-both", "unknown-members"]:
        case(f"odd key: {kid}", token({"alg": "ES256", "kid": kid}), "accept", "RFC 7517 §4", "odd")
    # RFC 7518 §6.3.1.1 forbids the octet, issuers write it, and the number is the same.
    case("odd key: leading-zero", token({"alg": "RS256", "kid": "leading-zero"}), "accept", "RFC 7518 §6.3.1.1", "odd")


def base64url():
    # Claims whose base64url has both letters in which the alphabets differ.
    claims = text(good(x="???>>>~~~"))
    header = '{"alg":"EdDSA","kid":"ed","x":"???>>>~~~"}'
    while not (len(encode(header)) % 4 and len(encode(claims)) % 4):
        header += " " if len(encode(header)) % 4 == 0 else ""
        claims += " " if len(encode(claims)) % 4 == 0 else ""
    for salt in range(10_000):
        segments = [encode(header), encode(claims.replace("ada", f"ada{salt:04}"))]
        segments.append(parts(sealed(".".join(segments)))[2])
        if all("-" in s and "_" in s for s in segments):
            break
    else:
        raise SystemExit("no signature with both letters")
    case("base64url: the token itself", ".".join(segments), "accept", "RFC 7515 §2")

    def bits(segment):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return segment[:-1] + alphabet[alphabet.index(segment[-1]) | 1]

    middle = lambda s, what: s[: len(s) // 2] + what + s[len(s) // 2 :]
    spoilt = {
        "=": lambda s: s + "=", "==": lambda s: s + "==", "right padding": lambda s: s + "=" * (-len(s) % 4),
        "===": lambda s: s + "===",
        "= before": lambda s: "=" + s, "= within": lambda s: middle(s, "="),
        "+": lambda s: s.replace("-", "+"), "slash": lambda s: s.replace("_", "/"),
        "space after": lambda s: s + " ", "space before": lambda s: " " + s, "space within": lambda s: middle(s, " "),
        "line break after": lambda s: s + "\n", "line break within": lambda s: middle(s, "\n"),
        "CRLF within": lambda s: middle(s, "\r\n"),
        "tab within": lambda s: middle(s, "\t"), "NUL after": lambda s: s + "\0", "NUL within": lambda s: middle(s, "\0"),
        "percent": lambda s: s + "%3D", "beyond ASCII": lambda s: middle(s, "é"), "comma": lambda s: middle(s, ","),
        "bits after the end": bits, "one letter too many": lambda s: s + "A" * ((5 - len(s) % 4) % 4 or 4),
        "byte order mark": lambda s: "\ufeff" + s,
    }
    for place, name in enumerate(["header", "payload", "signature"]):
        for what, change in spoilt.items():
            changed = list(segments)
            changed[place] = change(changed[place])
            if place < 2:
                # Signed as it is spelled, so that nothing but the spelling is wrong.
                changed[2] = parts(sealed(".".join(changed[:2])))[-1]
            if changed[place] == segments[place]:
                raise SystemExit(f"{what} does nothing to the {name}")
            case(f"base64url: {what}, {name}", ".".join(changed), "malformed", "RFC 7515 §2")


def shape():
    made = token()
    head, payload, last = parts(made)
    for what, changed in [
        ("empty", ""), ("a dot", "."), ("two dots", ".."), ("three dots", "..."), ("four dots", "...."),
        ("one segment", head), ("two segments", f"{head}.{payload}"), ("two segments and a dot less", f"{head}{payload}.{last}"),
        ("four segments", f"{made}.{last}"), ("five segments", f"{head}.{payload}.{last}.{last}.{last}"),
        ("five segments, two empty", f"{head}..{payload}.{last}."),
        ("no header", f".{payload}.{last}"), ("no payload", f"{head}..{last}"), ("no signature", f"{head}.{payload}."),
        ("a dot after", made + "."), ("a dot before", "." + made), ("doubled dot", f"{head}..{payload}.{last}"),
        ("scheme before", "Bearer " + made), ("quoted", f'"{made}"'), ("space after", made + " "),
        ("space before", " " + made), ("line break after", made + "\n"), ("in brackets", f"[{made}]"),
        ("two tokens", f"{made},{made}"), ("two tokens, space", f"{made} {made}"), ("other dot", made.replace(".", "。")),
        ("JSON serialization", text({"protected": head, "payload": payload, "signature": last})),
        ("general JSON serialization", text({"payload": payload, "signatures": [{"protected": head, "signature": last}]})),
        ("percent-encoded dots", made.replace(".", "%2E")), ("not a token", "hello"), ("HTML", "<html>...</html>"),
    ]:
        case(f"shape: {what}", changed, "malformed", "RFC 7515 §7.1")
    jwe = {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "ed"}
    case("JWE", f"{encode(text(jwe))}.{encode(b'k' * 32)}.{encode(b'i' * 12)}.{encode(b'c' * 40)}.{encode(b't' * 16)}", "malformed", "RFC 7516 §9")
    pbes = {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31, "p2s": "AAAA"}
    case("JWE, PBES2 with 2^31 rounds", f"{encode(text(pbes))}.AA.AA.AA.AA", "malformed", "RFC 8725 §3.2")
    case("PBES2 with 2^31 rounds, three segments", token(pbes), "algorithm", "RFC 8725 §3.2")
    case("ECDH-ES, three segments", headed(alg="ECDH-ES", epk=jwk("p256_other")), "algorithm", "RFC 8725 §3.1")


def sizes():
    rule = "RFC 7515 §10 (limits)"
    case("size: a megabyte of dots", "." * 1_000_000, "too_large", rule)
    case("size: four megabytes of header", "A" * 4_000_000 + ".AAAA.AAAA", "too_large", rule)
    case("size: a megabyte without a dot", "A" * 1_000_000, "too_large", rule)
    case("size: 16 384 dots", "." * 16_384, "malformed", rule)
    case("size: a megabyte of kid", headed(kid="a" * 1_000_000), "too_large", rule)

    filled = lambda length: token(claims=good(x="a" * length))
    most = max(n for n in range(11_900, 12_100) if len(filled(n)) <= 16_384)
    case("size: just within 16 KiB", filled(most), "accept", rule)
    case("size: just over 16 KiB", filled(most + 1), "too_large", rule)
    case("size: within a cap of its own", token(), "accept", rule, max_token_bytes=len(token()))
    case("size: over a cap of its own", token(), "too_large", rule, max_token_bytes=len(token()) - 1)
    within = max((n for n in range(3_000, 3_100) if len(encode(text({"alg": "EdDSA", "kid": "ed", "x": "a" * n}))) <= 4096))
    case("size: header just within 4 KiB", headed(x="a" * within), "accept", rule)
    case("size: header just over 4 KiB", headed(x="a" * (within + 1)), "too_large", rule)
    long = token().rpartition(".")[0] + "." + "A" * 1366
    case("size: signature as of RSA 8192", long, "signature", rule)
    case("size: signature longer than any", long + "AAAA", "signature", rule)


def strict_json():
    """The same faults in header and claims."""
    for place in ["header", "claims"]:
        if place == "header":
            whole = {"alg": "EdDSA", "kid": "ed"}
            make = lambda body: token(header=body)
        else:
            whole = good()
            make = lambda body: token(claims=body)
        members = text(whole)[1:-1]
        first = "alg" if place == "header" else "sub"
        again = "EdDSA" if place == "header" else "ada"
        strict = "RFC 8259 §2"
        one_name = "RFC 7515 §4" if place == "header" else "RFC 7519 §4"
        utf8 = "RFC 8259 §8.1"
        escapes = "RFC 8259 §7"
        numbers = "RFC 8259 §6"
        depth = "RFC 8259 §9"
        deep = lambda levels: f'{{{members},"x":{"[" * levels}{"]" * levels}}}'
        for what, body, rule in [
            ("empty", " ", strict), ("text", "hello", strict), ("an array", f"[{{{members}}}]", strict),
            ("a string", text(json.dumps(text(whole))), strict), ("null", "null", strict), ("a number", "1", strict),
            ("true", "true", strict), ("an empty array", "[]", strict), ("no closing brace", "{" + members, strict),
            ("no opening brace", members + "}", strict), ("only an opening brace", "{", strict),
            ("two objects", f"{{{members}}}{{{members}}}", strict), ("text after", f"{{{members}}} x", strict),
            ("a brace after", f"{{{members}}}}}", strict), ("a comma after", f"{{{members}}},", strict),
            ("NUL after", f"{{{members}}}\0", strict), ("trailing comma", f"{{{members},}}", strict),
            ("leading comma", f"{{,{members}}}", strict), ("two commas", f'{{{members},,"x":1}}', strict),
            ("comment", f"{{{members}/* x */}}", strict), ("line comment", f"{{{members}// x\n}}", strict),
            ("single quotes", f"{{{members},'x':1}}", strict), ("name without quotes", f"{{{members},x:1}}", strict),
            ("name that is a number", f"{{{members},1:1}}", strict), ("no colon", f'{{{members},"x" 1}}', strict),
            ("no value", f'{{{members},"x":}}', strict), ("no member but a name", f'{{{members},"x"}}', strict),
            ("equals sign", f'{{{members},"x"=1}}', strict), ("open string", f'{{{members},"x":"y}}', strict),
            ("undefined", f'{{{members},"x":undefined}}', strict), ("True", f'{{{members},"x":True}}', strict),
            ("form feed as white space", f"{{{members}\f}}", strict), ("no-break space as white space", f"{{{members}\u00a0}}", strict),
            ("vertical tab as white space", f"{{{members}\v}}", strict),
            ("array not closed", f'{{{members},"x":[1}}', strict), ("array with trailing comma", f'{{{members},"x":[1,]}}', strict),
            ("byte order mark", f"\ufeff{{{members}}}", utf8),
            ("not UTF-8", f"{{{members},".encode() + b'"x":"\xff"}', utf8),
            ("overlong UTF-8", f"{{{members},".encode() + b'"x":"\xc0\xaf"}', utf8),
            ("surrogate in UTF-8", f"{{{members},".encode() + b'"x":"\xed\xa0\x80"}', utf8),
            ("cut UTF-8", f"{{{members},".encode() + b'"x":"\xe2\x82"}', utf8),
            ("UTF-16", f"{{{members}}}".encode("utf-16"), utf8), ("UTF-32", f"{{{members}}}".encode("utf-32-le"), utf8),
            ("lone surrogate", f'{{{members},"x":"\\ud800"}}', escapes), ("lone low surrogate", f'{{{members},"x":"\\udc00"}}', escapes),
            ("surrogates in the wrong order", f'{{{members},"x":"\\udc00\\ud800"}}', escapes),
            ("surrogate and a letter", f'{{{members},"x":"\\ud800\\u0041"}}', escapes),
            ("unknown escape", f'{{{members},"x":"\\x41"}}', escapes), ("short escape", f'{{{members},"x":"\\u12"}}', escapes),
            ("signed escape", f'{{{members},"x":"\\u+041"}}', escapes), ("escape of an apostrophe", f'{{{members},"x":"\\\'"}}', escapes),
            ("control character", f'{{{members},"x":"\x01"}}', escapes), ("line break in a string", f'{{{members},"x":"\n"}}', escapes),
            ("tab in a string", f'{{{members},"x":"\t"}}', escapes), ("control character in a name", f'{{{members},"\x01":1}}', escapes),
            ("NaN", f'{{{members},"x":NaN}}', numbers), ("Infinity", f'{{{members},"x":Infinity}}', numbers),
            ("-Infinity", f'{{{members},"x":-Infinity}}', numbers), ("leading zero", f'{{{members},"x":01}}', numbers),
            ("plus", f'{{{members},"x":+1}}', numbers), ("hexadecimal", f'{{{members},"x":0x1}}', numbers),
            ("no digit before the point", f'{{{members},"x":.5}}', numbers), ("no digit after the point", f'{{{members},"x":1.}}', numbers),
            ("no exponent", f'{{{members},"x":1e}}', numbers), ("two minuses", f'{{{members},"x":--1}}', numbers),
            ("only a minus", f'{{{members},"x":-}}', numbers), ("underscore in a number", f'{{{members},"x":1_0}}', numbers),
            ("number beyond a double", f'{{{members},"x":1e400}}', numbers),
            ("duplicate", f'{{{members},"{first}":"{again}"}}', one_name),
            ("duplicate before", f'{{"{first}":"none",{members}}}', one_name),
            ("duplicate spelled with an escape", f'{{{members},"\\u00{ord(first[0]):02x}{first[1:]}":"{again}"}}', one_name),
            ("duplicate of an unknown member", f'{{{members},"x":1,"x":1}}', one_name),
            ("duplicate of an empty name", f'{{{members},"":1,"":1}}', one_name),
            ("duplicate in an object", f'{{{members},"x":{{"y":1,"y":2}}}}', one_name),
            ("duplicate deep within", f'{{{members},"x":[{{"y":[{{"z":1,"z":1}}]}}]}}', one_name),
            ("duplicate beyond many", f'{{{members},{",".join(f"{chr(34)}m{n}{chr(34)}:0" for n in range(40))},"m0":0}}', one_name),
            ("17 levels", deep(16), depth), ("1 500 levels", deep(1_000), depth),
            ("unclosed levels", f'{{{members},"x":{"[" * 1_000}', depth),
        ]:
            case(f"{place}: {what}", make(body), "malformed", rule)
        for what, body, rule in [
            ("white space", f" \t\r\n{{ {members} \n}}\r\n ", strict), ("escaped name", f'{{{members},"\\u0078":1}}', escapes),
            ("empty name", f'{{{members},"":1}}', strict), ("every escape", f'{{{members},"x":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"}}', escapes),
            ("surrogate pair", f'{{{members},"x":"\\ud83d\\ude00"}}', escapes), ("beyond ASCII", f'{{{members},"é😀":"é😀"}}', utf8),
            ("escaped NUL", f'{{{members},"x":"\\u0000"}}', escapes), ("DEL in a string", f'{{{members},"x":"\x7f"}}', escapes),
            ("every kind of number", f'{{{members},"x":[0,-0,1.5,-1.5e3,1E+2,1e-2,12345678901234567890]}}', numbers),
            ("every kind of value", f'{{{members},"x":[null,true,false,"",[],{{}}]}}', strict),
            ("one name at two depths", f'{{{members},"x":{{"x":{{"x":1}},"{first}":1}}}}', one_name),
            ("names that differ in case", f'{{{members},"{first.upper()}":"none"}}', one_name),
            ("prototype names", f'{{{members},"__proto__":{{"{first}":"none"}},"constructor":1}}', one_name),
            ("16 levels", deep(15), depth),
        ]:
            case(f"{place}: {what} is fine", make(body), "accept", rule)
    members = text(good())[1:-1]
    wide = lambda count: f'{{{members},{",".join(f"{chr(34)}{n}{chr(34)}:0" for n in range(count))}}}'
    case("claims: 1 000 members are fine", token(claims=wide(995)), "accept", "RFC 8259 §9")
    case("claims: 1 001 members", token(claims=wide(996)), "malformed", "RFC 8259 §9")
    elements = lambda count: f'{{{members},"x":[{",".join("0" * count)}]}}'
    case("claims: 994 elements are fine", token(claims=elements(994)), "accept", "RFC 8259 §9")
    case("claims: 995 elements", token(claims=elements(995)), "malformed", "RFC 8259 §9")
    case("header: empty object", token(header="{}"), "malformed", "RFC 7515 §4.1.1")
    case("claims: empty object", token(claims="{}"), "missing_claim", "RFC 7519 §4.1.4")
    case("claims: alg in the claims", token(claims=good(alg="none", kid="x", crit=["x"])), "accept", "RFC 7519 §4")
    case("header: claims in the header", headed(iss="https://evil.example", exp=1), "accept", "RFC 7519 §5.3")


def header_members():
    rule = "RFC 7515 §4.1.11"
    for value in [
        [], ["exp"], ["x"], ["alg"], ["kid"], ["b64"], ["exp", "exp"], ["absent"], [""], [1], [None], [["exp"]],
        "exp", "", None, 1, True, False, {}, {"exp": True},
    ]:
        case(f"crit {json.dumps(value)}", headed(crit=value), "malformed", rule)
    case("crit names a member that is there", headed(crit=["x"], x=1), "malformed", rule)
    case("crit names exp, which is there", headed(crit=["exp"], exp=NOW + 300), "malformed", rule)
    case("crit names a URI", headed(crit=["http://example.com/UNDEFINED"], **{"http://example.com/UNDEFINED": True}), "malformed", rule)
    case("crit spelled with an escape", token('{"alg":"EdDSA","kid":"ed","\\u0063rit":["x"],"x":1}'), "malformed", rule)
    case("crit in upper case is another member", headed(CRIT=["x"]), "accept", rule)
    for value in [False, True, None, "false", 0]:
        case(f"b64 {json.dumps(value)}", headed(b64=value), "malformed", "RFC 7797 §6")
        case(f"b64 {json.dumps(value)} and crit", headed(b64=value, crit=["b64"]), "malformed", "RFC 7797 §6")
    signed = f"{encode(text({'alg': 'EdDSA', 'kid': 'ed', 'b64': False, 'crit': ['b64']}))}.{text(good())}"
    case("a payload that is not encoded", sealed(signed), "malformed", "RFC 7797 §7")
    for value in ["DEF", "GZ", "", None, 1]:
        case(f"zip {json.dumps(value)}", headed(zip=value), "malformed", "RFC 7516 §4.1.3")
    for value in ["JWT", "jwt", "Jwt", "application/jwt", "application/JWT", "APPLICATION/jwt"]:
        case(f"cty {value}", headed(cty=value), "malformed", "RFC 7519 §5.2")
        nested = token({"alg": "EdDSA", "kid": "ed", "cty": value}, token())
        case(f"a nested JWT, cty {value}", nested, "malformed", "RFC 7519 §5.2")
    case("a nested JWT without cty", token(claims=token()), "malformed", "RFC 7519 §7.2")
    case("cty of another content", headed(cty="json"), "accept", "RFC 7515 §4.1.10")
    for value in [None, 1, ["JWT"], {}]:
        case(f"cty {json.dumps(value)}", headed(cty=value), "malformed", "RFC 7515 §4.1.10")
        case(f"typ {json.dumps(value)}", headed(typ=value), "malformed", "RFC 7515 §4.1.9")


# For every profile, and then some for the two that say most.
FEW_TYPES = [
    "JWT", "jwt", "application/jwt", "at+jwt", "AT+JWT", "Application/AT+JWT", "", "JWT ", "logout+jwt",
    "id+jwt", "dpop+jwt", "secevent+jwt", "at+jwt;v=1",
]
TYPES = [
    "JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT", "at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt",
    "Application/AT+JWT", "", " ", "JWT ", " JWT", "JWS", "JOSE", "JOSE+JSON", "JWE", "id+jwt", "logout+jwt",
    "application/logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "oauth-authz-req+jwt", "rt+jwt",
    "at-jwt", "at jwt", "at+jwt;v=1", "text/jwt", "application/application/jwt", "application/", "x/application/jwt",
    "JWT\0", "ＪＷＴ", "at+JWS", "client-authentication+jwt", "entity-statement+jwt",
]


def types():
    bare = lambda typ: typ.lower().removeprefix("application/")
    profiles = {
        "custom": (("jwt", "at+jwt"), True, {}, good(), "RFC 7515 §4.1.9"),
        "custom, dpop+jwt": (("dpop+jwt",), False, {"typ": "dpop+jwt"}, good(), "RFC 8725 §3.11"),
        "rfc9068": (("at+jwt",), False, {"profile": "rfc9068"}, RFC9068(), "RFC 9068 §4"),
        "id_token": (("jwt",), True, {"profile": "id_token"}, OIDC(), "RFC 8725 §3.11"),
        "cognito_access": (("jwt",), True, ACCESS_POLICY, POOL_ACCESS(), "RFC 8725 §3.11"),
        "cognito_id": (("jwt",), True, ID_POLICY, POOL_ID(), "RFC 8725 §3.11"),
    }
    for name, (accepted, optional, policy, claims, rule) in profiles.items():
        for typ in TYPES if name in ["custom", "rfc9068"] else FEW_TYPES:
            verdict = "accept" if bare(typ) in accepted else "type"
            made = token({"alg": "EdDSA", "kid": "ed", "typ": typ}, claims)
            case(f"{name}: typ {json.dumps(typ, ensure_ascii=False)}", made, verdict, rule, **policy)
        made = token({"alg": "EdDSA", "kid": "ed"}, claims)
        case(f"{name}: no typ", made, "accept" if optional else "type", rule, **policy)


def claim_types():
    for name in ["iss", "sub", "jti", "client_id", "azp", "token_use", "email", "username", "cognito:username"]:
        rule = "OIDC Core §2" if name == "azp" else "RFC 7519 §4.1" if name in ("iss", "sub", "jti") else "RFC 8725 §3.3"
        for value in [None, 1, 1.5, True, False, [], ["ada"], [ISSUER], {}, {"ada": 1}]:
            # What is only shown may be null, which says nothing.
            shown = value is None and name in ("email", "username", "cognito:username")
            verdict = "accept" if shown else "invalid_claim"
            case(f"{name} {json.dumps(value)}", token(claims=good(**{name: value})), verdict, rule)
    rule = "RFC 7519 §4.1.3"
    for value in [None, 1, True, {}, {AUDIENCE: 1}, [AUDIENCE, 5], [5], [None], [AUDIENCE, None], [[AUDIENCE]], [{}], [True]]:
        case(f"aud {json.dumps(value)}", token(claims=good(aud=value)), "invalid_claim", rule)
    for value in [
        [], "", [""], "https://api.example.co", AUDIENCE + "/", AUDIENCE.upper(), "https://api", AUDIENCE + ".evil.example",
        " " + AUDIENCE, AUDIENCE + " ", AUDIENCE + "\0", f"{AUDIENCE} other", f"{AUDIENCE},other", "*", "other", ["other", "another"],
        AUDIENCE.replace("https", "http"), [AUDIENCE + "/"],
    ]:
        case(f"aud {json.dumps(value)}", token(claims=good(aud=value)), "audience", rule)
    for value in [[AUDIENCE], ["other", AUDIENCE], [AUDIENCE, "other"], [AUDIENCE, AUDIENCE]]:
        case(f"aud {json.dumps(value)}", token(claims=good(aud=value)), "accept", rule)
    case("aud absent", token(claims=good(aud=ABSENT)), "missing_claim", rule)
    case("aud spelled with an escape", token(claims=text(good(aud="X")).replace('"X"', '"\\u0068ttps:\\/\\/api.example.com"')), "accept", "RFC 8259 §8.3")
    for value in [ABSENT, "other", [], ["other"]]:
        label = "absent" if value is ABSENT else json.dumps(value)
        case(f"any audience: aud {label}", token(claims=good(aud=value)), "accept", rule, any=True)
    for value in [None, 1, {}, [1]]:
        case(f"any audience: aud {json.dumps(value)}", token(claims=good(aud=value)), "invalid_claim", rule, any=True)
    both = [AUDIENCE, "orders"]
    case("two audiences: the second", token(claims=good(aud="orders")), "accept", rule, audience=both)
    case("two audiences: neither", token(claims=good(aud="other")), "audience", rule, audience=both)
    rule = "RFC 8725 §3.8"
    for value in [
        "", ISSUER + "/", ISSUER.upper(), "https://idp.example.co", ISSUER + ".evil.example", "https://idp", "http://idp.example.com",
        ISSUER + ":443", " " + ISSUER, ISSUER + " ", ISSUER + "\0", "idp.example.com", ISSUER + "?x", ISSUER + "#", "https://user@idp.example.com",
        "HTTPS://idp.example.com", "https://idp.example.com.", ISSUER + "/../", "*", "null",
    ]:
        case(f"iss {json.dumps(value)}", token(claims=good(iss=value)), "issuer", rule)
    case("iss absent", token(claims=good(iss=ABSENT)), "missing_claim", rule)
    case("iss spelled with an escape", token(claims=text(good(iss="X")).replace('"X"', '"https:\\/\\/idp.example.com"')), "accept", "RFC 8259 §8.3")
    alias = {"issuer_alias": [ISSUER + "/"]}
    case("iss: a listed alias", token(claims=good(iss=ISSUER + "/")), "accept", rule, **alias)
    case("iss: the issuer beside an alias", token(), "accept", rule, **alias)
    case("iss: not the listed alias", token(claims=good(iss=ISSUER + "//")), "issuer", rule, **alias)
    rule = "RFC 8725 §3.9"
    ours = {"client_id": ["orders", "billing"]}
    for value, verdict in [
        ("orders", "accept"), ("billing", "accept"), ("other", "client_id"), ("", "client_id"), ("Orders", "client_id"),
        ("orders ", "client_id"), (ABSENT, "missing_claim"), (["orders"], "invalid_claim"),
    ]:
        label = "absent" if value is ABSENT else json.dumps(value)
        case(f"client_id {label} where it decides", token(claims=good(client_id=value, aud=ABSENT)), verdict, rule, **ours)
    case("client_id decides whatever aud says", token(claims=good(client_id="orders", aud="other")), "accept", rule, **ours)
    case("aud is not client_id", token(claims=good(aud="orders")), "missing_claim", rule, **ours)
    case("azp is not client_id", token(claims=good(azp="orders")), "missing_claim", rule, **ours)


def times():
    for name, section in [("exp", "4"), ("nbf", "5"), ("iat", "6")]:
        rule = f"RFC 7519 §4.1.{section}"
        changed = lambda literal: token(claims=text(good(**{name: "@"})).replace('"@"', literal))
        for literal in [
            f'"{NOW + 300}"', '""', '"never"', "null", "true", "false", "[]", f"[{NOW + 300}]", "{}", "-1", "-0.5", "-1e300",
            "1e300", "1.7976931348623157e308", str(2**63), str(2**63 - 1), str(2**64 - 1), str(2**64), "253402300800", str((NOW + 300) * 1000),
        ]:
            case(f"{name} {literal}", changed(literal), "invalid_claim", rule)
        for literal in ["NaN", "Infinity", "1e400", f"+{NOW}", f"0{NOW}", "0x6b49d200", f"{NOW}s"]:
            case(f"{name} {literal}", changed(literal), "malformed", "RFC 8259 §6")
    rule = "RFC 7519 §4.1.4"
    at_exp = lambda value: token(claims=good(exp=value))
    for offset, verdict in [
        (-1_000_000, "expired"), (-1, "expired"), (0, "expired"), (1, "accept"), (2, "accept"), (0.5, "accept"), (0.001, "accept"),
        (-0.5, "expired"), (1.5, "accept"), (31_536_000, "accept"),
    ]:
        case(f"exp = now {offset:+}", at_exp(NOW + offset), verdict, rule)
    for literal in ["0", "1", "-0", "0.5"]:
        case(f"exp {literal}, long ago", token(claims=text(good(exp="@")).replace('"@"', literal)), "expired", rule)
    for literal in ["18000003e2", "1.8000003E9", f"{NOW + 300}.0", "253402300799"]:
        case(f"exp {literal}, in another spelling", token(claims=text(good(exp="@")).replace('"@"', literal)), "accept", "RFC 7519 §2")
    for leeway in [1, 60, 300]:
        for offset, verdict in [(1, "accept"), (0, "expired"), (-1, "expired")]:
            case(f"exp = now - {leeway} {offset:+}, {leeway} s of leeway", at_exp(NOW - leeway + offset), verdict, rule, expiry_leeway=leeway)
    case("exp: leeway for nbf is none for exp", at_exp(NOW), "expired", rule, leeway=300)
    case("exp absent", token(claims=good(exp=ABSENT)), "missing_claim", rule)
    case("exp absent and waived", token(claims=good(exp=ABSENT)), "accept", rule, without_expiry=True)
    case("exp waived but there", at_exp(NOW - 1), "expired", rule, without_expiry=True)
    case("exp waived but wrong", at_exp("never"), "invalid_claim", rule, without_expiry=True)
    for name, section in [("nbf", "5"), ("iat", "6")]:
        rule = f"RFC 7519 §4.1.{section}"
        made = lambda value: token(claims=good(**{name: value}))
        for offset, verdict in [
            (-1_000_000, "accept"), (-1, "accept"), (0, "accept"), (1, "accept"), (29, "accept"), (30, "accept"), (30.5, "not_yet_valid"),
            (31, "not_yet_valid"), (299, "not_yet_valid"),
        ]:
            case(f"{name} = now {offset:+}", made(NOW + offset), verdict, rule)
        for leeway in [0, 1, 60]:
            for offset, verdict in [(-1, "accept"), (0, "accept"), (1, "not_yet_valid")]:
                case(f"{name} = now + {leeway} {offset:+}, {leeway} s of leeway", made(NOW + leeway + offset), verdict, rule, leeway=leeway)
        case(f"{name} 0", made(0), "accept", rule)
        case(f"{name} absent", made(ABSENT), "accept", rule)
        case(f"{name} after exp", made(NOW + 400), "not_yet_valid", rule)
        case(f"{name}: leeway for exp is none for it", made(NOW + 31), "not_yet_valid", rule, expiry_leeway=300)
    rule = "RFC 7519 §4.1.6"
    for age, verdict in [(0, "accept"), (99, "accept"), (130, "accept"), (131, "too_old"), (100_000, "too_old")]:
        case(f"max age 100: iat {age} s ago", token(claims=good(iat=NOW - age)), verdict, rule, max_age=100)
    case("max age 100: no iat", token(claims=good(iat=ABSENT)), "missing_claim", rule, max_age=100)
    case("max age 100, no leeway: iat 100 s ago", token(claims=good(iat=NOW - 100)), "accept", rule, max_age=100, leeway=0)
    case("max age 100, no leeway: iat 101 s ago", token(claims=good(iat=NOW - 101)), "too_old", rule, max_age=100, leeway=0)


def permissions():
    rule = "RFC 6750 §3.1"
    scoped = lambda value, name="scope": token(claims=good(**{name: value}))
    for value, verdict in [
        ("orders/read", "accept"), ("orders/read orders/write", "accept"), ("a  orders/read  b", "accept"), ("orders/write", "scope"),
        ("orders", "scope"), ("orders/readwrite", "scope"), ("ORDERS/READ", "scope"), ("", "scope"), ("orders/read,orders/write", "scope"),
        ("orders/read\torders/write", "scope"), ("*", "scope"), (["orders/read"], "accept"), (["a", "orders/read"], "accept"), ([], "scope"),
        (ABSENT, "scope"), (None, "invalid_claim"), (1, "invalid_claim"), ({}, "invalid_claim"), ({"orders/read": True}, "invalid_claim"),
        (["orders/read", 1], "invalid_claim"), ([["orders/read"]], "invalid_claim"), (True, "invalid_claim"),
    ]:
        label = "absent" if value is ABSENT else json.dumps(value)
        case(f"scope {label}, one demanded", scoped(value), verdict, rule, scopes=["orders/read"])
    case("scp in place of scope", scoped("orders/read", "scp"), "accept", rule, scopes=["orders/read"])
    case("scp as an array", scoped(["orders/read"], "scp"), "accept", rule, scopes=["orders/read"])
    case("scp does not add to scope", token(claims=good(scope="a", scp="orders/read")), "scope", rule, scopes=["orders/read"])
    case("scope stands before scp in either order", token(claims={"scp": "orders/read", **good(scope="a")}), "scope", rule, scopes=["orders/read"])
    case("scp of a wrong type", scoped(1, "scp"), "invalid_claim", rule)
    case("scp of a wrong type after scope", token(claims=good(scope="a", scp=1)), "invalid_claim", rule)
    for value, verdict in [("a b", "accept"), ("b a c", "accept"), ("a", "scope"), ("b", "scope"), ("ab", "scope")]:
        case(f"scope {value}, a and b demanded", scoped(value), verdict, rule, scopes=["a", "b"])
    for value, verdict in [("a", "accept"), ("b", "accept"), ("c", "scope")]:
        case(f"scope {value}, a or b demanded", scoped(value), verdict, rule, any_scope=["a", "b"])
    grouped = lambda value, name="groups": token(claims=good(**{name: value}))
    rule = "RFC 9068 §2.2.3.1"
    for value, verdict in [
        (["admin"], "accept"), ("admin", "accept"), (["x", "admin"], "accept"), (["admins"], "group"), (["Admin"], "group"), ([], "group"),
        ("admin other", "group"), (ABSENT, "group"), (None, "group"), (1, "invalid_claim"), ([1], "invalid_claim"), ({"admin": 1}, "invalid_claim"),
    ]:
        label = "absent" if value is ABSENT else json.dumps(value)
        case(f"groups {label}, one demanded", grouped(value), verdict, rule, groups=["admin"])
    case("groups: another claim", grouped(["admin"], "roles"), "accept", rule, groups=["admin"], groups_claim="roles")
    case("groups: not in the claim that counts", grouped(["admin"]), "group", rule, groups=["admin"], groups_claim="roles")
    for value, verdict in [(["a", "b"], "accept"), (["a"], "group")]:
        case(f"groups {json.dumps(value)}, a and b demanded", grouped(value), verdict, rule, groups=["a", "b"])
    for value, verdict in [(["b"], "accept"), (["c"], "group")]:
        case(f"groups {json.dumps(value)}, a or b demanded", grouped(value), verdict, rule, any_group=["a", "b"])
    thumb = encode(b"t" * 32)
    for rule, value in [
        ("RFC 9449 §7", {"jkt": thumb}), ("RFC 8705 §3", {"x5t#S256": thumb}), ("RFC 7800 §3.1", {"jwk": jwk("p256_other")}),
        ("RFC 7800 §3.1", {"kid": "x"}), ("RFC 7800 §3.1", {}), ("RFC 7800 §3.1", None), ("RFC 7800 §3.1", "x"), ("RFC 7800 §3.1", []),
    ]:
        label = json.dumps(value)[:24]
        case(f"cnf {label}", token(claims=good(cnf=value)), "confirmation", rule)
        case(f"cnf {label}, taken as bearer", token(claims=good(cnf=value)), "accept", rule, sender_constrained_as_bearer=True)


POOL = "eu-west-1_abcd1234"
POOL_ISSUER = f"https://cognito-idp.eu-west-1.amazonaws.com/{POOL}"
COGNITO = "Cognito: verifying JSON web tokens"
ACCESS_POLICY = {"profile": "cognito_access", "issuer": POOL_ISSUER, "pool": POOL, "client_id": ["1example23456789"]}
ID_POLICY = {"profile": "cognito_id", "issuer": POOL_ISSUER, "pool": POOL, "audience": ["1example23456789"]}


def only(claims):
    return {name: value for name, value in claims.items() if value is not ABSENT}


def POOL_ACCESS(**changes):
    return only({
        "sub": "aaaaaaaa-bbbb", "iss": POOL_ISSUER, "client_id": "1example23456789", "origin_jti": "o", "event_id": "e",
        "token_use": "access", "scope": "orders/read", "auth_time": NOW - 60, "exp": NOW + 300, "iat": NOW - 60, "jti": "j",
        "username": "ada", **changes,
    })


def POOL_ID(**changes):
    return only({
        "sub": "aaaaaaaa-bbbb", "iss": POOL_ISSUER, "aud": "1example23456789", "token_use": "id", "auth_time": NOW - 60,
        "exp": NOW + 300, "iat": NOW - 60, "cognito:username": "ada", "email": "ada@example.com", "email_verified": True,
        "cognito:groups": ["admin"], **changes,
    })


def RFC9068(**changes):
    return only({**good(client_id="orders", jti="j"), **changes})


def OIDC(**changes):
    return only({**good(nonce="n", auth_time=NOW - 60), **changes})


def profiles():
    access = lambda **changes: token({"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"}, RFC9068(**changes))
    policy = {"profile": "rfc9068"}
    case("rfc9068: a token of the profile", access(), "accept", "RFC 9068 §2.2", **policy)
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]:
        case(f"rfc9068: no {name}", access(**{name: ABSENT}), "missing_claim", "RFC 9068 §2.2", **policy)
        case(f"rfc9068: {name} null", access(**{name: None}), "invalid_claim", "RFC 9068 §2.2", **policy)
    case("rfc9068: of another audience", access(aud="other"), "audience", "RFC 9068 §4", **policy)
    case("rfc9068: of another issuer", access(iss="https://other.example"), "issuer", "RFC 9068 §4", **policy)
    case("rfc9068: expired", access(exp=NOW), "expired", "RFC 9068 §4", **policy)
    case("rfc9068: bound to a key", access(cnf={"jkt": "x"}), "confirmation", "RFC 9449 §7", **policy)
    case("rfc9068: unsigned", token({"alg": "none", "typ": "at+jwt"}, RFC9068()).rpartition(".")[0] + ".", "malformed", "RFC 9068 §4", **policy)
    case("rfc9068: scope demanded and there", access(scope="a b"), "accept", "RFC 9068 §2.2.3", scopes=["a"], **policy)
    case("rfc9068: scope demanded", access(), "scope", "RFC 9068 §2.2.3", scopes=["a"], **policy)
    case("rfc9068: an ID token", token({"alg": "EdDSA", "kid": "ed", "typ": "JWT"}, OIDC()), "type", "RFC 8725 §3.12", **policy)
    case("rfc9068: a Cognito access token", token(claims=POOL_ACCESS()), "type", "RFC 8725 §3.12", **policy)

    ident = lambda **changes: token({"alg": "EdDSA", "kid": "ed", "typ": "JWT"}, OIDC(**changes))
    policy = {"profile": "id_token"}
    rule = "OIDC Core §3.1.3.7"
    case("id_token: a token of the profile", ident(), "accept", rule, **policy)
    for name in ["iss", "sub", "aud", "exp", "iat"]:
        case(f"id_token: no {name}", ident(**{name: ABSENT}), "missing_claim", "OIDC Core §2", **policy)
        case(f"id_token: {name} null", ident(**{name: None}), "invalid_claim", "OIDC Core §2", **policy)
    case("id_token: of another client", ident(aud="other"), "audience", rule, **policy)
    several = ident(aud=["other", AUDIENCE], azp=AUDIENCE)
    case("id_token: of several clients, not all of them ours", several, "audience", rule, **policy)
    trusted = policy | {"audience": [AUDIENCE, "other"]}
    case("id_token: of several clients, all of them ours", several, "accept", rule, **trusted)
    case("id_token: azp is ours", ident(azp=AUDIENCE), "accept", rule, **policy)
    case("id_token: azp is another", ident(azp="other"), "client_id", rule, **policy)
    case("id_token: azp is another, aud both", ident(aud=[AUDIENCE, "other"], azp="other"), "audience", rule, **policy)
    case("id_token: azp empty", ident(azp=""), "client_id", rule, **policy)
    case("id_token: azp null", ident(azp=None), "invalid_claim", rule, **policy)
    case("id_token: of another issuer", ident(iss="https://other.example"), "issuer", rule, **policy)
    case("id_token: expired", ident(exp=NOW), "expired", rule, **policy)
    case("id_token: an access token", access(), "type", "RFC 8725 §3.12", **policy)
    case("id_token: a logout token", token({"alg": "EdDSA", "kid": "ed", "typ": "logout+jwt"}, OIDC(events={})), "type", "RFC 8725 §3.12", **policy)
    case("custom: azp does not matter", token(claims=good(azp="other")), "accept", rule)

    pool = lambda claims: token({"alg": "RS256", "kid": "RS256"}, claims)
    access, ident = (lambda **c: pool(POOL_ACCESS(**c))), (lambda **c: pool(POOL_ID(**c)))
    both = [("cognito_access", ACCESS_POLICY, access, POOL_ACCESS), ("cognito_id", ID_POLICY, ident, POOL_ID)]
    for name, policy, make, claims in both:
        case(f"{name}: a token of the profile", make(), "accept", COGNITO, "all", **policy)
        for claim in ["iss", "sub", "exp", "iat", "token_use"]:
            case(f"{name}: no {claim}", make(**{claim: ABSENT}), "missing_claim", COGNITO, "all", **policy)
            case(f"{name}: {claim} null", make(**{claim: None}), "invalid_claim", COGNITO, "all", **policy)
        other_use = "id" if name == "cognito_access" else "access"
        for use in [other_use, "refresh", "", "ACCESS", "Id", "access id"]:
            case(f"{name}: token_use {json.dumps(use)}", make(token_use=use), "token_use", COGNITO, "all", **policy)
        region = "cognito-idp.eu-west-1.amazonaws.com"
        for iss, verdict in [
            (f"https://issuer-{region}/{POOL}", "accept"), (POOL_ISSUER + "/", "issuer"), (POOL_ISSUER[:-1], "issuer"), (POOL_ISSUER + "5", "issuer"),
            (f"https://{region}/eu-west-1_ABCD1234", "issuer"), (f"https://{region}/eu-west-1_other5678", "issuer"),
            (POOL_ISSUER.replace("eu-west-1.", "us-east-1."), "issuer"), (f"http://{region}/{POOL}", "issuer"), (f"https://{region}.evil.example/{POOL}", "issuer"),
            (POOL, "issuer"), ("https://accounts.google.com", "issuer"),
        ]:
            aliases = {"issuer_alias": [f"https://issuer-{region}/{POOL}"]} if verdict == "accept" else {}
            case(f"{name}: iss {iss}", make(iss=iss), verdict, COGNITO, "all", **{**policy, **aliases})
        case(f"{name}: expired", make(exp=NOW), "expired", COGNITO, "all", **policy)
        case(f"{name}: signed by another key", token({"alg": "RS256", "kid": "RS256"}, claims(), name="rsa_other"), "signature", COGNITO, "all", **policy)
        case(f"{name}: kid of no key", token({"alg": "RS256", "kid": "gone"}, claims()), "unknown_key", COGNITO, "all", **policy)
        case(f"{name}: bound to a key", make(cnf={"jkt": "x"}), "confirmation", "RFC 9449 §7", "all", **policy)
        for groups, verdict in [(["admin"], "accept"), (["x", "admin"], "accept"), (["x"], "group"), ([], "group"), (ABSENT, "group"), ([1], "invalid_claim")]:
            label = "absent" if groups is ABSENT else json.dumps(groups)
            case(f"{name}: cognito:groups {label}", make(**{"cognito:groups": groups}), verdict, COGNITO, "all", groups=["admin"], **policy)
        case(f"{name}: groups is not cognito:groups", make(groups=["admin"], **{"cognito:groups": ["x"]}), "group", COGNITO, "all", groups=["admin"], **policy)
    for client, verdict in [("other", "client_id"), ("", "client_id"), ("1EXAMPLE23456789", "client_id"), (ABSENT, "missing_claim"), (None, "invalid_claim")]:
        label = "absent" if client is ABSENT else json.dumps(client)
        case(f"cognito_access: client_id {label}", access(client_id=client), verdict, COGNITO, "all", **ACCESS_POLICY)
    case("cognito_access: aud in place of client_id", access(client_id=ABSENT, aud="1example23456789"), "missing_claim", COGNITO, "all", **ACCESS_POLICY)
    case("cognito_access: another aud beside our client_id", access(aud="other"), "accept", COGNITO, "all", **ACCESS_POLICY)
    for aud, verdict in [("other", "audience"), ([], "audience"), (["other", "1example23456789"], "accept"), (ABSENT, "missing_claim"), (None, "invalid_claim")]:
        label = "absent" if aud is ABSENT else json.dumps(aud)
        case(f"cognito_id: aud {label}", ident(aud=aud), verdict, COGNITO, "all", **ID_POLICY)
    case("cognito_id: client_id in place of aud", ident(aud=ABSENT, client_id="1example23456789"), "missing_claim", COGNITO, "all", **ID_POLICY)
    case("cognito_access: an ID token with client_id", ident(client_id="1example23456789"), "token_use", COGNITO, "all", **ACCESS_POLICY)
    case("cognito_access: an ID token", ident(), "missing_claim", COGNITO, "all", **ACCESS_POLICY)
    case("cognito_id: an access token with aud", access(aud="1example23456789"), "token_use", COGNITO, "all", **ID_POLICY)
    case("cognito_id: an access token", access(), "missing_claim", COGNITO, "all", **ID_POLICY)
    for scope, verdict in [("orders/read", "accept"), ("orders/read x", "accept"), ("orders/write", "scope"), (ABSENT, "scope")]:
        label = "absent" if scope is ABSENT else scope
        case(f"cognito_access: scope {label}", access(scope=scope), verdict, COGNITO, "all", scopes=["orders/read"], **ACCESS_POLICY)
    # Each partition of AWS has a domain of its own, and both forms of the issuer in it.
    for region, domain in [
        ("us-gov-west-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn"), ("eusc-de-east-1", "amazonaws.eu"),
    ]:
        there = f"{region}_abcd1234"
        policy = {**ACCESS_POLICY, "pool": there, "issuer": f"https://cognito-idp.{region}.{domain}/{there}"}
        replica = f"https://issuer-cognito-idp.{region}.{domain}/{there}"
        case(f"cognito_access: a pool of {region}", access(iss=policy["issuer"]), "accept", COGNITO, "all", **policy)
        case(f"cognito_access: a pool of {region}, the other issuer", access(iss=replica), "accept", COGNITO, "all", issuer_alias=[replica], **policy)
        for elsewhere in [d for d in ["amazonaws.com", "amazonaws.com.cn", "amazonaws.eu"] if d != domain]:
            moved = policy["issuer"].replace(domain, elsewhere)
            case(f"cognito_access: a pool of {region} at {elsewhere}", access(iss=moved), "issuer", COGNITO, "all", **policy)
        case(f"cognito_access: a pool of {region}, a token of another", access(), "issuer", COGNITO, "all", **policy)
    two = {**ACCESS_POLICY, "client_id": ["other", "1example23456789"]}
    case("cognito_access: one of two clients", access(), "accept", COGNITO, "all", **two)
    anybody = {k: v for k, v in ACCESS_POLICY.items() if k != "client_id"}
    case("cognito_access: any client", access(client_id="other"), "accept", COGNITO, "all", any=True, **anybody)


def main():
    warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
    for section in [
        algorithms, hmac_confusion, signatures, keys, base64url, shape, sizes, strict_json, header_members, types,
        claim_types, times, permissions, profiles,
    ]:
        section()
    if DISAGREEMENTS:
        sys.exit("\n".join(DISAGREEMENTS))
    (HERE / "keys.json").write_text(json.dumps(SETS, indent=1, ensure_ascii=False) + "\n")
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in CASES]
    (HERE / "cases.jsonl").write_text("\n".join(lines) + "\n")
    agreed = sum(row["agreed"] for row in CASES)
    print(f"{len(CASES)} cases, the verdict of {agreed} confirmed by PyJWT or jwcrypto")


if __name__ == "__main__":
    main()
