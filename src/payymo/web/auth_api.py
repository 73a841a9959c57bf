"""`/api/auth`: register, log in, refresh, log out, verify tokens, and one's own sessions."""

import uuid

from flask import Response

from payymo.errors import InvalidToken, NotFound, RegistrationClosed, TenantSuspended
from payymo.sessions.addresses import Addresses
from payymo.sessions.impersonation import Impersonation
from payymo.sessions.service import Sessions
from payymo.users.service import Users
from payymo.web.caller import Caller, Gate
from payymo.web.dispatch import render, require_themselves
from payymo.web.door import Door
from payymo.web.models import (
    ActorInfo,
    LoginBody,
    LoginOut,
    LogoutBody,
    MeOut,
    RefreshBody,
    RegisterBody,
    SessionOut,
    SessionsOut,
    TokenInfo,
    TokensOut,
    UserOut,
    VerifyBody,
    VerifyOut,
)
from payymo.web.pacing import PASSWORD_PROOF, TOKEN_PROOF
from payymo.web.routing import Nothing, route


class AuthApi:
    """First-party authentication."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        impersonation: Impersonation,
        addresses: Addresses,
        users: Users,
        gate: Gate,
        door: Door,
        registration_is_open: bool,
        verification_is_required: bool,
    ) -> None:
        self._sessions = sessions
        self._impersonation = impersonation
        self._addresses = addresses
        self._users = users
        self._gate = gate
        self._door = door
        self._registration_is_open = registration_is_open
        self._verification_is_required = verification_is_required

    @route(
        "POST",
        "/api/auth/register",
        limit="registration",
        authentication=None,
        status=201,
        also={202: "The rest stands in a mail: the address has to be verified first."},
        pace=PASSWORD_PROOF,
        shape=LoginOut,
    )
    def register(self, caller: Caller, body: RegisterBody) -> Response:
        """Register a new user and log them in; with verification required, send a link first."""
        if not self._registration_is_open:
            raise RegistrationClosed
        if self._verification_is_required:
            return self._take_down(caller, body)
        made = self._sessions.register(
            caller.tenant.id,
            email=body.email,
            username=body.username,
            password=body.password,
            language=body.language,
            device=caller.device,
            trace=caller.trace,
        )
        cookie = self._door.remember(caller, made.user.id, made.session_id)
        return self._door.keep(render(LoginOut.of_login(made), 201), caller.tenant.id, cookie)

    def _take_down(self, caller: Caller, body: RegisterBody) -> Response:
        """The same for every well-formed registration: what comes of it, the owner of the address reads in a mail."""
        tenant_id = caller.tenant.id
        self._addresses.request_registration(
            tenant_id,
            email=body.email,
            username=body.username,
            password=body.password,
            language=body.language,
            is_wanted=lambda: self._door.may_write_to(caller, body.email),
            trace=caller.trace,
        )
        return render(Nothing(), 202)

    @route(
        "POST",
        "/api/auth/login",
        limit="login",
        spares_devices=True,
        authentication=None,
        pace=PASSWORD_PROOF,
        shape=LoginOut,
    )
    def login(self, caller: Caller, body: LoginBody) -> Response:
        """Log in with e-mail address and password."""
        tenant = caller.tenant
        if not tenant.is_active:
            raise TenantSuspended
        attempt = self._door.admit(caller, body.email)
        with self._door.trying(caller, attempt):
            done = self._sessions.log_in(
                tenant.id, email=body.email, password=body.password, device=caller.device, trace=caller.trace
            )
        cookie = self._door.let_in(attempt, done.user.id, done.session_id)
        return self._door.keep(render(LoginOut.of_login(done), 200), tenant.id, cookie)

    @route("POST", "/api/auth/refresh", limit="refresh", authentication=None, pace=TOKEN_PROOF)
    def refresh(self, caller: Caller, body: RefreshBody) -> TokensOut:
        """Exchange a refresh token for its successor and a new access token."""
        pair = self._sessions.refresh(body.refresh_token, tenant_id=caller.named_tenant_id, trace=caller.trace)
        return TokensOut.of(pair)

    @route(
        "POST",
        "/api/auth/logout",
        limit="default",
        authentication="bearer",
        is_for_actors=True,
        body_is_optional=True,
    )
    def logout(self, caller: Caller, body: LogoutBody) -> Nothing:
        """End this session, or with `everywhere` all of one's sessions. Who acts as somebody stops doing so."""
        who = caller.principal
        if who.actor_id is not None:
            require_themselves(who, is_for_actors=not body.everywhere)
            self._impersonation.stop(who.tenant_id, who.user_id, who.session_id, trace=caller.trace)
            return Nothing()
        self._sessions.log_out(
            who.tenant_id, who.user_id, who.session_id, everywhere=body.everywhere, trace=caller.trace
        )
        return Nothing()

    @route("GET", "/api/auth/me", limit="default", authentication="bearer")
    def me(self, caller: Caller) -> MeOut:
        """Show who is asking, and from which session."""
        who = caller.principal
        try:
            user, grants = self._users.get(who.tenant_id, who.user_id)
            session = self._sessions.get(who.tenant_id, who.session_id)
        except NotFound:  # a database that was restored knows nothing of them: let them log in
            raise InvalidToken from None
        return MeOut(user=UserOut.of(user, grants), session=SessionOut.of(session, current=session.id))

    @route(
        "POST",
        "/api/auth/token/verify",
        limit="verify",
        authentication=None,
        scope="introspection",
        pace=TOKEN_PROOF,
    )
    def verify_token(self, caller: Caller, body: VerifyBody) -> VerifyOut:
        """Verify an access token: signature, times, revocation.

        The permissions in it must not have changed either: who asks goes by them.
        """
        claims, _ = self._gate.check(body.token, named_tenant_id=caller.named_tenant_id, elsewhere=True)
        info = TokenInfo(
            user_id=claims.sub,
            tenant_id=claims.tenant_id,
            session_id=claims.sid,
            token_id=claims.jti,
            client_id=claims.client_id,
            is_service=claims.is_service,
            permissions=list(claims.permissions),
            roles=list(claims.roles),
            issued_at=claims.iat,
            expires_at=claims.exp,
            act=None if claims.actor is None else ActorInfo(sub=claims.actor),
        )
        return VerifyOut(token_info=info)

    @route("GET", "/api/auth/sessions", limit="default", authentication="bearer")
    def list_sessions(self, caller: Caller) -> SessionsOut:
        """List one's own living sessions."""
        who = caller.principal
        found = self._sessions.list_sessions(who.tenant_id, who.user_id)
        return SessionsOut(sessions=[SessionOut.of(session, current=who.session_id) for session in found])

    @route("DELETE", "/api/auth/sessions/<uuid:session_id>", limit="default", authentication="bearer")
    def end_session(self, caller: Caller, session_id: uuid.UUID) -> Nothing:
        """End one of one's own sessions."""
        who = caller.principal
        self._sessions.end(who.tenant_id, who.user_id, session_id, trace=caller.trace)
        return Nothing()
