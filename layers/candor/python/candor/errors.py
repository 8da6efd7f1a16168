"""Every way a request can fail that its sender can do something about; one class a status."""


class Refused(Exception):
    """The request cannot be served. `code` is for programs, the message for people.

    Neither ever holds personal data: both may be logged.
    """

    status = 400

    def __init__(self, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Unauthenticated(Refused):
    status = 401


class Forbidden(Refused):
    status = 403


class NotFound(Refused):
    status = 404


class Clash(Refused):
    """The request contradicts what is there, such as erasing a person under a legal hold."""

    status = 409


class Busy(Refused):
    """Nothing was taken; the same request may succeed later."""

    status = 503
