"""The command line: parses arguments, calls the wiring, prints."""
