"""Rollouts by vLLM, in the training process or from servers, and the way of weights to it."""
