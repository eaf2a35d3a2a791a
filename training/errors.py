"""What can go wrong while training."""

from storage.errors import HyvveError


class TrainingError(HyvveError):
    code = "training"
