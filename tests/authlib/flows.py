"""The flows as a Python program does them with Authlib, which knows nothing of this server.

Started by the end-to-end tests (tests/e2e/authlib.rs) with one JSON object as its argument. The user's browser is
played by the tests: this program prints `{"authorize": URL}` and reads the callback's URL. Every secret that it gets is
printed as `{"secret": ...}`, so that the tests can search for it afterwards.
"""

import json
import os
import sys
import warnings
from urllib.parse import parse_qsl, urlencode, urlparse

# Plain http on the loopback address, as in the tests.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
# It says that authlib.jose will move; until then this is Authlib's own way to read ID tokens.
warnings.simplefilter("ignore")

from authlib.common.security import generate_token  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.jose import JsonWebKey, JsonWebToken  # noqa: E402
from authlib.oauth2.rfc6750.errors import InvalidTokenError  # noqa: E402
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT  # noqa: E402
from authlib.oauth2.rfc7591.claims import ClientMetadataClaims  # noqa: E402
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata  # noqa: E402
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator  # noqa: E402
from authlib.oidc.core import CodeIDToken, HybridIDToken, ImplicitIDToken  # noqa: E402
from authlib.oidc.discovery import OpenIDProviderMetadata  # noqa: E402
from joserfc.jwk import RSAKey  # noqa: E402

setup = json.loads(sys.argv[1])
base = setup["base"]


def say(**message):
    print(json.dumps(message), flush=True)


def keep(token):
    for name in ("access_token", "refresh_token"):
        if token.get(name):
            say(secret=token[name])
    return token


# RFC 7523 2.2: clients that sign to prove who they are.
ASSERTIONS = {"client_secret_jwt": ClientSecretJWT, "private_key_jwt": PrivateKeyJWT}


def session(client, method, **more):
    methods = {"token_endpoint_auth_method": method, "revocation_endpoint_auth_method": method}
    http = OAuth2Session(client["id"], client.get("key") or client["secret"] or None, **methods, **more)
    if method in ASSERTIONS:
        http.register_client_auth_method(ASSERTIONS[method](base + "/oauth/token"))
    return http


def read_metadata():
    """RFC 8414: Authlib checks every member by its rules."""
    url = base + "/.well-known/oauth-authorization-server"
    metadata = AuthorizationServerMetadata(OAuth2Session().request("GET", url, withhold_token=True).json())
    metadata.validate()
    assert metadata["issuer"] == base, metadata
    return metadata


def code_flow(metadata, client, method):
    """RFC 6749 4.1 with RFC 7636, then userinfo, introspection, refresh and revocation."""
    http = session(
        client, method, scope="profile read", redirect_uri=setup["redirect_uri"], code_challenge_method="S256"
    )
    verifier = generate_token(48)
    say(secret=verifier)
    url, state = http.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    say(authorize=url)
    callback = sys.stdin.readline().strip()
    token = keep(
        http.fetch_token(
            metadata["token_endpoint"], authorization_response=callback, state=state, code_verifier=verifier
        )
    )
    assert token["token_type"].lower() == "bearer" and token["expires_in"] > 0, token.keys()

    me = http.get(base + "/api/me")
    assert me.status_code == 200 and setup["username"] in me.text, me.text

    second = keep(http.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"]))
    assert second["access_token"] != token["access_token"]
    assert second["refresh_token"] != token["refresh_token"]

    if method != "none":
        described = http.introspect_token(metadata["introspection_endpoint"], token=second["access_token"]).json()
        assert described["active"] is True and described["username"] == setup["username"], described

    answer = http.revoke_token(metadata["revocation_endpoint"], token=second["refresh_token"])
    assert answer.status_code == 200, answer.text
    try:
        http.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])
    except OAuthError as error:
        assert error.error == "invalid_grant", error
    else:
        raise AssertionError("a revoked refresh token was taken")


def client_credentials(metadata):
    """RFC 6749 4.4."""
    http = session(setup["service"], "client_secret_basic", scope="read")
    token = keep(http.fetch_token(metadata["token_endpoint"], grant_type="client_credentials"))
    assert "refresh_token" not in token
    described = http.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
    assert described["active"] is True and described["client_id"] == setup["service"]["id"], described


def password(metadata):
    """RFC 6749 4.3."""
    http = session(setup["password_client"], "client_secret_basic", scope="profile")
    token = keep(
        http.fetch_token(
            metadata["token_endpoint"],
            grant_type="password",
            username=setup["username"],
            password=setup["password"],
        )
    )
    assert http.get(base + "/api/me").status_code == 200
    assert token["refresh_token"]


