"""The listening socket of a server, and how many connections the system lets it have."""

import contextlib
import errno
import os
import socket

from core.console import UserError

BACKLOG = 1024  # connections that the system keeps until they are accepted
CONNECTIONS = 8192  # open at a time; of several workers on Windows each 500, since select() takes 512 sockets there
LEAST_CONNECTIONS = 64
OTHER_FILES = 64  # that the process has open: models, libraries, counters
SOCKET_BYTES = 1 << 17  # of answers that the system keeps for one connection
WSAEADDRINUSE = 10048  # EADDRINUSE of Windows


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections.

    Args:
        host: a name or address of this machine, IPv4 or IPv6.
        port: the port; 0: any free one.

    Raises:
        UserError: the host is none of this machine's, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, place = min(found, key=lambda each: each[0] != socket.AF_INET)  # IPv4 where there are both
        listener = socket.create_server(place, family=family, backlog=BACKLOG)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)  # whom it accepts has it too
        return listener
    except (OSError, UnicodeError) as fault:
        number = None if isinstance(fault, UnicodeError | socket.gaierror) else fault.errno
        if number in (errno.EMFILE, errno.ENFILE):
            raise
        if number in (errno.EADDRINUSE, WSAEADDRINUSE):
            reason = f"port {port} is taken ({fault}): choose another with --port, or end the program that has it"
        elif number in (errno.EACCES, errno.EPERM):
            reason = f"port {port} is not allowed to this user ({fault}): choose one above 1023 with --port"
        else:
            reason = (
                f"--host {host} cannot be used, it is no address of this machine ({fault}): give 0.0.0.0 for every "
                "network card, 127.0.0.1 for this machine only, or an address that this machine has"
            )
        raise UserError(reason) from fault


def connection_limit(shared: bool = False) -> int:
    """Connections that may be open at a time, as far as the system lets a process open files.

    Raises:
        UserError: that is too few to serve.
    """
    if os.name == "nt":
        return 500 if shared else CONNECTIONS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS names a limit that it does not allow
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < LEAST_CONNECTIONS + OTHER_FILES:
            raise UserError(
                f"this process may open {soft} files, too few to serve: raise the limit with `ulimit -n 4096`, "
                "or LimitNOFILE=4096 in the systemd unit"
            )
        return soft - OTHER_FILES
    return CONNECTIONS
