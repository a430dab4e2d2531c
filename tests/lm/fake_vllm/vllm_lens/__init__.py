"""Stands in for vllm-lens."""
