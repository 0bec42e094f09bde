"""A real Kafka broker for recipes of operation."""

from kafka_server import kafka_address  # noqa: F401
