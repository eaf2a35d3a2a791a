"""What can go wrong while starting, stopping or reaching the cluster; each says what to do."""

from storage.errors import HyvveError


class ClusterError(HyvveError):
    code = "cluster"


class SettingError(ClusterError):
    """An environment variable has a value that cannot be used; `subject` names the variable."""

    code = "setting"


class PortTakenError(ClusterError):
    """Another process listens on a port we need; `subject` is the port, `details["setting"]` what changes it."""

    code = "port_taken"


class AlreadyRunningError(ClusterError):
    """A Hyvve runs in this data directory already; `subject` is the directory."""

    code = "already_running"


class EmbeddedServiceError(ClusterError):
    """The embedded PostgreSQL or Redis could not be started or stopped."""

    code = "embedded_service"


class RayError(ClusterError):
    """Ray could not be started, reached or used."""

    code = "ray"


class BriefError(ClusterError):
    """A brief's file cannot be used; `subject` is the field at fault, as in `data_requirements[1]`."""

    code = "brief"


class FolderError(ClusterError):
    """A folder of contributions cannot be used; `subject` is the folder."""

    code = "folder"
