"""`index.html` of a results folder: tables, figures and method cards in one file that needs no network."""
