"""Put the repository's migrations into the server's distributions."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MigrationsHook(BuildHookInterface[Any]):
    """Ship `migrations/*.sql` as `jobqueue_server/migrations`.

    They live beside the server in the repository, not inside it. A wheel built from a checkout takes them
    from there; one built from an sdist finds them where the sdist has put them; an editable install reads
    the checkout and needs no copy.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folder to the files of this build."""
        in_package = "jobqueue_server/migrations"
        in_checkout = Path(self.root).parent / "migrations"
        if version == "editable" or (Path(self.root) / "src" / in_package).is_dir():
            return
        if not any(in_checkout.glob("*.sql")):
            raise FileNotFoundError(
                f"no migrations in {in_checkout}: build from a whole checkout or an sdist"
            )
        target = f"src/{in_package}" if self.target_name == "sdist" else in_package
        build_data["force_include"][str(in_checkout)] = target
