"""What each API takes and answers: pure functions and tables, one file a provider."""
