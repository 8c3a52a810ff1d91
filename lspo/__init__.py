"""lspo: reinforcement learning with verifiable rewards for PyTorch Lightning, with length-aware dynamic sampling."""

__version__ = "0.1.0"
