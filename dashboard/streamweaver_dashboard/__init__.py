"""The dashboard: live panels of a pipeline, the pipeline itself, its dead letters and alerts, in the browser."""
