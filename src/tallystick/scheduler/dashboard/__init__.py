"""The pages of a pool for browsers, below `/dashboard`: what it does, and why.

Everybody may look. Pages are made at most once a second, however many look at them, and a page
asks for itself again when the event stream says that something changed.
"""

from tallystick.scheduler.dashboard.place import Dashboard
from tallystick.scheduler.dashboard.routes import attach

__all__ = ["Dashboard", "attach"]
