"""The kafka broker: topics, offsets and state on Apache Kafka, work shared by consumer groups."""

from streamweaver_brokers.kafka.broker import Kafka

__all__ = ["Kafka"]
