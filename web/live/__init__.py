"""The live layer: sockets, channels, resume, heartbeat. One hub per process, no greenlet per socket."""
