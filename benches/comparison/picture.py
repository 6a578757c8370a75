"""The bar chart as SVG, with colours for light and dark mode."""

from xml.sax.saxutils import escape

from .rows import GO, OURS, TOKIO

WIDTH, LEFT, RIGHT, TOP = 860, 150, 250, 64
BAR, GAP, TITLE, SPACE = 16, 4, 24, 16

STYLE = """
text {
  font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f
}
.card { fill: #ffffff; stroke: #d0d7de } .title { font-size: 16px; font-weight: 600 }
.row { font-weight: 600 } .faint { fill: #57606a }
.ours { fill: #bc4c00 } .peer { fill: #8c959f } .floor { fill: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .card { fill: #0d1117; stroke: #30363d } .faint { fill: #9198a1 }
  .ours { fill: #f0883e } .peer { fill: #6e7681 } .floor { fill: #30363d }
}
"""


def short(number):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def kind(name):
    return "ours" if name == OURS else "floor" if name.startswith("floor") else "peer"


def drawn(runs):
    return [name for name in (OURS, TOKIO, GO, runs.row.floor) if name in runs.of]


def height_of(runs):
    return TITLE + len(drawn(runs)) * (BAR + GAP) + SPACE


def bars(runs, top):
    """Draws one row: a bar per program, scaled to the highest rate."""
    names = drawn(runs)
    rates = {name: runs.median(name, "rate") for name in names}
    longest = max(rates.values())
    yield f'<text class="row" x="20" y="{top + 12}">{escape(runs.row.title)}</text>'
    top += TITLE
    for name in names:
        width = max((WIDTH - LEFT - RIGHT) * rates[name] / longest, 1)
        middle = top + BAR - 4
        label = f"{short(rates[name])}/s"
        if name != GO:
            times = rates[name] / rates[GO]
            label += f", {times:.2g} x go-nsq" if times < 9.95 else f", {times:.0f} x go-nsq"
        short_name = escape(name.split(",")[0])
        size = f'width="{width:.1f}" height="{BAR}"'
        yield f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end">{short_name}</text>'
        yield f'<rect class="{kind(name)}" x="{LEFT}" y="{top}" {size} rx="2"/>'
        yield f'<text class="faint" x="{LEFT + width + 8:.1f}" y="{middle}">{escape(label)}</text>'
        top += BAR + GAP


def picture(all_runs, machine):
    """Returns the SVG."""
    height = TOP + sum(height_of(runs) for runs in all_runs) + 36
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="name">',
        '<title id="name">Messages published per second to one nsqd, each awaited: '
        "actix-nsq and its peers</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        '<text class="title" x="20" y="32">'
        "Messages published per second, each result awaited</text>",
        '<text class="faint" x="20" y="51">'
        "one connection to one nsqd; bars of a workload share a scale; "
        "the floor is a program without a client</text>",
    ]
    top = TOP + 8
    for runs in all_runs:
        parts += bars(runs, top)
        top += height_of(runs)
    parts.append(f'<text class="faint" x="20" y="{height - 16}">{escape(machine)}</text>')
    return "\n".join(parts + ["</svg>\n"])
