"""First-party brokers."""
