"""What bench/run is made of: processes, load, rows, the table."""
