"""An app that learns to read handwritten digits, and draws what it learned."""
