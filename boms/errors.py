"""Why a file is no bill of materials, and no catalogue of parts."""


class NotABom(ValueError):
    """A file that can't be read as a whole, and so is refused as a whole. ``line`` is the file's, counted from 1; None
    when it is not one line's fault. The message says both."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line
