"""The settings document that analytics.js loads before it sends anything.

Its form is CDNSettings of @segment/analytics-next, `browser/settings.ts`. It names one integration
only, because with another the library would load code from Segment's CDN, and switches the
library's own metrics off, because they would go to Segment.
"""

from collections.abc import Mapping
from typing import Any

from candor.credentials import Source
from candor.errors import NotFound

CACHE = {"Cache-Control": "public, max-age=60"}
"""As long as a revoked key is known here, at most."""
EMULATED = "/_aws/execute-api/"
"""Before an API's id, in the URLs of emulators."""

Json = dict[str, Any]


def settings(
    source: Source | None,
    write_key: str,
    context: Mapping[str, Any],
    headers: Mapping[str, str],
    local: bool,
) -> Json:
    """Where a browser with this write key sends. `context` is the gateway's `requestContext`.

    Raises NotFound for a key that is none, and for one that no browser may hold.
    """
    if source is None or source.trust != "client":
        raise NotFound("unknown_key", "There is no browser's source with this write key.")
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": _address(context, headers, local),
                "protocol": "http" if local else "https",
                "addBundledMetadata": False,
                "unbundledIntegrations": [],
                "retryQueue": True,
            }
        },
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "metrics": {"sampleRate": 0},
        "middlewareSettings": {"routingRules": []},
        "enabledMiddleware": {},
        "remotePlugins": [],
        "legacyVideoPluginsEnabled": False,
        "analyticsNextEnabled": True,
    }


def _address(context: Mapping[str, Any], headers: Mapping[str, str], local: bool) -> str:
    """Host and path of the API that was asked, stage included, without a scheme.

    The gateway knows its domain and its path. Emulators do not, so there the caller's Host counts.
    """
    path: str = context["path"].rpartition("/projects/")[0]
    if not local:
        return f"{context['domainName']}{path}"
    host, id_ = headers["host"], context["apiId"]
    return f"{host}{path}" if host.startswith(f"{id_}.") else f"{host}{EMULATED}{id_}{path}"
