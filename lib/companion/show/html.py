"""HTML pages from the Jinja templates in ``templates/``: self-contained, readable without colour and in the dark."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def fill_template(name: str, **values: Any) -> bytes:
    """Fill ``templates/<name>.html`` and encode it as UTF-8; every value is escaped.

    A name in the template without a value raises ``jinja2.UndefinedError``: it is a mistake in the caller.
    """
    return _TEMPLATES.get_template(f"{name}.html").render(**values).encode()
