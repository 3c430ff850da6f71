"""An app that misbehaves on request, for tests of everything that has to put up with it."""
