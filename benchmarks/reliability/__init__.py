"""What the tests of reliability and security tried, counted from their own output."""
