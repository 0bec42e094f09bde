"""Our entry in the race on Kafka: `race_app.py SERVERS SOURCE TARGET at_least_once|exactly_once [OPTION...]`.

Becomes `streamweaver pipeline up` on a file with one flow, as a user would write it: JSON in, moving average by key,
JSON out; state in its changelog, metrics and dead letters on. OPTIONs go to the command as they are. RACE_STEPS says
how often the average is taken, for work that keeps our processes busier than the broker.
"""

import os
import sys
import tempfile
from pathlib import Path

PIPELINE = """
name: {name}
delivery: {delivery}
broker: {{use: kafka, servers: ["{servers}"]}}
topics:
  {source}: {{partitions: {partitions}, external: true}}
  {target}: {{partitions: {partitions}}}
flows:
  averages:
    from: {source}
    steps: [{steps}]
    to: {target}
"""

STEP = "{{use: moving_average, into: average{number}, field: price, by: symbol, size: 20}}"


def main() -> None:
    servers, source, target, delivery, *options = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="streamweaver-race-"))
    file = folder / "race.yaml"
    text = PIPELINE.format(
        name=target.replace("-", "_"),
        delivery=delivery,
        servers=servers,
        source=source,
        target=target,
        partitions=os.environ.get("RACE_PARTITIONS", "2"),
        steps=", ".join(STEP.format(number=number) for number in range(int(os.environ.get("RACE_STEPS", "1")))),
    )
    file.write_text(text)
    program = Path(sys.executable).with_name("streamweaver")
    os.execv(program, [str(program), "pipeline", "up", str(file), "--data", str(folder / "data"), *options])


if __name__ == "__main__":
    main()
