"""What is known of error codes, statuses, reasons and messages, and the Chinese of programs: two files of data."""