def implicit(metadata):
    """RFC 6749 4.2."""
    http = session(setup["implicit"], "none", scope="profile", redirect_uri=setup["redirect_uri"])
    url, state = http.create_authorization_url(metadata["authorization_endpoint"], response_type="token")
    say(authorize=url)
    token = keep(http.fetch_token(authorization_response=sys.stdin.readline().strip(), state=state))
    assert "refresh_token" not in token
    assert http.get(base + "/api/me").status_code == 200


def read_configuration():
    """OpenID Connect Discovery 4: Authlib checks every member by its rules, but for https, which loopback has not."""
    url = base + "/.well-known/openid-configuration"
    configuration = OAuth2Session().request("GET", url, withhold_token=True).json()
    secure = json.loads(json.dumps(configuration).replace("http://", "https://"))
    OpenIDProviderMetadata(secure).validate()
    return configuration


def openid(configuration, client, response_type, response_mode, method="client_secret_basic"):
    """OpenID Connect Core 3.1, 3.2 and 3.3, with all that the ID tokens say; UserInfo and refresh. Gives back the
    session and the newest ID token."""
    http = session(client, method, scope="openid profile", redirect_uri=setup["redirect_uri"])
    nonce = generate_token(20)
    more = {"response_mode": response_mode} if response_mode else {}
    endpoint = configuration["authorization_endpoint"]
    url, state = http.create_authorization_url(endpoint, response_type=response_type, nonce=nonce, **more)
    say(authorize=url)
    callback = urlparse(sys.stdin.readline().strip())
    response = dict(parse_qsl(callback.fragment or callback.query))
    assert response["state"] == state and response["iss"] == base, response.keys()
    keep(response)
    keys = JsonWebKey.import_key_set(
        OAuth2Session().request("GET", configuration["jwks_uri"], withhold_token=True).json()
    )

    def read(id_token, kind, **given):
        claims = JsonWebToken(["RS256"]).decode(
            id_token,
            keys,
            claims_cls=kind,
            claims_options={"iss": {"values": [base]}, "aud": {"values": [client["id"]]}},
            claims_params={"client_id": client["id"], **given},
        )
        claims.validate()
        return claims

    claims = None
    if "id_token" in response:
        kind = HybridIDToken if "code" in response else ImplicitIDToken
        given = {name: response[name] for name in ("code", "access_token") if name in response}
        claims = read(response["id_token"], kind, nonce=nonce, **given)
    if "access_token" in response:
        http.token = {"access_token": response["access_token"], "token_type": response["token_type"]}
        userinfo = http.get(configuration["userinfo_endpoint"]).json()
        assert claims is None or userinfo["sub"] == claims["sub"], userinfo
        assert userinfo["preferred_username"] == setup["username"], userinfo
    if "code" in response:
        token = keep(http.fetch_token(configuration["token_endpoint"], code=response["code"], grant_type="authorization_code"))
        second = read(token["id_token"], CodeIDToken, nonce=nonce, access_token=token["access_token"])
        assert claims is None or claims["sub"] == second["sub"]
        claims = second
        userinfo = http.get(configuration["userinfo_endpoint"]).json()
        assert userinfo["sub"] == claims["sub"] and userinfo["preferred_username"] == setup["username"], userinfo
        third = keep(http.refresh_token(configuration["token_endpoint"], refresh_token=token["refresh_token"]))
        assert read(third["id_token"], CodeIDToken)["sub"] == claims["sub"]
        hint = third["id_token"]
    else:
        hint = response["id_token"]
    return http, hint


def log_out(configuration, hint):
    """RP-Initiated Logout 2 and 3."""
    state = generate_token(12)
    logout = {"id_token_hint": hint, "post_logout_redirect_uri": setup["signed_out"], "state": state}
    say(logout=configuration["end_session_endpoint"] + "?" + urlencode(logout))
    assert sys.stdin.readline().strip() == setup["signed_out"] + "?" + urlencode({"state": state})


