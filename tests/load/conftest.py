"""Makes the folder `tools` importable, as it is for a program that is started in the repository."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
