"""What survives us: the ledger of submissions, and files that are whole or not there."""
