"""What runs in vLLM's environment: self-contained, and started by this folder's path. `frames` serves both sides."""
