"""The servers that Tenure's live layer is measured against, each as its documentation shows a broadcast.

Every peer sends each message of the Valkey channel `bench` to every open WebSocket at `/ws`.
"""
