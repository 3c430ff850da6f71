"""Example apps with their source, and the builder of their images (no Docker, no root)."""
