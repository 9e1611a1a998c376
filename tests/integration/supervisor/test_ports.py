"""Ports: held for one installation, refused to others with a sentence."""

import socket

import pytest

from wingbeat_controlplane.supervisor import ports
from wingbeat_controlplane.supervisor.ports import PortError, hold_port


def test_a_free_port_is_chosen_and_kept_for_a_server_that_shares() -> None:
    """Nobody else gets a held port; a server that sets SO_REUSEPORT, as ours do, can listen on it, again and again."""
    held = hold_port("127.0.0.1", 0, "--grpc-port")
    try:
        with pytest.raises(PortError, match=f"port {held.number} .*--grpc-port"):
            hold_port("127.0.0.1", held.number, "--grpc-port")
        for _ in range(2):
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                server.bind(("127.0.0.1", held.number))
                server.listen()
                with socket.create_connection(("127.0.0.1", held.number)):
                    pass
    finally:
        held.close()


def test_a_free_port_is_never_let_go_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who takes each port that is let go, as soon as it is, does not get this one."""
    taken: list[socket.socket] = []

    class Watched(socket.socket):
        def close(self) -> None:
            if self.fileno() < 0:
                return  # it is closed
            address = self.getsockname()
            super().close()
            taken.append(socket.create_server(address))

    monkeypatch.setattr(ports.socket, "socket", Watched)
    held = hold_port("127.0.0.1", 0, "--grpc-port")
    monkeypatch.undo()
    held.close()
    for other in taken:
        other.close()


def test_a_taken_port_is_named_with_its_option() -> None:
    """The error says which port, and what to type instead."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        with pytest.raises(PortError, match=f"port {number} on 127.0.0.1 is taken by another program; .*--http-port"):
            hold_port("127.0.0.1", number, "--http-port")
