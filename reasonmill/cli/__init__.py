"""The command line: one file per command group, every heavy import inside a command."""
