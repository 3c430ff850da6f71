"""An app that indexes a book, searches it and draws how its words are distributed."""
