"""From the groups of an iteration to micro-batches: advantages, dealing into bins, padding."""

from lspo.batching.collate import TrainingRollout, collate
from lspo.batching.deal import BatchLayout, deal, in_passes
from lspo.batching.dealing import least_bins, pack, spread

__all__ = ["BatchLayout", "TrainingRollout", "collate", "deal", "in_passes", "least_bins", "pack", "spread"]
