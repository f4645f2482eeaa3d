"""A sign-in provider as the setting OIDC_PROVIDERS names it (docs/federation.md)."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from app.setting_values import is_server_url

LOCAL, GPUSTACK = "local", "gpustack"  # who keeps accounts besides the providers here
NAMES = re.compile(r"[a-z][a-z0-9-]{0,31}")
GITHUB = "https://github.com"
GOOGLE = "https://accounts.google.com"
LABELS = {"google": "Google", "microsoft": "Microsoft", "github": "GitHub"}
SCOPES = {"oidc": ("openid", "email", "profile"), "oauth2": ("read:user", "user:email")}
TENANT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)*")
PRINTED = re.compile(r"[!-~]+")

Text = Annotated[str, Meta(max_length=1024)]


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody else's identity is good here, as far as this says.

    `issuer` is the identity's, to the letter; of GitHub it is where GitHub is. `domains` are those of the proved e-mail
    addresses that may make an account, all if it is empty; `sign_up` says whether anybody may, and where it says
    nothing REGISTRATION does, unless there are `domains`. With `link_by_email`
    somebody whose proved address is that of an account here, proved as well, is its owner. With `trust_mfa` a
    sign-in that says it had several factors is asked for none of ours.
    """

    name: Text
    client_id: Text
    client_secret: Text = ""
    preset: Literal["google", "microsoft", "github"] | None = None
    issuer: Text = ""
    tenant: Text = ""  # of Microsoft: the directory's id
    label: Text = ""
    scopes: tuple[Text, ...] = ()
    sign_up: bool | None = None
    domains: tuple[Text, ...] = ()
    link_by_email: bool = False
    trust_mfa: bool = False

    def __repr__(self) -> str:
        return f"Provider(name={self.name!r}, issuer={self.issuer!r})"

    @property
    def kind(self) -> Literal["oidc", "oauth2"]:
        return "oauth2" if self.preset == "github" else "oidc"

    @property
    def api(self) -> str:
        """Of GitHub: of its own two kinds of hosts, or of an Enterprise Server of somebody else."""
        scheme, _, host = self.issuer.partition("://")
        if self.issuer == GITHUB or host.endswith(".ghe.com"):
            return f"{scheme}://api.{host}"
        return f"{self.issuer}/api/v3"

    def admits(self, email: str | None, *, verified: bool, closed: bool) -> bool:
        """Whether somebody with this address gets an account, where registration is open, or where it is closed."""
        if self.sign_up is False or (self.sign_up is None and closed and not self.domains):
            return False
        return not self.domains or (verified and self.vouches_for(email))

    def vouches_for(self, email: str | None) -> bool:
        """Whether its word is taken for an address."""
        return email is not None and (not self.domains or email.rpartition("@")[2] in self.domains)


def parse(raw: str) -> tuple[Provider, ...]:
    """What the setting says.

    Raises:
        ValueError: and what it should be.
    """
    try:
        found = msgspec.json.decode(raw, type=tuple[Provider, ...])
    except msgspec.DecodeError as error:  # says the place and the kind, never the value
        raise ValueError(f"has to be a JSON list of providers: {error}") from None
    providers = tuple(_whole(provider) for provider in found)
    if len({provider.name for provider in providers}) < len(providers):
        raise ValueError("two providers have the same name")
    if len({provider.issuer for provider in providers}) < len(providers):
        raise ValueError("two providers have the same issuer: whose is an identity?")
    return providers


def _whole(said: Provider) -> Provider:
    """With what goes without saying."""
    if not NAMES.fullmatch(said.name) or said.name in (LOCAL, GPUSTACK):
        raise ValueError("`name` has to be of a-z 0-9 - beginning with a letter, and neither local nor gpustack")
    _refuse_what_means_nothing(said)
    issuer = _issuer(said)
    if not is_server_url(issuer):  # OpenID Connect Discovery 1.0 §3
        raise ValueError(f"{said.name}: `issuer` has to be an https:// URL without user, query and fragment")
    scopes = said.scopes or SCOPES[said.kind]
    if not all(PRINTED.fullmatch(each) for each in (said.client_id, said.client_secret or "none", *scopes)):
        raise ValueError(
            f"{said.name}: `client_id`, `client_secret` and `scopes` have to be of ASCII characters without spaces"
        )
    if said.kind == "oidc" and "openid" not in scopes:
        raise ValueError(f"{said.name}: `scopes` have to hold openid")
    domains = tuple(domain.lower() for domain in said.domains)
    if not all(DOMAIN.fullmatch(domain) for domain in domains):
        raise ValueError(f"{said.name}: `domains` have to be names like example.org, in ASCII")
    if not said.label.isprintable():
        raise ValueError(f"{said.name}: `label` has characters that do not print")
    label = said.label or LABELS.get(said.preset or "", said.name.capitalize())
    return msgspec.structs.replace(said, issuer=issuer, scopes=scopes, domains=domains, label=label)


def _refuse_what_means_nothing(said: Provider) -> None:
    """Whoever has set it expects something of it."""
    if said.preset in ("google", "microsoft") and said.issuer:
        raise ValueError(f"{said.name}: `issuer` is that of the preset")
    if said.preset != "microsoft" and said.tenant:
        raise ValueError(f"{said.name}: `tenant` is for the preset microsoft")
    if said.preset == "microsoft" and (said.domains or said.link_by_email):
        raise ValueError(f"{said.name}: Microsoft proves no addresses, so `domains` and `link_by_email` let in nobody")


def _issuer(said: Provider) -> str:
    if said.preset == "google":
        return GOOGLE
    if said.preset == "microsoft":
        if not TENANT.fullmatch(said.tenant):
            raise ValueError(f"{said.name}: `tenant` has to be the id (a UUID) of one directory")
        return f"https://login.microsoftonline.com/{said.tenant.lower()}/v2.0"
    return said.issuer.rstrip("/") or GITHUB if said.preset == "github" else said.issuer


def named_urls(providers: tuple[Provider, ...]) -> list[str]:
    """Where the operator has said that we may ask."""
    return [url for each in providers for url in (each.issuer, *([each.api] if each.kind == "oauth2" else []))]
