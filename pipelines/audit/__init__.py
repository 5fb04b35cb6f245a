"""What a table holds and how far its labels can be trusted: contamination, behaviours, audited samples."""
