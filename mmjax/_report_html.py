"""HTML of the report: one self-contained page, everything escaped."""

import html
from collections.abc import Sequence

# One pair (light, dark) per variable; pictures are drawn in the light colours,
# which `inline` turns into the variables.
COLORS = {
  'ink': ('#1b1f24', '#e8eaed'),
  'muted': ('#6a727d', '#9aa3ad'),
  'line': ('#d9dde2', '#3a4048'),
  'paper': ('#fdfdfb', '#16191d'),
  'c0': ('#1f6fb4', '#5fb0f0'),
  'c1': ('#d1570b', '#ff9a57'),
  'c2': ('#0b8a68', '#3fcf9f'),
  'c3': ('#a64a92', '#e08fce'),
  'c4': ('#a07a00', '#e3bd3f'),
  'c5': ('#5b57c2', '#a5a1ff'),
  'c6': ('#b3324a', '#ff8398'),
  'c7': ('#4a7a1e', '#9bcf66'),
}
SERIES = [name for name in COLORS if name.startswith('c')]


def color(name: str) -> str:
  """Returns the colour to draw in; `inline` makes it follow the theme."""
  return COLORS[name][0]


def palette(names: Sequence[str]) -> dict[str, str]:
  """Returns a variable's name for each series; 'joint' is always ink."""
  shades = {name: SERIES[i % len(SERIES)] for i, name in enumerate(names)}
  return {**shades, 'joint': 'ink'}


def inline(svg: str) -> str:
  """Returns a picture whose colours are the page's variables."""
  for name, (light, _) in COLORS.items():
    svg = svg.replace(light, f'var(--{name})')
  return svg


def text(value: object) -> str:
  return html.escape(str(value))


def paragraph(value: object, kind: str = '') -> str:
  return f'<p class="{kind}">{text(value)}</p>'


def missing(sentence: str) -> str:
  return paragraph(sentence, 'missing')


def figure(svg: str, caption: str) -> str:
  return f'<figure>{svg}<figcaption>{text(caption)}</figcaption></figure>'


def section(title: str, body: str) -> str:
  return f'<section><h2>{text(title)}</h2>{body}</section>'


def part(title: str, body: str) -> str:
  """Returns a part of a section."""
  return f'<h3>{text(title)}</h3>{body}'


def folded(title: str, body: str) -> str:
  return f'<details><summary>{text(title)}</summary>{body}</details>'


def table(
  header: Sequence[str],
  rows: Sequence[Sequence[object]],
  shades: Sequence[str] = (),
  best: Sequence[Sequence[bool]] = (),
  kind: str = '',
) -> str:
  """Returns a table.

  Args:
    header: the titles of the columns.
    rows: the cells; the first of each row is its heading.
    shades: a colour for each row; ink makes the row bold.
    best: which cells to make bold.
    kind: a class of the style sheet.
  """
  head = ''.join(f'<th scope="col">{text(cell)}</th>' for cell in header)
  body = ''
  for i, (first, *rest) in enumerate(rows):
    dot = f'<i style="background:var(--{shades[i]})"></i>' if shades else ''
    bold = best[i][1:] if len(best) else [False] * len(rest)
    cells = ''.join(
      f'<td class="best">{text(cell)}</td>' if b else f'<td>{text(cell)}</td>'
      for cell, b in zip(rest, bold)
    )
    row = f'<th scope="row">{dot}{text(first)}</th>{cells}'
    fused = ' class="fused"' if shades and shades[i] == 'ink' else ''
    body += f'<tr{fused}>{row}</tr>'
  return (
    f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
    f'<tbody>{body}</tbody></table></div>'
  )


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
  """Returns big numbers; each is (name, number, shade)."""
  made = ''.join(
    f'<div style="border-color:var(--{shade})"><b>{text(number)}</b>'
    f'<span>{text(name)}</span></div>'
    for name, number, shade in entries
  )
  return f'<div class="tiles">{made}</div>'


def page(title: str, subtitle: str, body: str) -> str:
  """Returns the whole document."""
  light, dark = (
    ''.join(f'--{name}:{pair[theme]};' for name, pair in COLORS.items())
    for theme in (0, 1)
  )
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    f'<title>{text(title)}</title><style>:root{{color-scheme:light dark;{light}'
    f'}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{STYLE}</style>'
    f'</head><body><header><h1>{text(title)}</h1>{paragraph(subtitle, "lead")}'
    f'</header><main>{body}</main></body></html>\n'
  )


STYLE = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:66rem;padding:2.5rem 1.5rem 4rem;color:var(--ink);
background:var(--paper);font:16px/1.55 system-ui,-apple-system,"Segoe UI",
"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:0 0 .8rem}
h3{font-size:1rem;margin:1.8rem 0 .6rem}
section{margin-top:2.6rem;padding-top:1.2rem;border-top:1px solid var(--line)}
p{margin:.4rem 0 .8rem;max-width:46rem}
.lead,.missing,.note,figcaption{color:var(--muted)}
.lead{font-size:1.02rem;margin-bottom:0}
.missing{font-style:italic}
.warning{border-left:3px solid var(--c1);padding-left:.8rem}
figure{margin:0 0 1rem}
.note,figcaption{font-size:.86rem;max-width:46rem;margin-top:.4rem}
svg{max-width:100%;height:auto;display:block}
svg text{font-family:inherit!important}
.scroll{overflow-x:auto;margin-bottom:.8rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;
font-size:.95rem}
th,td{text-align:right;padding:.34rem .9rem;font-weight:400;
border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,.plain td{text-align:left}
th:first-child{padding-left:0}
thead th{color:var(--muted);font-size:.84rem}
.best,.fused th,.fused td{font-weight:650}
.plain td{white-space:normal;overflow-wrap:anywhere}
.plain th,.plain td{font:.82rem/1.45 ui-monospace,Menlo,Consolas,monospace}
i{display:inline-block;width:.62rem;height:.62rem;border-radius:50%;
margin-right:.55rem}
.tiles{display:flex;flex-wrap:wrap;gap:.9rem;margin:1.6rem 0 1.4rem}
.tiles div{border-left:4px solid;padding:.1rem 1.6rem .1rem .8rem}
.tiles b{display:block;font-size:1.55rem;line-height:1.25;font-weight:650;
font-variant-numeric:tabular-nums}
.tiles span{color:var(--muted);font-size:.9rem}
summary{cursor:pointer;color:var(--muted);margin:.6rem 0}
@media print{details{display:block}}
"""
