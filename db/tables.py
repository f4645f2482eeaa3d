"""Every model there is, collected for the migrations and for docs/schema.md."""

import app.audit.models
import app.cache.models
import app.clients.models
import app.factors.models
import app.federation.models
import app.gpustack.models
import app.identity.models
import app.keys.models
import app.mail.models
import app.preferences.models
import app.proofs.models
import app.sessions.models
from app.models import Model

metadata = Model.metadata

__all__ = ["app", "metadata"]
