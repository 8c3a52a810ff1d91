"""Runs as one HTML page: what they reached, how their lengths moved, and what was sampled.

Runs in, text out. Needs neither torch nor Lightning, and no network to read the page.
"""

from lspo.report.grouping import RunGroup, grouped
from lspo.report.page import report_page
from lspo.report.plots import plot_files

__all__ = ["RunGroup", "grouped", "plot_files", "report_page"]
