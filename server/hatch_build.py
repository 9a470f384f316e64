"""Put into the server's distributions what lives outside of it: migrations, and Swagger UI."""

from importlib import metadata
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "LICENSE")


class OutsideHook(BuildHookInterface[Any]):
    """Ship `migrations/*.sql` as `jobqueue_server/migrations`, Swagger UI beside the documents that it shows.

    Migrations live beside the server in the repository. Swagger UI is taken out of the distribution
    flask-swagger-ui, whose files are those of its own releases; so the server runs without Flask. A wheel built
    from an sdist finds both where the sdist has put them; an editable install reads them where they are.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to those of this build."""
        if version == "editable":
            return
        self._add(build_data, "jobqueue_server/migrations", self._migrations)
        self._add(build_data, "jobqueue_server/http/openapi/swagger-ui", self._swagger_ui)

    def _add(self, build_data: dict[str, Any], in_package: str, found: Any) -> None:
        if (Path(self.root) / "src" / in_package).is_dir():
            return
        target = f"src/{in_package}" if self.target_name == "sdist" else in_package
        for path in found():
            build_data["force_include"][str(path)] = f"{target}/{path.name}"

    def _migrations(self) -> list[Path]:
        folder = Path(self.root).parent / "migrations"
        found = sorted(folder.glob("*.sql"))
        if not found:
            raise FileNotFoundError(f"no migrations in {folder}: build from a whole checkout or an sdist")
        return found

    def _swagger_ui(self) -> list[Path]:
        distribution = metadata.distribution("flask-swagger-ui")
        return [Path(str(distribution.locate_file(f"flask_swagger_ui/dist/{name}"))) for name in _SWAGGER_UI]
