"""Parts of the plugin host that live as long as the process: plugins and packs, drivers and receivers, their guards and health."""

from pitboss.plughost.runtime.discovery import PluginHost, discover, discover_packs, load_host, read_cell_file
from pitboss.plughost.runtime.drivers import Drivers
from pitboss.plughost.runtime.guard import GuardedDriver
from pitboss.plughost.runtime.health import HealthBoard
from pitboss.plughost.runtime.hooks import Hooks
from pitboss.plughost.runtime.receivers import GuardedReceiver, Receivers

__all__ = [
    "Drivers",
    "GuardedDriver",
    "GuardedReceiver",
    "HealthBoard",
    "Hooks",
    "PluginHost",
    "Receivers",
    "discover",
    "discover_packs",
    "load_host",
    "read_cell_file",
]
