"""What can be read of a person through the API, page by page."""

from typing import Any

from cli.api import Answered, Api, profile_path

Json = dict[str, Any]


def events_of(api: Api, user: str) -> list[Json]:
    """All of a profile's events, page by page; none while there is no profile."""
    found: list[Json] = []
    query = {"limit": "100"}
    path = f"{profile_path(f'user_id:{user}')}/events"
    while True:
        try:
            page = api.staff("dpo", "GET", path, purpose="privacy_rights", query=query)
        except Answered as answer:
            if answer.status == 404:
                return []
            raise
        found += page["data"]
        if not page["next"]:
            return found
        query = query | {"cursor": page["next"]}
