"""Where the server is wired: settings, database, doorbell, routes, errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline

from api import datasets, exports, label_tables, openapi, presets, system, teachers, uploads, workers
from api.files import report
from api.files import routes as files_routes
from api.http import problems
from api.http.body_limit import BodyLimit
from api.http.bounded import BoundedProtocol
from api.http.cross_site import refuse_other_sites
from api.http.head import Head
from api.http.known_hosts import KnownHosts
from api.http.queries import refuse_queries_nobody_reads
from api.http.request_id import RequestId
from api.jobs import curves, events, submit
from api.jobs import routes as jobs_routes
from api.live import shutdown
from api.live.lanes import Lanes
from api.live.lookout import Lookout
from api.live.readiness import Readiness
from api.sweeps import routes as sweeps_routes
from api.webhooks import routes as webhooks_routes
from api.webhooks.public_addresses import Allowed
from api.webhooks.sender import WebhookSender
from jobs import logs
from jobs.database import migrate
from jobs.database.engine import Sessions, connect
from jobs.doorbell.notifier import Notifier
from jobs.settings import Settings
from jobs.upkeep import Upkeep
from kd.machine import open_files
from kd.version import VERSION

DESCRIPTION = """Give it labelled images, a teacher and a student architecture; it gives back a small, verified student,
and an honest answer to the question: was distillation worth it?

Every error is `application/problem+json` (RFC 9457). Times are RFC 3339, in UTC."""


ROUTERS = (
    submit.router,
    jobs_routes.router,
    events.router,
    curves.router,
    files_routes.router,
    report.router,
    exports.router,
    sweeps_routes.router,
    label_tables.router,
    teachers.router,
    uploads.router,
    datasets.router,
    presets.router,
    workers.router,
    webhooks_routes.router,
    system.router,
)


def build_app(settings: Settings | None = None) -> FastAPI:
    """The server as an ASGI app; it opens the database when it starts, not before."""
    settings = settings or Settings()
    app: FastAPI = FastAPIOffline(
        title="Stillhouse",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,  # what generated clients call their methods
        redirect_slashes=False,  # a redirect would repeat whatever Host the client claims
        redoc_url=None,  # its page loads a logo from the network
        swagger_ui_parameters={"validatorUrl": None},
    )
    app.state.settings = settings
    refusals = [Depends(refuse_other_sites), Depends(refuse_queries_nobody_reads)]
    for router in ROUTERS:
        app.include_router(router, dependencies=refusals)
    openapi.complete(app)
    problems.install(app)
    app.add_middleware(Head)
    files = {
        ("POST", label_tables.router.prefix): settings.max_labels_bytes,
        ("POST", teachers.router.prefix): settings.max_teacher_bytes,
        ("PUT", f"{uploads.router.prefix}/"): uploads.PART_BYTES,
    }
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, larger=files)
    app.add_middleware(KnownHosts, allowed=settings.names)
    app.add_middleware(RequestId)  # the last one added is the first one to see a request
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    # Here, because whoever starts the app need not be `kd serve`.
    logs.configure(settings.log_level)
    BoundedProtocol.leave_room(open_files.raise_limit())
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = connect(settings.url)
    app.state.database = Sessions(engine)
    if engine.dialect.name == "sqlite" and not migrate.is_current(app.state.database):
        # Nobody else manages the file of a single machine. PostgreSQL's tables change when its operator says so;
        # until then /readyz tells.
        migrate.upgrade(engine)
    app.state.notifier = Notifier(settings.broker)
    upkeep = Upkeep(app.state.database, app.state.notifier, settings)
    upkeep.start()
    app.state.webhook_sender = WebhookSender(app.state.database, Allowed.by(settings))
    app.state.webhook_sender.start()
    app.state.lookout, app.state.lanes = Lookout(app.state.database), Lanes()
    app.state.readiness = Readiness(app.state.database)
    try:
        with shutdown.at_shutdown(app.state.lookout.leave):
            yield
    finally:
        await app.state.lookout.close()
        app.state.webhook_sender.close()
        upkeep.close()
        app.state.notifier.close()
        engine.dispose()
