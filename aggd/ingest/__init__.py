"""From sockets to columns of samples."""
