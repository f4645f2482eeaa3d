"""What a local username is made of, wherever one is taken: by a request, a setting, a command."""

import re

LONGEST = 64
PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$"  # as JSON Schema has it, which says the length apart


def fits(text: str) -> bool:
    """Whether all of the text is one; `$` alone would let a last newline pass."""
    return len(text) <= LONGEST and re.fullmatch(PATTERN, text) is not None
