"""The program `tally`: parsing, progress and sentences. What is done lies further down."""
