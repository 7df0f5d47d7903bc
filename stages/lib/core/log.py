"""The project's logger: modules log to it, the command line decides where its lines go."""

import logging

LOG = logging.getLogger("noduleflow")
