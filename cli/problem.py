"""An expected failure: what happened, and what to do."""


class Problem(Exception):
    """One clear sentence, and optionally what to do about it. Becomes exit code 1, no traceback."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(f"{what} {fix}".strip())
        self.what = what
        self.fix = fix
