"""Options of the command line as numbers and pairs."""

import re
from collections.abc import Sequence

from companion.errors import CompanionError


def read_numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers between commas or blanks; raises CompanionError for what is none."""
    try:
        return tuple(float(part) for part in re.split(r"[,\s]+", text.strip()) if part)
    except ValueError:
        raise CompanionError(f"{option} takes numbers, not {text!r}.") from None


def read_whole(texts: Sequence[str], option: str) -> tuple[int, ...]:
    """Whole numbers; raises CompanionError for what is none, such as a file behind them."""
    if files := [text for text in texts[1:] if not re.fullmatch(r"[\d.,\s+-]*", text)]:
        raise CompanionError(f"{files[0]!r} is no number for {option}; give the files before {option}.")
    numbers = read_numbers(" ".join(texts), option)
    if any(not number.is_integer() for number in numbers):
        raise CompanionError(f"{option} takes whole numbers, not {' '.join(texts)!r}.")
    return tuple(int(number) for number in numbers)


def read_pairs(text: str) -> dict[str, str]:
    """``role=column`` between commas; raises CompanionError for another form."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if bad := [role for role, mark, column in pairs if not mark or not column.strip()]:
        raise CompanionError(f"--columns takes role=column, such as query=qid,item=sku, not {bad[0]!r}.")
    return {role.strip(): column.strip() for role, _, column in pairs}
