"""The providers of the settings. Only who has some imports this: what reads their tokens costs 3 MB a process."""

from collections.abc import Mapping

from app.federation.github import GitHub
from app.federation.openid import OpenIdProvider
from app.federation.sign_ins import IdentityProvider
from app.outbound import Outbound
from app.providers import named_urls
from app.settings import BASE, Settings


def providers(settings: Settings, outbound: Outbound) -> Mapping[str, IdentityProvider]:
    """By their names. What one publishes leads neither to another one behind our walls nor to GPUStack."""
    return {
        each.name: (GitHub if each.kind == "oauth2" else OpenIdProvider)(
            each, outbound.narrowed(named_urls((each,))), f"{settings.public_url}{BASE}/oauth/{each.name}/callback"
        )
        for each in settings.oidc_providers
    }
