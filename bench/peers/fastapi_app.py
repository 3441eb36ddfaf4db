"""FastAPI with the connection manager of its documentation, under uvicorn with uvloop and httptools."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

_open: set[WebSocket] = set()


async def _broadcast() -> None:
    pubsub = redis.asyncio.Redis.from_url(os.environ["TENURE_LIVE_URL"], decode_responses=True).pubsub()
    await pubsub.subscribe("bench")
    async for message in pubsub.listen():
        if message["type"] == "message":
            for socket in list(_open):
                await socket.send_text(message["data"])


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(_broadcast())
    yield
    task.cancel()


app = FastAPI(lifespan=_lifespan)


@app.get("/livez")
async def livez() -> str:
    return "ok"


@app.websocket("/ws")
async def serve(socket: WebSocket) -> None:
    await socket.accept()
    _open.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        _open.discard(socket)
