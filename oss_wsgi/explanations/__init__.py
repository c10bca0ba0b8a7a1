"""What is known of error codes, statuses, reasons and messages: one data file, and what reads it."""
