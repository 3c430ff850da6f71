"""An app that counts the words of what it is given: a dataset, input files, or both."""
