"""The way into the pool: the Join page, the script that does it all, and the files that the
script installs. Served only where the settings say `join = true`."""

from tallystick.scheduler.joining.offer import Offer, join_path, offer_of
from tallystick.scheduler.joining.routes import attach

__all__ = ["Offer", "attach", "join_path", "offer_of"]