def registered(configuration, method):
    """RFC 7591 3, RFC 7592 and RFC 7523 2.2: a client that registers itself, signs to prove who it is, and goes."""
    metadata = {
        "client_name": "A client of Authlib",
        "redirect_uris": [setup["redirect_uri"]],
        "post_logout_redirect_uris": [setup["signed_out"]],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "openid profile",
        "token_endpoint_auth_method": method,
    }
    key = None
    if method == "private_key_jwt":
        key = RSAKey.generate_key(2048)
        metadata["jwks"] = {"keys": [key.as_dict(private=False)]}
    answer = OAuth2Session().request(
        "POST", configuration["registration_endpoint"], json=metadata, withhold_token=True
    )
    assert answer.status_code == 201, answer.text
    said = answer.json()
    for name in ("client_secret", "registration_access_token"):
        if name in said:
            say(secret=said[name])
    ClientMetadataClaims(said, {}).validate()
    assert {name: said[name] for name in metadata if name != "jwks"} == {
        name: value for name, value in metadata.items() if name != "jwks"
    }, said
    client = {"id": said["client_id"], "secret": said.get("client_secret"), "key": key}
    assert (client["secret"] is None) == (method == "private_key_jwt"), said.keys()

    http, hint = openid(configuration, client, "code", None, method)
    described = http.introspect_token(configuration["introspection_endpoint"], token=http.token["access_token"]).json()
    assert described["active"] is True and described["client_id"] == client["id"], described
    assert http.revoke_token(configuration["revocation_endpoint"], token=http.token["access_token"]).status_code == 200
    assert http.get(configuration["userinfo_endpoint"]).status_code == 401
    log_out(configuration, hint)

    own = {"headers": {"Authorization": "Bearer " + said["registration_access_token"]}, "withhold_token": True}
    read = OAuth2Session().request("GET", said["registration_client_uri"], **own)
    assert read.status_code == 200 and read.json()["client_id"] == client["id"], read.text
    assert OAuth2Session().request("DELETE", said["registration_client_uri"], **own).status_code == 204
    try:
        http.fetch_token(configuration["token_endpoint"], code="gone", grant_type="authorization_code")
    except OAuthError as error:
        assert error.error == "invalid_client", error
    else:
        raise AssertionError("a client that is gone was known")


class Api(JWTBearerTokenValidator):
    """An API that reads access tokens by itself (RFC 9068 4)."""

    def __init__(self, audience, keys):
        super().__init__(issuer=base, resource_server=audience)
        self.keys = keys

    def get_jwks(self):
        return self.keys

    def lets_in(self, token):
        try:
            claims = self.authenticate_token(token)
            self.validate_token(claims, ["openid"], None)
        except InvalidTokenError:
            return None
        return claims


def jwt_access_token(configuration, client):
    """RFC 9068, OpenID Connect Core 5.5 and 5.3.2: what an API and a client of Authlib make of what is signed."""
    http = session(client, "client_secret_basic", scope="openid", redirect_uri=setup["redirect_uri"])
    claims = {"userinfo": {"preferred_username": {"essential": True}}, "id_token": {"acr": {"values": ["1"]}}}
    url, state = http.create_authorization_url(configuration["authorization_endpoint"], claims=json.dumps(claims))
    say(authorize=url)
    token = keep(
        http.fetch_token(
            configuration["token_endpoint"], authorization_response=sys.stdin.readline().strip(), state=state
        )
    )
    keys = OAuth2Session().request("GET", configuration["jwks_uri"], withhold_token=True).json()
    caller = Api(base, keys).lets_in(token["access_token"])
    assert caller["client_id"] == client["id"] and caller["scope"] == "openid", caller
    assert Api("https://other.example", keys).lets_in(token["access_token"]) is None
    assert Api(base, keys).lets_in(token["id_token"]) is None

    answer = http.get(configuration["userinfo_endpoint"])
    assert answer.headers["Content-Type"] == "application/jwt", answer.headers
    options = {"iss": {"values": [base]}, "aud": {"values": [client["id"]]}}
    userinfo = JsonWebToken(["RS256"]).decode(answer.text, JsonWebKey.import_key_set(keys), claims_options=options)
    userinfo.validate()
    assert userinfo["sub"] == caller["sub"] and userinfo["preferred_username"] == setup["username"], userinfo

    described = http.introspect_token(configuration["introspection_endpoint"], token=token["access_token"]).json()
    assert described["active"] is True and described["sub"] == caller["sub"], described
    assert http.revoke_token(configuration["revocation_endpoint"], token=token["access_token"]).status_code == 200
    assert http.get(configuration["userinfo_endpoint"]).status_code == 401


def wrong_secret(metadata):
    """RFC 6749 5.2: Authlib reads the error."""
    http = session({"id": setup["service"]["id"], "secret": "wrong"}, "client_secret_basic")
    try:
        http.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    except OAuthError as error:
        assert error.error == "invalid_client", error
    else:
        raise AssertionError("a wrong secret was taken")


def main():
    metadata = read_metadata()
    code_flow(metadata, setup["web"], "client_secret_basic")
    code_flow(metadata, setup["post"], "client_secret_post")
    code_flow(metadata, setup["public"], "none")
    client_credentials(metadata)
    password(metadata)
    implicit(metadata)
    wrong_secret(metadata)
    configuration = read_configuration()
    for response_type in ("code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"):
        for response_mode in (None, "form_post"):
            _, hint = openid(configuration, setup["openid"], response_type, response_mode)
            log_out(configuration, hint)
    for method in ASSERTIONS:
        registered(configuration, method)
    jwt_access_token(configuration, setup["jwt"])
    say(done=True)


main()
