"""Bytes in and out: downloads, results of strangers' programs, content identifiers."""
