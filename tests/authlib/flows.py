"""The flows as a Python program does them with Authlib, which knows nothing of this server.

Started by the end-to-end tests (tests/e2e/authlib.rs) with one JSON object as its argument. The user's browser is
played by the tests: this program prints `{"authorize": URL}` and reads the callback's URL. Every secret that it gets is
printed as `{"secret": ...}`, so that the tests can search for it afterwards.
"""

import json
import os
import sys

# Plain http on the loopback address, as in the tests.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.common.security import generate_token  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata  # noqa: E402

setup = json.loads(sys.argv[1])
base = setup["base"]


def say(**message):
    print(json.dumps(message), flush=True)


def keep(token):
    for name in ("access_token", "refresh_token"):
        if token.get(name):
            say(secret=token[name])
    return token


def session(client, method, **more):
    methods = {"token_endpoint_auth_method": method, "revocation_endpoint_auth_method": method}
    return OAuth2Session(client["id"], client["secret"] or None, **methods, **more)


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
    say(done=True)


main()
