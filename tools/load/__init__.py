"""Load through a real Kafka broker to WebSocket clients on this machine: `make load`."""
