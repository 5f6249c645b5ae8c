"""The two HTML pages as Jinja templates: self-contained, every value escaped, readable without colour."""

from typing import Any

from jinja2 import Environment, StrictUndefined

_STYLE = """
  :root { color-scheme: light dark; }
  :root { --ink: #222; --page: #fff; --faint: #555; --line: #ddd; --link: #00558a; }
  :root { --yes: #004b76; --yes-back: #e3f1fa; --no: #8a3b00; --no-back: #fdeadd; --open: #444; --open-back: #eee; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e6e6e6; --page: #16181b; --faint: #a9adb3; --line: #3a3f45; --link: #7cc4f5; }
    :root { --yes: #a5d8fb; --yes-back: #10344b; --no: #ffc39b; --no-back: #4a2408; --open: #ccc; --open-back: #333; }
  }
  body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); }
  body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
  h1 { font-size: 1.6rem; margin-bottom: .2rem; line-height: 1.25; }
  h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
  h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
  a { color: var(--link); }
  img { box-sizing: border-box; max-width: 100%; height: auto; background: #fff; }
  img { padding: .5rem; border: 1px solid var(--line); border-radius: .4rem; }
  .scroll { overflow-x: auto; }
  .scroll img { min-width: 40rem; }
  table { border-collapse: collapse; font-size: .86rem; }
  th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
  th { border-bottom: 1.5px solid var(--faint); }
  .headline { font-weight: 600; }
  .origin, .note { font-size: .82rem; color: var(--faint); }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; }
  dt { color: var(--faint); }
  dd { margin: 0; }
  @media (max-width: 34rem) { body { margin: 1rem auto; } dl { display: block; } dd { margin: 0 0 .4rem 1rem; } }
  .verdict { display: inline-block; padding: 0 .6rem; border-radius: .8rem; font-weight: 600; border: 1.5px solid; }
  .supported { color: var(--yes); background: var(--yes-back); }
  .contradicted { color: var(--no); background: var(--no-back); }
  .undecided { color: var(--open); background: var(--open-back); border-style: dashed; }
"""

_HEAD = (
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>"""
    + _STYLE
    + """</style>
</head>
<body>
<h1>{{ title }}</h1>
"""
)

CLAIMS = (
    _HEAD
    + """{% if headline %}<p class="headline">{{ headline }}</p>
{% endif %}
<p>{{ summary }}</p>
<div class="scroll"><a href="{{ image }}"><img src="{{ image }}" alt="Claims: {{ summary }}"></a></div>
<p class="note">{{ note }}</p>
{% if shared %}<p class="note">{{ shared }}</p>
{% endif %}
{% for claim in claims %}
<section id="{{ claim.id }}">
<h2>{{ claim.id }}. {{ claim.statement }}</h2>
<p><span class="verdict {{ claim.verdict }}">{{ claim.symbol }} {{ claim.verdict }}</span></p>
<dl>
<dt>estimate [interval]</dt><dd>{{ claim.interval }} {{ claim.unit }} ({{ claim.level }})</dd>
{% if claim.agreement %}<dt>on the claimed side</dt><dd>{{ claim.agreement }}</dd>
{% endif %}
<dt>p (least possible)</dt><dd>{{ claim.p }}</dd>
<dt>n</dt><dd>{{ claim.n }}</dd>
<dt>test</dt><dd>{{ claim.test }}</dd>
{% if claim.note %}<dt>note</dt><dd>{{ claim.note }}</dd>
{% endif %}</dl>
</section>
{% endfor %}
<p class="origin">{{ origin }}</p>
</body>
</html>
"""
)

INDEX = (
    """{% macro foot(output) %}
{% if output.note %}<p class="note">{{ output.note }}</p>
{% endif %}
<p class="origin">
{% for file in output.files %}<a href="{{ file }}">{{ file }}</a> {% endfor %}({{ output.origin }})
</p>
{% endmacro %}
{% macro grid(output) %}
<div class="scroll"><table>
<tr>{% for cell in output.table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in output.table[1:] %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endmacro %}
"""
    + _HEAD
    + """<p class="note">Every table, figure and page can be deleted and made again from the records.</p>
{% for title, outputs in parts %}
<h2>{{ title }}</h2>
{% for output in outputs %}
<section id="{{ output.name }}">
<h3>{{ output.name }}{% if output.caption %}: {{ output.caption }}{% endif %}</h3>
{% if output.image %}
<div class="scroll"><a href="{{ output.image }}">
<img src="{{ output.image }}" alt="{{ output.caption or output.name }}">
</a></div>
{% endif %}
{% if output.table %}{{ grid(output) }}{% endif %}
{{ foot(output) }}</section>
{% endfor %}
{% endfor %}
{% if pages %}
<h2>Notebooks as they ran</h2>
<ul>
{% for link, name in pages %}
<li><a href="{{ link }}">{{ name }}</a></li>
{% endfor %}
</ul>
{% endif %}
</body>
</html>
"""
)


def fill_template(template: str, **values: Any) -> bytes:
    """``template`` with ``values``, each escaped, as UTF-8; a name without a value is an error of ours and raises."""
    rules = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return rules.from_string(template).render(**values).encode()
