"""What must never be built from a file."""

FIRED: list[str] = []


def fire() -> None:
    """Say that a pickle was read."""
    FIRED.append("fired")


class Canary:
    """Says so when a pickle of it is read."""

    def __reduce__(self):
        return fire, ()
