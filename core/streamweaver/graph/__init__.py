"""From a pipeline file and the registry to a checked plan of stages and topics, each with its guarantee."""
