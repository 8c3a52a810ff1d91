"""Methods compared over seeds at equal budgets. Needs neither torch nor Lightning."""

from lspo.comparing.comparison import Comparison, compare
from lspo.comparing.methods import Method, choose_metrics, read_methods

__all__ = ["Comparison", "Method", "choose_metrics", "compare", "read_methods"]
