import pandas as pd

from benchmark.leaderboard.spreadsheet import csv_of


def test_cells_and_headers_of_any_table_hold_no_formula_and_numbers_stay_numbers():
    frame = pd.DataFrame({"=header": ["=1+1", "a\nb"], "value": [-1.5, 0.123456789]})
    assert csv_of(frame).decode() == "'=header,value\n'=1+1,-1.5\na b,0.123457\n"
