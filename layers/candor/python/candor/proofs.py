"""Identity proofs: a shop's server vouches for the user of a browser or an app.

    <expiry, epoch seconds>.<hex HMAC-SHA256 of "<user id>\n<expiry>" under the source's secret>

An event of a public write key that carries one as `context.identityProof` counts for that user as
if the shop's server had sent it. It is as good as a session: short-lived, and for one user.
"""

import hmac
from collections.abc import Collection

LONGEST_SECONDS = 30 * 86_400
"""How far ahead a proof's end may lie."""


def make(secret: str, user_id: str, expires: int) -> str:
    """The proof of one user's identity, until `expires` (epoch seconds)."""
    text = f"{user_id}\n{expires}".encode(errors="surrogatepass")
    return f"{expires}.{hmac.digest(secret.encode(), text, 'sha256').hex()}"


def fault(proof: object, secret: str | None, user_ids: Collection[str], now: float) -> str | None:
    """Why a proof proves nothing, in a sentence; None where it does.

    `user_ids` are spellings of one id: the shop may have signed its own, or the normal form.
    """
    if secret is None:
        return "This source has no secret to prove with."
    if not user_ids:
        return "An identity proof is for a `userId`."
    expires, _, _ = proof.partition(".") if isinstance(proof, str) else ("", "", "")
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        return "`identityProof` is `<expiry>.<hex HMAC-SHA256>`."
    if not now < int(expires) <= now + LONGEST_SECONDS:
        return "The identity proof has expired, or is for longer than 30 days."
    stated = str(proof).encode(errors="surrogatepass")
    made = [make(secret, user_id, int(expires)).encode() for user_id in user_ids]
    if not any(hmac.compare_digest(one, stated) for one in made):
        return "The identity proof is not for this user and this source."
    return None
