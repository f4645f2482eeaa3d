"""Every way in: a password, a second factor, a passkey, somebody else's word."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from app.documentation.samples import (
    CHALLENGE,
    CLIENT_DATA,
    CODE,
    CREDENTIAL,
    IDENTITY,
    PAPER,
    PASSKEY,
    PENDING,
    PHRASE,
    VERIFIER,
)
from app.federation.structs import ProviderItem, ProviderList
from app.identity.controllers import PasswordGrant
from app.identity.identities import Identity, IdentityCode, IdentityList
from app.identity.passkeys import (
    AssertionResponse,
    AttestationResponse,
    Passkey,
    PasskeyAssertion,
    PasskeyList,
    PasskeyLoginOptions,
    PasskeyRegistration,
    PasskeyRenaming,
)
from app.identity.structs import (
    Credentials,
    Exchange,
    PasswordConfirmation,
    Reauthentication,
    RecoveryCodes,
    SecondStep,
    TotpConfirmation,
    TotpEnrolment,
    TotpRemoval,
)

BY_TYPE: Mapping[object, Mapping[str, Struct]] = {
    Credentials: {
        "username": Credentials(username="ada", password=PHRASE, device_name="Ada's laptop"),
        "email": Credentials(username="ada@example.org", password=PHRASE),
    },
    PasswordGrant: {"password": PasswordGrant(grant_type="password", username="ada", password=PHRASE)},
    SecondStep: {
        "code": SecondStep(mfa_token=PENDING, code="492039"),
        "recovery_code": SecondStep(mfa_token=PENDING, recovery_code=PAPER[0]),
    },
    Reauthentication: {"password": Reauthentication(password=PHRASE), "code": Reauthentication(code="492039")},
    TotpEnrolment: {
        "secret": TotpEnrolment(
            secret="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",  # noqa: S106 - an example
            otpauth_uri=(
                "otpauth://totp/auth.example.org:ada?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=auth.example.org"
            ),
            qr_svg='<svg xmlns="http://www.w3.org/2000/svg" width="180" height="180">…</svg>',
        )
    },
    TotpConfirmation: {"code": TotpConfirmation(code="492039")},
    TotpRemoval: {"code": TotpRemoval(password=PHRASE, code="492039")},
    PasswordConfirmation: {"password": PasswordConfirmation(password=PHRASE)},
    RecoveryCodes: {"codes": RecoveryCodes(PAPER)},
    PasskeyRegistration: {
        "passkey": PasskeyRegistration(
            id=CREDENTIAL,
            raw_id=CREDENTIAL,
            type="public-key",
            response=AttestationResponse(
                client_data_json=CLIENT_DATA, attestation_object="o2NmbXRkbm9uZQ", transports=["internal", "hybrid"]
            ),
            name=PASSKEY.name,
        )
    },
    PasskeyAssertion: {
        "passkey": PasskeyAssertion(
            id=CREDENTIAL,
            raw_id=CREDENTIAL,
            type="public-key",
            response=AssertionResponse(
                client_data_json=CLIENT_DATA,
                authenticator_data="SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAQ",
                signature="MEUCIQDk7ItDnfkyCvJY4Hn6",
                user_handle="AAAAAAAAACo",
            ),
        )
    },
    PasskeyLoginOptions: {"anybody": PasskeyLoginOptions(), "ada": PasskeyLoginOptions(username="ada")},
    PasskeyRenaming: {"name": PasskeyRenaming(name="Ada's tablet")},
    PasskeyList: {"list": PasskeyList([PASSKEY])},
    Passkey: {"passkey": PASSKEY},
    ProviderList: {
        "providers": ProviderList(
            items=[
                ProviderItem(name="google", kind="oidc", label="Google"),
                ProviderItem(name="gpustack", kind="gpustack", label="GPUStack"),
            ]
        )
    },
    Exchange: {"code": Exchange(code=CODE, code_verifier=VERIFIER, device_name="Ada's laptop")},
    IdentityCode: {"code": IdentityCode(code=CODE, code_verifier=VERIFIER)},
    Identity: {"google": IDENTITY},
    IdentityList: {"identities": IdentityList(items=[IDENTITY])},
}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "reauthenticate": {"password": {"password": PHRASE}, "code": {"code": "492039"}},
}
ANSWERS: Mapping[tuple[str, int], Mapping[str, Any]] = {
    ("passkey_options", 200): {
        "options": {
            "rp": {"id": "auth.example.org", "name": "auth.example.org"},
            "user": {"id": "AAAAAAAAACo", "name": "ada", "displayName": "Ada Lovelace"},
            "challenge": CHALLENGE,
            "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
            "timeout": 300_000,
            "excludeCredentials": [],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }
    },
    ("passkey_login_options", 200): {
        "options": {
            "challenge": CHALLENGE,
            "timeout": 300_000,
            "rpId": "auth.example.org",
            "allowCredentials": [],
            "userVerification": "required",
        }
    },
}
