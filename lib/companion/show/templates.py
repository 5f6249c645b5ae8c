"""The two HTML pages as Jinja templates: self-contained, every value escaped, readable without colour."""

from typing import Any

from jinja2 import Environment, StrictUndefined

_STYLE = """
  :root { color-scheme: light; }
  body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
  body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.6rem; margin-bottom: .2rem; }
  h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
  h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
  a { color: #00558a; }
  img { max-width: 100%; height: auto; border: 1px solid #eee; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-size: .86rem; }
  th, td { padding: .25rem .6rem; border-bottom: 1px solid #e4e4e4; text-align: left; }
  th { border-bottom: 1.5px solid #555; }
  .origin, .note { font-size: .82rem; color: #555; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; }
  dt { color: #555; }
  dd { margin: 0; }
  .verdict { display: inline-block; padding: 0 .6rem; border-radius: .8rem; font-weight: 600; border: 1.5px solid; }
  .supported { color: #004b76; background: #e3f1fa; }
  .contradicted { color: #8a3b00; background: #fdeadd; }
  .undecided { color: #444; background: #eee; border-style: dashed; }
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
    + """<p>{{ summary }}</p>
<p class="note">{{ rule }} {{ note }}</p>
<p class="note">No verdict is written by hand. What was measured on a small model is said of the small model only.</p>
{% for claim in claims %}
<section id="{{ claim.id }}">
<h2>{{ claim.id }}. {{ claim.statement }}</h2>
<p><span class="verdict {{ claim.verdict }}">{{ claim.symbol }} {{ claim.verdict }}</span></p>
<dl>
<dt>estimate [interval]</dt><dd>{{ claim.interval }} ({{ claim.level }})</dd>
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
<a href="{{ output.image }}"><img src="{{ output.image }}" alt="{{ output.caption or output.name }}"></a>
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

OVERVIEW = (
    _HEAD
    + """<p class="note">Verdicts are computed from intervals. They speak of the model, the data and the length of
training of their profile only.</p>
{% for section in sections %}
<section>
<h2>{{ section.title }}</h2>
<p>{{ section.statement }} (<a href="https://arxiv.org/abs/{{ section.paper }}">arXiv {{ section.paper }}</a>)</p>
<p><strong>{{ section.hint }}</strong></p>
{% if section.pages %}
<p>All tables, figures and notebooks:
{% for link, name in section.pages %}<a href="{{ link }}">{{ name }}</a>{{ ", " if not loop.last }}{% endfor %}</p>
{% endif %}
<div class="pictures">
{% for link, caption in section.pictures %}
<figure>
<a href="{{ link }}"><img src="{{ link }}" alt="{{ caption }}"></a>
<figcaption>{{ caption }}</figcaption>
</figure>
{% endfor %}
</div>
{% if section.table | length > 1 %}
<div class="scroll"><table>
<tr>{% for cell in section.table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.table[1:] %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
</section>
{% endfor %}
{% if others %}
<h2>Comparisons on own data</h2>
<ul>{% for link, name in others %}<li><a href="{{ link }}">{{ name }}</a></li>{% endfor %}</ul>
{% endif %}
</body>
</html>
"""
)


def fill(template: str, **values: Any) -> bytes:
    """``template`` with ``values``, each escaped, as UTF-8; a name without a value is an error of ours and raises."""
    rules = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return rules.from_string(template).render(**values).encode()
