"""`python -m torchweld.cli`: the command where its entry point is not on the path."""

import sys

from torchweld.cli.app import main

sys.exit(main())
