"""The index as a page: what a person opens in the morning."""

import polars as pl
from jinja2 import Environment

TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Runs</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em }
table { border-collapse: collapse }
th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child, td.text { text-align: left }
tr.failed td, tr.given_up td { background: #fdecea }
</style>
<h1>{{ rows | length }} plates</h1>
<table>
<tr><th>plate<th>finished (UTC)<th>status
<th>wells<th>fields ok<th>failed<th>cells<th>Z′<th>SSMD</tr>
{% for row in rows %}
<tr class="{{ row.status }}">
<td>{% if row.status == "done" %}<a href="{{ row.run | urlencode }}/report.html">{{ row.plate }}</a>
{% else %}{{ row.plate }}{% endif %}
{% if row.run and row.run != row.plate %} ({{ row.run }}){% endif %}
<td>{{ row.finished.strftime("%Y-%m-%d %H:%M") }}
<td class="text">{{ row.status }}{% if row.reason %}: {{ row.reason }}{% endif %}
{% for value in (row.wells, row.fields_ok, row.fields_failed, row.cells) %}
<td>{{ "" if value is none else "{:,}".format(value) }}
{% endfor %}
{% for value in (row.z_prime, row.ssmd) %}
<td>{{ "" if value is none else "%.2f" | format(value) }}
{% endfor %}
</tr>
{% endfor %}
</table>
</html>
"""
)


def page(table: pl.DataFrame) -> str:
    """Draw the index as HTML, the newest plate first; reports are linked."""
    return TEMPLATE.render(rows=list(table.reverse().iter_rows(named=True)))
