"""The tables of a pool on PostgreSQL, step by step. What was released is never edited."""
