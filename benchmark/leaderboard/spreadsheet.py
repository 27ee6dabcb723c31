"""Tables as CSV files that a spreadsheet may open: names come from plugins and data sets of others."""

import re
import unicodedata

import pandas as pd

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""What ends a line, a cell or a text somewhere."""
UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")
"""Unicode categories of what a reader does not see, and a spreadsheet may drop."""
FORMULA_STARTS = ("=", "+", "-", "@")


def csv_of(frame: pd.DataFrame) -> bytes:
    """The content of a CSV file, without the index and with six digits; cells and headers hold no formula."""
    return frame.map(_harmless).rename(columns=_harmless).to_csv(index=False, float_format="%.6g").encode()


def _harmless(cell: object) -> object:
    """Text on one line, with an apostrophe in front of what a spreadsheet would run; numbers stay numbers.

    In some countries a semicolon parts the cells of a CSV file.
    """
    if not isinstance(cell, str):
        return cell
    parts = CONTROLS.sub(" ", cell).split(";")
    return ";".join(f"'{part}" if _starts_a_formula(part) else part for part in parts)


def _starts_a_formula(text: str) -> bool:
    """Whether the first sign that is seen starts a formula, be it in small or in full-width form, or within quotes."""
    first = next((sign for sign in text if sign != '"' and unicodedata.category(sign) not in UNSEEN), "")
    return unicodedata.normalize("NFKC", first).startswith(FORMULA_STARTS)
