"""The report of a night: the lake's tables in, one self-contained HTML page out.

`facts.py` asks the named queries of `sql/reports` and nothing else, `log.py` says what made a night, `alarms.py` judges
its numbers against those of earlier nights, `verdict.py` puts one line above it all; `sections.py` tells each part in
words, tables and the figures of `figures.py` (drawn by `svg.py` and `sankey.py`), and `page.py` binds them.
"""
