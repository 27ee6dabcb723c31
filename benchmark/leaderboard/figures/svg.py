"""What matplotlib draws -> an `<svg>` element that may stand anywhere in a page, as often as one likes."""

import html
import io
import re

from matplotlib.figure import Figure as Canvas

from benchmark.leaderboard.figures.style import INK

NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
GLOBAL_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>\s*", re.DOTALL)
"""Would apply to the whole page."""
TAG = re.compile("<[^>]*>")
"""In matplotlib's SVG neither texts nor attributes hold a bare angle bracket, so nothing of them is touched."""
REWRITTEN = (
    (re.compile('^<g id="[^"]*"'), "<g"),
    (re.compile(INK), "currentColor"),
    (re.compile(r' font-family: [^;"]*;?'), ""),
    (re.compile(r"(\.\d\d)\d+"), r"\1"),
    (re.compile(r"\s+"), " "),
)
"""Groups need no id, texts take the page's colour and font, and a hundredth of a point is enough."""
REFERENCE = re.compile(r'(?<= )id="|href="#|url\(#')


def to_svg(canvas: Canvas, prefix: str, title: str) -> str:
    """The element, as wide as what it stands in; the same drawing gives the same bytes.

    Args:
        canvas: what was drawn, within `style.drawing`.
        prefix: of all its ids; no other figure of the page may have it.
        title: its text alternative; what is seen stands below it, in the caption.
    """
    file = io.StringIO()
    canvas.savefig(file, format="svg", metadata=NO_METADATA)
    text = file.getvalue()
    body = TAG.sub(lambda tag: _embedded(tag[0], prefix), GLOBAL_STYLE.sub("", text[text.index("<svg") :]))
    start, rest = body.split(">", 1)
    kept = " ".join(re.findall(r'(?:viewBox|xmlns|xmlns:xlink)="[^"]*"', start))
    return f'<svg {kept} role="img" aria-label="{html.escape(title)}" stroke-linejoin="round">{rest.strip()}'


def _embedded(tag: str, prefix: str) -> str:
    """One tag in the page's ink and font, with ids of its own."""
    for pattern, replacement in REWRITTEN:
        tag = pattern.sub(replacement, tag)
    return REFERENCE.sub(rf"\g<0>{prefix}-", tag)
