"""What both brokers ask of rows that are appended."""

from streamweaver import BrokerError, Rows


def check_columns(topic: str, rows: Rows) -> None:
    """Raise BrokerError for columns of different lengths: which value belongs to which key could only be guessed."""
    count = len(rows.values)
    if len(rows.keys) != count or len(rows.timestamps) != count or (rows.headers and len(rows.headers) != count):
        raise BrokerError(f"topic {topic}: got columns of different lengths, expected {count} of each")
